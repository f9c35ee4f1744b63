#pragma once

#include "text/bert_words.h"
#include "text/tokenizer.h"
#include "text/trie.h"

namespace gf {

// BERT's uncased WordPiece: words are cut greedily into the longest tokens, all but a word's first
// ones written with "##". As Hugging Face's, it reads [PAD], [UNK], [CLS], [SEP] and [MASK] in a
// text as these tokens.
class BertTokenizer final : public Tokenizer {
 public:
  // directory holds vocab.txt: a token a line, ids in order from 0.
  explicit BertTokenizer(const std::string& directory);

  const char* name() const override { return "bert"; }
  int32_t vocab_size() const override { return static_cast<int32_t>(tokens_.size()); }
  SpecialIds special() const override { return special_; }
  void encode(std::string_view text, bool with_special, std::vector<int32_t>& ids) const override;

  // Tokens with a blank between two, but for "##" ones, which continue the token before, and for
  // those that begin with . , ! or ?: Hugging Face's clean-up, whose other rules meet no token of
  // this vocabulary.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;

 private:
  struct SpecialToken {
    std::string_view text;
    int32_t id;
  };

  void encode_words(std::string_view text, std::vector<int32_t>& ids) const;
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const;

  std::vector<std::string> tokens_;  // by id
  Trie trie_;
  uint32_t continuation_;  // node of "##"
  std::vector<SpecialToken> special_tokens_;
  SpecialIds special_;
  BertCharacters characters_;
};

}  // namespace gf
