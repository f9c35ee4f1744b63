#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "text/unicode.h"

namespace gf {

// BERT's uncased view of a character: whether it is dropped, white space or a word of its own, and
// what it is turned into: canonically decomposed, without its nonspacing marks, in lower case.
class BertCharacters {
 public:
  BertCharacters();

  enum Flag : uint8_t {
    kDropped = 1,     // control characters, U+FFFD: as if they were not there
    kSpace = 2,       // parts words
    kAlone = 4,       // punctuation and ideographs: words of their own
    kFolds = 8,       // fold() is not the character itself
    kNonStarter = 16  // canonical combining class is not 0
  };
  uint8_t flags(char32_t c) const { return flags_[c]; }
  uint8_t ascii_flags(uint8_t byte) const { return ascii_flags_[byte]; }

  // What a character with kFolds is turned into; empty for a nonspacing mark.
  std::u32string_view fold(char32_t c) const {
    const uint32_t at = fold_at_[c];
    return {&folds_[at + 1], folds_[at]};
  }

  // The lower-case form of an ASCII letter or digit; 0 for all other bytes.
  char ascii_letter(char byte) const { return ascii_letters_[static_cast<uint8_t>(byte)]; }

 private:
  uint32_t add_fold(char32_t c);

  std::vector<char32_t> folds_;     // length, characters, length, characters, ...
  CodePointMap<uint32_t> fold_at_;  // where in folds_; 0: the character itself
  CodePointMap<uint8_t> flags_;
  std::array<uint8_t, 128> ascii_flags_;
  std::array<char, 256> ascii_letters_;
};

// Reads a text word by word, folded.
class BertWords {
 public:
  // Words of more characters are not looked up, and kept only to this length.
  static constexpr size_t kMaxCharacters = 100;

  BertWords(const BertCharacters& characters, std::string_view text)
      : characters_(characters), rest_(text) {}

  // Steps to the next word; false at the end of the text.
  bool next();

  std::string_view word() const { return {word_.data(), size_}; }
  bool is_too_long() const { return count_ > kMaxCharacters; }

 private:
  void take_ascii_letters();
  void append(char32_t c);
  void append_mark(char32_t mark);

  const BertCharacters& characters_;
  std::string_view rest_;
  std::array<char, 4 * kMaxCharacters> word_;  // UTF-8
  size_t size_ = 0;
  size_t count_ = 0;       // characters
  size_t marks_from_ = 0;  // where the marks after the last starter begin
};

}  // namespace gf
