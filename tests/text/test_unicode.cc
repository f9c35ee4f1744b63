#include "text/unicode.h"

#include <utf8proc.h>

#include "support/support.h"

namespace {

std::u32string decode_all(std::string_view text) {
  std::u32string result;
  while (!text.empty()) {
    const gf::CodePoint c = gf::decode_utf8(text);
    result.push_back(c.value);
    text.remove_prefix(c.bytes);
  }
  return result;
}

void every_code_point_survives(void**) {
  for (char32_t c = 0; c < gf::kCodePoints; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    char own[4];
    utf8proc_uint8_t expected[4];
    const size_t length = gf::encode_utf8(c, own);
    const auto expected_length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), expected);
    assert_int_equal(length, expected_length);
    assert_memory_equal(own, expected, length);
    const gf::CodePoint read = gf::decode_utf8({own, length});
    assert_int_equal(read.value, c);
    assert_int_equal(read.bytes, length);
    // Cut short, all there is is one ill-formed sequence.
    for (size_t cut = 1; cut < length; ++cut) {
      const gf::CodePoint partial = gf::decode_utf8({own, cut});
      assert_int_equal(partial.value, gf::kReplacement);
      assert_int_equal(partial.bytes, cut);
    }
  }
}

// The examples of the Unicode standard 15.0, tables 3-8 to 3-11.
void ill_formed_sequences_are_maximal_subparts(void**) {
  assert_true(decode_all("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") ==
              U"\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  assert_true(decode_all("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") ==
              U"\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  assert_true(decode_all("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") ==
              U"\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB");
  assert_true(decode_all("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == U"\uFFFD\uFFFD\uFFFD\uFFFDA");
}

void utf8_is_told_from_other_bytes(void**) {
  assert_true(gf::is_utf8(""));
  assert_true(gf::is_utf8("a\xC3\xA9\xEF\xBF\xBD\xF0\x9F\x98\x80"));
  for (const char* text : {"\x80", "a\xC3", "\xED\xA0\x80", "\xF0\x9F\x98", "\xF5\x80\x80\x80"}) {
    assert_false(gf::is_utf8(text));
  }
}

// A value that differs within pages, between pages, and not at all in most.
uint32_t some_value(char32_t c) {
  return c < 0x1000 ? c * 7 : c >= 0xE0100 && c < 0xE0180 ? c : 0x40000 <= c && c < 0xE0000 ? 1 : 0;
}

void maps_give_every_code_point_its_value(void**) {
  const gf::CodePointMap<uint32_t> map(some_value);
  for (char32_t c = 0; c < gf::kCodePoints; ++c) assert_int_equal(map[c], some_value(c));
}

void ranges_hold_their_ends_and_no_more(void**) {
  const gf::CodePointRange<int> ranges[] = {{10, 20, 1}, {21, 21, 2}, {30, 40, 3}};
  const auto value = [&](char32_t c) { return gf::value_in(ranges, c, 0); };
  assert_int_equal(value(9), 0);
  assert_int_equal(value(10), 1);
  assert_int_equal(value(20), 1);
  assert_int_equal(value(21), 2);
  assert_int_equal(value(22), 0);
  assert_int_equal(value(30), 3);
  assert_int_equal(value(40), 3);
  assert_int_equal(value(41), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(every_code_point_survives),
      cmocka_unit_test(ill_formed_sequences_are_maximal_subparts),
      cmocka_unit_test(utf8_is_told_from_other_bytes),
      cmocka_unit_test(maps_give_every_code_point_its_value),
      cmocka_unit_test(ranges_hold_their_ends_and_no_more),
  };
  return cmocka_run_group_tests_name("text/unicode", tests, nullptr, nullptr);
}
