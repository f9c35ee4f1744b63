#include "api/handles.h"

using namespace gf;
using namespace gf::api;

namespace {

// As many values as the caller has room for, and how many there are.
template <class T>
void copy_out(const T* values, size_t count, T* to, size_t capacity, size_t* total) {
  require(total, "count");
  if (capacity > 0) require(to, "buffer");
  std::copy_n(values, std::min(count, capacity), to);
  *total = count;
}

bool with_special(uint32_t flags) {
  if (flags & ~uint32_t{GF_NO_SPECIAL}) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "flags is %u, expected 0 or GF_NO_SPECIAL", flags);
  }
  return (flags & GF_NO_SPECIAL) == 0;
}

}  // namespace

gf_status gf_tokenizer_load(gf_context* context, const char* name, const char* directory,
                            gf_tokenizer** out) {
  return guard(context, [&] {
    require(name, "name");
    require(out, "out");
    auto tokenizer = load_tokenizer(name, directory ? directory : "");
    *out = new gf_tokenizer{context->shared, std::move(tokenizer)};
    return GF_OK;
  });
}

void gf_tokenizer_free(gf_tokenizer* tokenizer) {
  free_handle(tokenizer);
}

const char* gf_tokenizer_name(const gf_tokenizer* tokenizer) {
  return tokenizer ? tokenizer->tokenizer->name() : "";
}

int32_t gf_tokenizer_vocab_size(const gf_tokenizer* tokenizer) {
  return tokenizer ? tokenizer->tokenizer->vocab_size() : 0;
}

gf_status gf_tokenizer_special_ids(const gf_tokenizer* tokenizer, gf_special_ids* out) {
  return guard(tokenizer, [&] {
    require_struct(out, "out");
    const SpecialIds ids = tokenizer->tokenizer->special();
    write_struct(out, {0, ids.pad, ids.unknown, ids.begin, ids.separator, ids.end});
    return GF_OK;
  });
}

gf_status gf_tokenizer_encode(const gf_tokenizer* tokenizer, const char* text, size_t length,
                              uint32_t flags, int32_t* ids, size_t capacity, size_t* count) {
  return guard(tokenizer, [&] {
    if (length > 0) require(text, "text");
    std::vector<int32_t> encoded;
    tokenizer->tokenizer->encode({text, length}, with_special(flags), encoded);
    copy_out(encoded.data(), encoded.size(), ids, capacity, count);
    return GF_OK;
  });
}

gf_status gf_tokenizer_encode_pair(const gf_tokenizer* tokenizer, const char* a, const char* b,
                                   uint32_t flags, size_t max_ids, int32_t* ids, size_t capacity,
                                   size_t* count) {
  return guard(tokenizer, [&] {
    require(a, "a");
    require(b, "b");
    std::vector<int32_t> encoded;
    tokenizer->tokenizer->encode_pair(a, b, with_special(flags), max_ids, encoded);
    copy_out(encoded.data(), encoded.size(), ids, capacity, count);
    return GF_OK;
  });
}

gf_status gf_tokenizer_decode(const gf_tokenizer* tokenizer, const int32_t* ids, size_t count,
                              uint32_t flags, char* text, size_t capacity, size_t* length) {
  return guard(tokenizer, [&] {
    if (count > 0) require(ids, "ids");
    const std::string decoded = tokenizer->tokenizer->decode({ids, count}, !with_special(flags));
    copy_out(decoded.data(), decoded.size(), text, capacity, length);
    return GF_OK;
  });
}
