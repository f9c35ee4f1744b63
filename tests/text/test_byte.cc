#include "support/support.h"
#include "text/tokenizer.h"

namespace {

std::string all_bytes() {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text.push_back(static_cast<char>(byte));
  return text;
}

void every_byte_is_its_id_and_comes_back(void**) {
  const auto tokenizer = gf::load_tokenizer("byte", "");
  std::vector<int32_t> ids = {7};
  tokenizer->encode(all_bytes(), true, ids);
  assert_int_equal(ids.size(), 257);
  assert_int_equal(ids[0], 7);
  for (int byte = 0; byte < 256; ++byte) assert_int_equal(ids[static_cast<size_t>(byte) + 1], byte);
  assert_true(tokenizer->decode(std::span(ids).subspan(1), true) == all_bytes());
}

void a_pair_is_one_text_after_the_other(void**) {
  std::vector<int32_t> ids;
  gf::load_tokenizer("byte", "")->encode_pair("abcd", "xy", true, 5, ids);
  assert_true(ids == (std::vector<int32_t>{'a', 'b', 'c', 'x', 'y'}));
}

void the_first_id_outside_is_named(void**) {
  const auto tokenizer = gf::load_tokenizer("byte", "");
  const std::vector<int32_t> ids = {1, 256, -1};
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "id 256 at position 1",
                        [&] { tokenizer->decode(ids, false); });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "id -1 at position 0",
                        [&] { tokenizer->decode(std::span(ids).subspan(2), false); });
}

void unknown_names_are_refused(void**) {
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "\"gpt3\": expected byte, gpt2 or bert",
                        [] { gf::load_tokenizer("gpt3", ""); });
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(every_byte_is_its_id_and_comes_back),
      cmocka_unit_test(a_pair_is_one_text_after_the_other),
      cmocka_unit_test(the_first_id_outside_is_named),
      cmocka_unit_test(unknown_names_are_refused),
  };
  return cmocka_run_group_tests_name("text/byte", tests, nullptr, nullptr);
}
