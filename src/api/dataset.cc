#include "api/handles.h"
#include "data/sample_corpus.h"
#include "data/snli.h"

using namespace gf;
using namespace gf::api;

namespace {

gf_pair_report describe(const PairReport& r) {
  gf_pair_report report = {0,         r.lines,       r.pairs, r.unlabelled, r.empty, r.cut,
                           r.longest, r.mean_length, {}};
  std::copy(r.label_counts.begin(), r.label_counts.end(), report.label_counts);
  return report;
}

gf_dataset_info describe(const Dataset& d) {
  gf_dataset_info info = {0,
                          d.total_ids(),
                          d.chunks(),
                          d.length(),
                          static_cast<int32_t>(d.groups().size()),
                          d.tokens(),
                          d.padded_tokens(),
                          0,
                          {}};
  if (!d.is_labelled()) return info;
  for (const int32_t label : d.labels()) {
    ++info.label_counts[label];
    info.num_labels = std::max(info.num_labels, label + 1);
  }
  return info;
}

// From a file or from memory.
template <class Load>
gf_status make_from_snli(gf_context* context, const gf_tokenizer* tokenizer, gf_pair_report* report,
                         gf_dataset** out, const Load& load) {
  require(tokenizer, "tokenizer");
  require(out, "out");
  if (report) require_struct(report, "report");
  PairReport found;
  auto dataset = std::make_shared<Dataset>(load(*tokenizer->tokenizer, found));
  *out = new gf_dataset{context->shared, std::move(dataset)};
  if (report) write_struct(report, describe(found));
  return GF_OK;
}

}  // namespace

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

gf_status gf_dataset_from_pairs(gf_context* context, const int32_t* ids, const int32_t* lengths,
                                const int32_t* labels, size_t count, gf_dataset** out) {
  return guard(context, [&] {
    require(ids, "ids");
    require(lengths, "lengths");
    require(labels, "labels");
    require(out, "out");
    auto dataset = std::make_shared<Dataset>(dataset_from_pairs(ids, lengths, labels, count));
    *out = new gf_dataset{context->shared, std::move(dataset)};
    return GF_OK;
  });
}

gf_status gf_dataset_from_snli_file(gf_context* context, const gf_tokenizer* tokenizer,
                                    const char* path, int32_t max_length, gf_pair_report* report,
                                    gf_dataset** out) {
  return guard(context, [&] {
    require(path, "path");
    return make_from_snli(context, tokenizer, report, out,
                          [&](const Tokenizer& t, PairReport& found) {
                            return dataset_from_snli_file(t, path, max_length, found);
                          });
  });
}

gf_status gf_dataset_from_snli_text(gf_context* context, const gf_tokenizer* tokenizer,
                                    const char* text, size_t size, int32_t max_length,
                                    gf_pair_report* report, gf_dataset** out) {
  return guard(context, [&] {
    if (size > 0) require(text, "text");
    return make_from_snli(context, tokenizer, report, out,
                          [&](const Tokenizer& t, PairReport& found) {
                            return dataset_from_snli(t, {text, size}, "text", max_length, found);
                          });
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
  free_handle(dataset);
}

gf_status gf_dataset_get_info(const gf_dataset* dataset, gf_dataset_info* out) {
  return guard(dataset, [&] {
    require_struct(out, "out");
    write_struct(out, describe(*dataset->dataset));
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
