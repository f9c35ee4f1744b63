// Tokenizers and datasets.

#include <fstream>
#include <string>

#include "api/api_test.h"

namespace {

using namespace gf_test;

void tokens_go_to_buffers_of_any_size(void**) {
  gf_context* context = make_context();
  gf_tokenizer* tokenizer = nullptr;
  assert_error(context, gf_tokenizer_load(context, "latin", nullptr, &tokenizer),
               GF_ERROR_INVALID_ARGUMENT, "latin");
  assert_int_equal(gf_tokenizer_load(context, "byte", nullptr, &tokenizer), GF_OK);
  assert_string_equal(gf_tokenizer_name(tokenizer), "byte");
  assert_int_equal(gf_tokenizer_vocab_size(tokenizer), 256);
  size_t count = 0;
  assert_int_equal(gf_tokenizer_encode(tokenizer, "a\0b", 3, 0, nullptr, 0, &count), GF_OK);
  assert_int_equal(count, 3);
  int32_t ids[2] = {-5, -5};
  assert_int_equal(gf_tokenizer_encode(tokenizer, "a\0b", 3, 0, ids, 1, &count), GF_OK);
  assert_true(ids[0] == 'a' && ids[1] == -5 && count == 3);
  assert_error(context, gf_tokenizer_encode(tokenizer, "a", 1, 8, ids, 1, &count),
               GF_ERROR_INVALID_ARGUMENT, "flags is 8");
  const int32_t bad[] = {65, 256};
  char text[4] = "zzz";
  assert_int_equal(gf_tokenizer_decode(tokenizer, bad, 1, 0, text, 4, &count), GF_OK);
  assert_true(text[0] == 'A' && count == 1);
  assert_error(context, gf_tokenizer_decode(tokenizer, bad, 2, 0, text, 4, &count),
               GF_ERROR_INVALID_ARGUMENT, "256");
  gf_tokenizer_free(tokenizer);
  gf_context_free(context);
}

void text_files_become_datasets(void**) {
  gf_context* context = make_context();
  gf_tokenizer* tokenizer = nullptr;
  assert_int_equal(gf_tokenizer_load(context, "byte", nullptr, &tokenizer), GF_OK);
  const std::string path = gf_test::scratch_directory() + "/text";
  std::ofstream(path) << std::string(40, 'x');
  gf_dataset *dataset = nullptr, *part = nullptr;
  assert_int_equal(
      gf_dataset_from_text_file(context, tokenizer, path.c_str(), GF_TEXT_PLAIN, kLength, &dataset),
      GF_OK);
  gf_dataset_info info = {};
  info.struct_size = sizeof info;
  assert_int_equal(gf_dataset_get_info(dataset, &info), GF_OK);
  assert_true(info.ids == 40 && info.chunks == 2 && info.length == kLength);
  assert_int_equal(gf_dataset_slice(dataset, 1, 1, &part), GF_OK);
  assert_int_equal(gf_dataset_get_info(part, &info), GF_OK);
  assert_int_equal(info.chunks, 1);
  gf_dataset_free(part);
  assert_int_equal(gf_dataset_slice(dataset, 1, 2, &part), GF_ERROR_INVALID_ARGUMENT);
  assert_error(
      context,
      gf_dataset_from_text_file(context, tokenizer, path.c_str(), GF_TEXT_PLAIN, 41, &part),
      GF_ERROR_INVALID_ARGUMENT, "40");
  assert_error(context,
               gf_dataset_from_text_file(context, tokenizer, "/nowhere", GF_TEXT_PLAIN, 4, &part),
               GF_ERROR_NOT_FOUND, "/nowhere");
  gf_dataset_free(dataset);
  gf_tokenizer_free(tokenizer);
  gf_context_free(context);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(tokens_go_to_buffers_of_any_size),
      cmocka_unit_test(text_files_become_datasets),
  };
  return cmocka_run_group_tests_name("api/text", tests, nullptr, nullptr);
}
