#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gf {

inline constexpr char32_t kCodePoints = 0x110000;
inline constexpr char32_t kReplacement = 0xFFFD;

// A code point and the bytes it was read from.
struct CodePoint {
  char32_t value;
  uint32_t bytes;
};

// Reads the code point at the front of a text that is not empty. An ill-formed sequence reads as
// U+FFFD and takes as many bytes as could have begun a well-formed one, at least one (Unicode 15.0,
// section 3.9, "substitution of maximal subparts").
CodePoint decode_utf8(std::string_view text);

// Writes 1 to 4 bytes to `out` and returns how many.
size_t encode_utf8(char32_t code_point, char* out);

bool is_utf8(std::string_view text);

// Unicode's White_Space, which has not changed since version 6.3.
bool is_white_space(char32_t code_point);

// A number for every code point: pages of 256, equal pages stored once.
template <typename T>
class CodePointMap {
 public:
  // value_of(code point) is asked once for each, in order, but not within planes 4 to 13, which
  // Unicode leaves empty: these have the value of their first code point.
  template <typename F>
  explicit CodePointMap(F value_of) {
    std::unordered_map<std::string, uint32_t> known;  // where the page of these bytes begins
    for (char32_t first = 0; first < kCodePoints; first += kPage) {
      if (first > 0x40000 && first < 0xE0000) {
        page_start_.push_back(page_start_.back());
        continue;
      }
      T page[kPage];
      for (char32_t i = 0; i < kPage; ++i) page[i] = value_of(first + i);
      const std::string bytes(reinterpret_cast<const char*>(page), sizeof page);
      const auto [entry, is_new] = known.try_emplace(bytes, values_.size());
      if (is_new) values_.insert(values_.end(), page, page + kPage);
      page_start_.push_back(entry->second);
    }
  }

  T operator[](char32_t code_point) const {
    return values_[page_start_[code_point / kPage] + code_point % kPage];
  }

 private:
  static constexpr char32_t kPage = 256;
  std::vector<uint32_t> page_start_;
  std::vector<T> values_;
};

// A run of code points that has a value, for tables of the few exceptions from a rule.
template <typename T>
struct CodePointRange {
  char32_t first;
  char32_t last;
  T value;
};

// The value at a code point in ranges sorted by code point, or `otherwise`.
template <typename T, size_t N>
T value_in(const CodePointRange<T> (&ranges)[N], char32_t code_point, T otherwise) {
  size_t low = 0;
  for (size_t high = N; low < high;) {
    const size_t middle = (low + high) / 2;
    if (ranges[middle].last < code_point) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < N && ranges[low].first <= code_point ? ranges[low].value : otherwise;
}

}  // namespace gf
