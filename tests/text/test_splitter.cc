// GPT-2's pieces against PCRE2 with the published expression.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/splitter.h"

#include <pcre2.h>

#include <random>

#include "support/support.h"
#include "text/unicode_exceptions.h"

namespace {

using Pieces = std::vector<std::string>;

class PublishedSplitter {
 public:
  PublishedSplitter() {
    constexpr const char* kPattern =
        R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
    int error = 0;
    PCRE2_SIZE at = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern), PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &at, nullptr);
    assert_non_null(code_);
    pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);  // where there is one
    match_ = pcre2_match_data_create_from_pattern(code_, nullptr);
  }
  ~PublishedSplitter() {
    pcre2_match_data_free(match_);
    pcre2_code_free(code_);
  }

  Pieces split(const std::string& text) const {
    Pieces pieces;
    for (size_t begin = 0; begin < text.size();) {
      const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                    begin, 0, match_, nullptr);
      assert_true(found > 0);
      const size_t end = pcre2_get_ovector_pointer(match_)[1];
      pieces.push_back(text.substr(begin, end - begin));
      begin = end;
    }
    return pieces;
  }

 private:
  pcre2_code* code_;
  pcre2_match_data* match_;
};

Pieces split(const std::string& text) {
  static const gf::Gpt2Splitter splitter;
  Pieces pieces;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = splitter.piece_end(text, begin);
    assert_true(end > begin && end <= text.size());
    pieces.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return pieces;
}

void assert_same_pieces(const PublishedSplitter& published, const std::string& text) {
  if (split(text) == published.split(text)) return;
  std::string shown;
  for (const std::string& piece : split(text)) shown += "|" + piece;
  fail_msg("pieces differ: %s", shown.c_str());
}

// Characters that all versions of Unicode from 14 on class alike, and PCRE2 too: its \s has U+180E,
// which is none of White_Space since Unicode 6.3.
bool is_settled(char32_t c) {
  return c < gf::kCodePoints && !(c >= 0xD800 && c < 0xE000) && c != 0x180E &&
         gf::value_in(gf::kGpt2Exceptions, c, gf::Gpt2Class::kByCategory) ==
             gf::Gpt2Class::kByCategory;
}

std::string utf8(char32_t c) {
  char bytes[4];
  return {bytes, gf::encode_utf8(c, bytes)};
}

void every_code_point_beside_each_kind(void**) {
  const PublishedSplitter published;
  for (char32_t c = 0; c < gf::kCodePoints; ++c) {
    if (!is_settled(c)) continue;
    const std::string x = utf8(c);
    assert_same_pieces(published, "a" + x + "1" + x + "!" + x + " " + x + "\n" + x + x + "'s");
  }
}

void random_code_points(void**) {
  const PublishedSplitter published;
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (size_t length = random() % 40; length > 0;) {
      const char32_t limits[] = {0x80, 0x250, 0x3100, 0x10000, gf::kCodePoints};
      const char32_t c = static_cast<char32_t>(random()) % limits[random() % 5];
      if (!is_settled(c)) continue;
      text += utf8(c);
      --length;
    }
    assert_same_pieces(published, text);
  }
}

// What the alternatives of the expression compete for.
void random_mixes_of_what_is_delicate(void**) {
  const PublishedSplitter published;
  const char* const parts[] = {" ",      " ",          "\n",     "\t",     "\r\n", "\u00A0",
                               "\u3000", "\u2003",     "\u0085", "'",      "'s",   "'re",
                               "'ll",    "'LL",        "'v",     "s",      "ve",   "a",
                               "\u00E9", "1",          "\u0663", "\u00BD", "!",    "\u2014",
                               "\u0301", "\U0001F600", "\u200D", "\x01"};
  std::mt19937 random(2);
  for (int i = 0; i < 100000; ++i) {
    std::string text;
    for (size_t length = random() % 12; length > 0; --length) {
      text += parts[random() % std::size(parts)];
    }
    assert_same_pieces(published, text);
  }
}

void ill_formed_bytes_are_symbols(void**) {
  assert_true(split("a\xFF\x62") == (Pieces{"a", "\xFF", "b"}));
  assert_true(split(" \xC3(\x80! 1\xE4\xB8") == (Pieces{" \xC3(\x80!", " 1", "\xE4\xB8"}));
  assert_true(split("\xF0\x9F\x98 \xED\xA0\x80s") ==
              (Pieces{"\xF0\x9F\x98", " \xED\xA0\x80", "s"}));
}

void newer_letters_and_numbers_are_those_of_unicode_16(void**) {
  assert_true(split("a\U0002EBF0") == (Pieces{"a\U0002EBF0"}));
  assert_true(split("1\U0001CCF0") == (Pieces{"1\U0001CCF0"}));
  assert_true(split("!\U000323B0a") == (Pieces{"!\U000323B0", "a"}));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(every_code_point_beside_each_kind),
      cmocka_unit_test(random_code_points),
      cmocka_unit_test(random_mixes_of_what_is_delicate),
      cmocka_unit_test(ill_formed_bytes_are_symbols),
      cmocka_unit_test(newer_letters_and_numbers_are_those_of_unicode_16),
  };
  return cmocka_run_group_tests_name("text/splitter", tests, nullptr, nullptr);
}
