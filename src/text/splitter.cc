#include "text/splitter.h"

#include <utf8proc.h>

#include <cstring>

#include "text/unicode_exceptions.h"

namespace gf {
namespace {

// Bytes of the contraction that text begins with, or 0.
size_t contraction(std::string_view text) {
  for (const char* ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(ending)) return std::strlen(ending);
  }
  return 0;
}

}  // namespace

Gpt2Splitter::Gpt2Splitter() : kinds_(kind_of) {
  for (size_t byte = 0; byte < 256; ++byte) {
    byte_kinds_[byte] = byte < 0x80 ? kinds_[static_cast<char32_t>(byte)] : kNotAscii;
  }
}

Gpt2Splitter::Kind Gpt2Splitter::kind_of(char32_t code_point) {
  if (is_white_space(code_point)) return kSpace;
  switch (value_in(kGpt2Exceptions, code_point, Gpt2Class::kByCategory)) {
    case Gpt2Class::kLetter:
      return kLetter;
    case Gpt2Class::kNumber:
      return kNumber;
    case Gpt2Class::kSymbol:
      return kSymbol;
    case Gpt2Class::kByCategory:
      break;
  }
  const int category = utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return kLetter;
  if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return kNumber;
  return kSymbol;
}

size_t Gpt2Splitter::piece_end(std::string_view text, size_t begin) const {
  if (text[begin] == '\'') {
    if (const size_t bytes = contraction(text.substr(begin))) return begin + bytes;
  }
  // A blank goes with what follows it, unless that is white space too.
  const size_t body = begin + (text[begin] == ' ' && begin + 1 < text.size() ? 1 : 0);
  const Symbol symbol = read(text, body);
  if (symbol.kind == kSpace) return space_end(text, begin);
  return run_end(text, body + symbol.bytes, symbol.kind);
}

Gpt2Splitter::Symbol Gpt2Splitter::read(std::string_view text, size_t at) const {
  const Kind kind = byte_kinds_[static_cast<uint8_t>(text[at])];
  if (kind != kNotAscii) return {kind, 1};
  const CodePoint code_point = decode_utf8(text.substr(at));
  return {kinds_[code_point.value], code_point.bytes};
}

size_t Gpt2Splitter::run_end(std::string_view text, size_t begin, Kind kind) const {
  for (size_t end = begin;;) {
    while (end < text.size() && byte_kinds_[static_cast<uint8_t>(text[end])] == kind) ++end;
    if (end == text.size() || static_cast<uint8_t>(text[end]) < 0x80) return end;
    const Symbol symbol = read(text, end);
    if (symbol.kind != kind) return end;
    end += symbol.bytes;
  }
}

// A run of white space is a piece, but for its last character where text follows: that one begins
// the next piece, unless it is all there is.
size_t Gpt2Splitter::space_end(std::string_view text, size_t begin) const {
  size_t last = begin;
  size_t end = begin;
  while (end < text.size()) {
    const Symbol symbol = read(text, end);
    if (symbol.kind != kSpace) return last == begin ? end : last;
    last = end;
    end += symbol.bytes;
  }
  return end;
}

}  // namespace gf
