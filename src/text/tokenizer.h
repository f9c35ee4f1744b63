#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf {

// Ids of the tokens that are no text; -1 where a vocabulary has none.
struct SpecialIds {
  int32_t pad = -1;
  int32_t unknown = -1;
  int32_t begin = -1;      // [CLS]
  int32_t separator = -1;  // [SEP]
  int32_t end = -1;        // <|endoftext|>
};

// Text to ids and back. Immutable once loaded: any number of threads may use one at a time.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual const char* name() const = 0;  // "byte", "gpt2", "bert": what load_tokenizer takes
  virtual int32_t vocab_size() const = 0;
  virtual SpecialIds special() const = 0;

  // Appends the ids of one text. with_special frames it as the model expects one text: BERT
  // [CLS] text [SEP]; the others add nothing. Ids equal the published tokenizers' on any UTF-8.
  virtual void encode(std::string_view text, bool with_special,
                      std::vector<int32_t>& ids) const = 0;

  // Appends `[CLS] a [SEP] b [SEP]`, cut longest-first to at most max_length ids (0: uncut).
  // Without special tokens in the vocabulary, the ids of a followed by those of b.
  virtual void encode_pair(std::string_view a, std::string_view b, bool with_special,
                           size_t max_length, std::vector<int32_t>& ids) const;

  // The bytes that ids stand for. Throws GF_ERROR_INVALID_ARGUMENT naming the first id outside the
  // vocabulary. skip_special leaves out BERT's five bracketed tokens and <|endoftext|>.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special) const = 0;

 protected:
  // Throws as decode does.
  void check_ids(std::span<const int32_t> ids) const;
};

// name: "byte" (no files), "gpt2" (directory/gpt2/{vocab.json,merges.txt}) or "bert"
// (directory/bert-base-uncased/vocab.txt). A directory that itself holds the files serves as well.
std::unique_ptr<Tokenizer> load_tokenizer(std::string_view name, const std::string& directory);

}  // namespace gf
