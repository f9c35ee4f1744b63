#pragma once

#include <array>
#include <string_view>

#include "text/unicode.h"

namespace gf {

// Cuts text into GPT-2's pieces, inside which alone merges happen, as the regular expression
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// does, where \s is Unicode's White_Space. An ill-formed UTF-8 sequence counts as a symbol: neither
// letter nor number nor space.
class Gpt2Splitter {
 public:
  Gpt2Splitter();

  // Where the piece that begins at `begin` (< text.size()) ends.
  size_t piece_end(std::string_view text, size_t begin) const;

 private:
  enum Kind : uint8_t { kSymbol, kLetter, kNumber, kSpace, kNotAscii };
  struct Symbol {
    Kind kind;
    uint32_t bytes;
  };
  static Kind kind_of(char32_t code_point);

  Symbol read(std::string_view text, size_t at) const;
  size_t run_end(std::string_view text, size_t begin, Kind kind) const;
  size_t space_end(std::string_view text, size_t begin) const;

  CodePointMap<Kind> kinds_;
  std::array<Kind, 256> byte_kinds_;  // of ASCII; kNotAscii for all other bytes
};

}  // namespace gf
