#pragma once

#include "text/bpe_files.h"
#include "text/bpe_merger.h"
#include "text/splitter.h"
#include "text/tokenizer.h"
#include "text/trie.h"

namespace gf {

// GPT-2's byte-level BPE. Its ids stand for bytes, so any bytes survive encode and decode.
// <|endoftext|> in a text is text.
class Gpt2Tokenizer final : public Tokenizer {
 public:
  // directory holds vocab.json and merges.txt.
  explicit Gpt2Tokenizer(const std::string& directory);

  const char* name() const override { return "gpt2"; }
  int32_t vocab_size() const override { return static_cast<int32_t>(files_.tokens.size()); }
  SpecialIds special() const override { return {.end = files_.end_of_text}; }
  void encode(std::string_view text, bool with_special, std::vector<int32_t>& ids) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;

 private:
  BpeFiles files_;
  BpeMerger merger_;
  Gpt2Splitter splitter_;
  Trie whole_;  // tokens that their own bytes merge to
};

}  // namespace gf
