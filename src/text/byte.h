#pragma once

#include "text/tokenizer.h"

namespace gf {

// A token per byte; id = byte.
class ByteTokenizer final : public Tokenizer {
 public:
  const char* name() const override { return "byte"; }
  int32_t vocab_size() const override { return 256; }
  SpecialIds special() const override { return {}; }
  void encode(std::string_view text, bool with_special, std::vector<int32_t>& ids) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;
};

}  // namespace gf
