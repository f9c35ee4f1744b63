#include "api/handles.h"
#include "data/sample_corpus.h"

using namespace gf;
using namespace gf::api;

gf_status gf_dataset_from_ids(gf_context* context, const int32_t* ids, size_t count, int32_t length,
                              gf_dataset** out) {
  return guard(context, [&] {
    if (count > 0) require(ids, "ids");
    require(out, "out");
    auto dataset = std::make_shared<Dataset>(dataset_from_ids({ids, count}, length));
    *out = new gf_dataset{context->shared, std::move(dataset)};
    return GF_OK;
  });
}

gf_status gf_dataset_from_text_file(gf_context* context, const gf_tokenizer* tokenizer,
                                    const char* path, gf_text_format format, int32_t length,
                                    gf_dataset** out) {
  return guard(context, [&] {
    require(tokenizer, "tokenizer");
    require(path, "path");
    require(out, "out");
    auto dataset = std::make_shared<Dataset>(
        dataset_from_text_file(*tokenizer->tokenizer, path, format, length));
    *out = new gf_dataset{context->shared, std::move(dataset)};
    return GF_OK;
  });
}

gf_status gf_dataset_slice(const gf_dataset* dataset, int64_t first, int64_t count,
                           gf_dataset** out) {
  return guard(dataset, [&] {
    require(out, "out");
    auto part = std::make_shared<Dataset>(dataset->dataset->slice(first, count));
    *out = new gf_dataset{dataset->context, std::move(part)};
    return GF_OK;
  });
}

void gf_dataset_free(gf_dataset* dataset) {
  delete dataset;
}

gf_status gf_dataset_get_info(const gf_dataset* dataset, gf_dataset_info* out) {
  return guard(dataset, [&] {
    require_struct(out, "out");
    const Dataset& d = *dataset->dataset;
    write_struct(out, {0, d.total_ids(), d.chunks(), d.length()});
    return GF_OK;
  });
}

gf_status gf_sample_text(gf_context* context, uint64_t seed, char* text, size_t length) {
  return guard(context, [&] {
    if (length > 0) require(text, "text");
    sample_text(seed, length).copy(text, length);
    return GF_OK;
  });
}

gf_status gf_sample_pairs(gf_context* context, uint64_t seed, int64_t pairs, char* text,
                          size_t capacity, size_t* length) {
  return guard(context, [&] {
    if (capacity > 0) require(text, "text");
    require(length, "length");
    const std::string lines = sample_pairs(seed, pairs);
    lines.copy(text, std::min(capacity, lines.size()));
    *length = lines.size();
    return GF_OK;
  });
}
