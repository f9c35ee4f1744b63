#include "text/bert_words.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

#include "text/unicode_exceptions.h"

namespace gf {
namespace {

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

BertClass class_of(char32_t c) {
  if (is_ascii_punctuation(c)) return BertClass::kPunctuation;
  const BertClass exception = value_in(kBertExceptions, c, BertClass::kByCategory);
  if (exception != BertClass::kByCategory) return exception;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
      return BertClass::kControl;
    case UTF8PROC_CATEGORY_MN:
      return BertClass::kNonspacing;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return BertClass::kPunctuation;
    default:
      return BertClass::kPlain;
  }
}

// The blocks of ideographs as the published tokenizers have them; U+2B820 to U+2B91F are not among
// them by a slip that has become the definition.
bool is_ideograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

char32_t lower_case(char32_t c) {
  const int32_t distance = value_in(kBertLowerCase, c, 0);
  if (distance != 0) return c + static_cast<char32_t>(distance);
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

uint8_t mark_class(char32_t mark) {
  return value_in(kBertMarks, mark, uint8_t{0});
}

std::u32string decompose(char32_t c) {
  if (value_in(kBertWhole, c, false)) return {c};
  utf8proc_int32_t parts[16];  // the longest decomposition has 4
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 16,
                                             UTF8PROC_DECOMPOSE, &boundary);
  return {parts, parts + count};
}

std::u32string fold_of(char32_t c) {
  std::u32string fold;
  for (const char32_t part : decompose(c)) {
    if (class_of(part) != BertClass::kNonspacing) fold.push_back(lower_case(part));
  }
  return fold;
}

// Whether a stripped character lets the marks around it change places. Some, such as U+0F75, do by
// their decomposition alone.
bool is_stripped_mark(char32_t c) {
  const auto part = static_cast<utf8proc_int32_t>(decompose(c)[0]);
  return utf8proc_get_property(part)->combining_class != 0;
}

uint8_t flags_of(char32_t c, std::u32string_view fold) {
  if (is_white_space(c) && (c == '\t' || c == '\n' || c == '\r' || c == ' ' || c >= 0xA0)) {
    return BertCharacters::kSpace;
  }
  if (c == kReplacement || class_of(c) == BertClass::kControl) return BertCharacters::kDropped;
  uint8_t flags = 0;
  const bool is_punctuation = fold.size() == 1 && class_of(fold[0]) == BertClass::kPunctuation;
  if (is_punctuation || is_ideograph(c)) flags |= BertCharacters::kAlone;
  if (fold != std::u32string_view(&c, 1)) flags |= BertCharacters::kFolds;
  const bool is_mark = fold.empty() ? is_stripped_mark(c) : mark_class(c) != 0;
  if (is_mark) flags |= BertCharacters::kNonStarter;
  return flags;
}

}  // namespace

BertCharacters::BertCharacters()
    : folds_{0}, fold_at_([this](char32_t c) { return add_fold(c); }), flags_([this](char32_t c) {
        return flags_of(c, fold_at_[c] == 0 ? std::u32string_view(&c, 1) : fold(c));
      }) {
  for (size_t byte = 0; byte < ascii_flags_.size(); ++byte) {
    ascii_flags_[byte] = flags_[static_cast<char32_t>(byte)];
  }
  for (size_t byte = 0; byte < ascii_letters_.size(); ++byte) {
    const auto c = static_cast<char>(byte);
    const bool is_upper = c >= 'A' && c <= 'Z';
    const bool is_letter = is_upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    ascii_letters_[byte] = is_upper ? static_cast<char>(c - 'A' + 'a') : is_letter ? c : '\0';
  }
}

uint32_t BertCharacters::add_fold(char32_t c) {
  const std::u32string fold = fold_of(c);
  if (fold == std::u32string_view(&c, 1)) return 0;
  const size_t at = folds_.size();
  folds_.push_back(static_cast<char32_t>(fold.size()));
  folds_.insert(folds_.end(), fold.begin(), fold.end());
  return static_cast<uint32_t>(at);
}

bool BertWords::next() {
  size_ = count_ = marks_from_ = 0;
  for (;;) {
    take_ascii_letters();
    if (rest_.empty()) return count_ > 0;
    const auto byte = static_cast<uint8_t>(rest_[0]);
    const CodePoint c = byte < 0x80 ? CodePoint{byte, 1} : decode_utf8(rest_);
    const uint8_t flags = byte < 0x80 ? characters_.ascii_flags(byte) : characters_.flags(c.value);
    if ((flags & BertCharacters::kAlone) && count_ > 0) return true;
    rest_.remove_prefix(c.bytes);
    if ((flags & BertCharacters::kSpace) && count_ > 0) return true;
    if (flags & (BertCharacters::kDropped | BertCharacters::kSpace)) continue;
    if (!(flags & BertCharacters::kNonStarter)) marks_from_ = size_;
    if (flags & BertCharacters::kFolds) {
      for (const char32_t part : characters_.fold(c.value)) append(part);
    } else {
      append(c.value);
    }
    if (flags & BertCharacters::kAlone) return true;
  }
}

void BertWords::take_ascii_letters() {
  size_t taken = 0;
  const size_t room = kMaxCharacters - std::min(count_, kMaxCharacters);
  char* const end = word_.data() + size_;
  for (; taken < rest_.size(); ++taken) {
    const char letter = characters_.ascii_letter(rest_[taken]);
    if (letter == 0) break;
    if (taken < room) end[taken] = letter;
  }
  if (taken == 0) return;
  rest_.remove_prefix(taken);
  count_ += taken;
  size_ += std::min(taken, room);
  marks_from_ = size_;
}

void BertWords::append(char32_t c) {
  if (characters_.flags(c) & BertCharacters::kNonStarter) return append_mark(c);
  if (count_++ < kMaxCharacters) size_ += encode_utf8(c, &word_[size_]);
  marks_from_ = size_;
}

// Canonical order: a mark goes before those marks after the same starter that have a higher class.
void BertWords::append_mark(char32_t mark) {
  if (count_++ >= kMaxCharacters) return;
  size_t at = size_;
  while (at > marks_from_) {
    size_t before = at - 1;
    while ((word_[before] & 0xC0) == 0x80) --before;
    const CodePoint other = decode_utf8(word().substr(before));
    if (mark_class(other.value) <= mark_class(mark)) break;
    at = before;
  }
  char bytes[4];
  const size_t length = encode_utf8(mark, bytes);
  std::memmove(&word_[at + length], &word_[at], size_ - at);
  std::memcpy(&word_[at], bytes, length);
  size_ += length;
}

}  // namespace gf
