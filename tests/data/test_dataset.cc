#include "data/dataset.h"

#include <climits>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "support/support.h"

namespace {

// One id per byte, so that a dataset shows the text that was encoded.
class Bytes : public gf::Tokenizer {
 public:
  const char* name() const override { return "byte"; }
  int32_t vocab_size() const override { return 256; }
  gf::SpecialIds special() const override { return {}; }
  void encode(std::string_view text, bool with_special, std::vector<int32_t>& ids) const override {
    assert_true(with_special);
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  }
  void encode_pair(std::string_view, std::string_view, bool, size_t,
                   std::vector<int32_t>&) const override {}
  std::string decode(std::span<const int32_t> ids, bool) const override {
    return {ids.begin(), ids.end()};
  }
};

const Bytes kBytes;
const std::string kPath = gf_test::scratch_directory() + "/text";

gf::Dataset from_text(const std::string& text, gf_text_format text_format, int32_t length = 2) {
  gf::replace_file(kPath, [&](const gf::Sink& sink) { sink(text.data(), text.size()); });
  return gf::dataset_from_text_file(kBytes, kPath, text_format, length);
}

// The text that a file of rows becomes; of one id more than an even number, the last is cut.
std::string wikitext(const std::string& file) {
  const gf::Dataset dataset = from_text(file, GF_TEXT_WIKITEXT);
  std::string text = kBytes.decode({dataset.data(), size_t(dataset.chunks()) * 2}, false);
  if (dataset.total_ids() % 2 != 0) text += '?';
  return text;
}

std::vector<int32_t> counting(int32_t count) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

void ids_are_cut_into_chunks(void**) {
  const gf::Dataset dataset = gf::dataset_from_ids(counting(14), 4);
  assert_int_equal(dataset.length(), 4);
  assert_int_equal(dataset.chunks(), 3);
  assert_int_equal(dataset.total_ids(), 14);
  assert_int_equal(dataset.max_id(), 11);  // 12 and 13 are in no chunk
  for (int i = 0; i < 3; ++i) assert_int_equal(dataset.chunk(i)[3], 4 * i + 3);
}

void slices_share_and_outlive_the_whole(void**) {
  auto whole = std::make_unique<gf::Dataset>(gf::dataset_from_ids(counting(14), 4));
  const int32_t* ids = whole->data();
  const gf::Dataset part = whole->slice(1, 2).slice(0, 1);
  whole.reset();
  assert_ptr_equal(part.data(), ids + 4);
  assert_int_equal(part.chunk(0)[0], 4);
  assert_int_equal(part.chunks(), 1);
  assert_int_equal(part.total_ids(), 4);
  assert_int_equal(part.max_id(), 7);
}

void slices_outside_the_whole_fail(void**) {
  const gf::Dataset dataset = gf::dataset_from_ids(counting(12), 4);
  const int64_t outside[][2] = {{-1, 1}, {0, 0}, {0, 4}, {3, 1}, {2, INT64_MAX}, {INT64_MAX, 1}};
  for (const auto& [first, count] : outside) {
    gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "there are 3",
                          [&, f = first, n = count] { dataset.slice(f, n); });
  }
  assert_int_equal(dataset.slice(0, 3).chunks(), 3);
}

void bad_ids_and_lengths_fail(void**) {
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "at least 2",
                        [] { gf::dataset_from_ids(counting(9), 1); });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "9 ids, but one chunk takes 10",
                        [] { gf::dataset_from_ids(counting(9), 10); });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "0 ids",
                        [] { gf::dataset_from_ids({}, INT_MAX); });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "id -5 at index 2", [] {
    gf::dataset_from_ids(std::vector<int32_t>{1, 0, -5, -6}, 2);
  });
}

void plain_text_is_taken_as_it_is(void**) {
  const std::string text = std::string("\n a\0\xff\r\n\n\n", 9);
  const gf::Dataset dataset = from_text(text, GF_TEXT_PLAIN, 9);
  assert_int_equal(dataset.chunks(), 1);
  assert_true(kBytes.decode({dataset.data(), 9}, false) == text);
}

void wikitext_rows_are_joined(void**) {
  assert_string_equal(wikitext(" \n = A = \n \n b\n\n").c_str(), " = A = \n\n b\n");
  assert_string_equal(wikitext("a\nbc").c_str(), "a\n\nb?");  // no line end after the last row
  assert_string_equal(wikitext("abc\n  ").c_str(), "abc\n");
}

void white_space_is_that_of_unicode(void**) {
  // Dropped: no-break space, ideographic space, next line, line separator, unit separator.
  assert_string_equal(wikitext("\u00a0\n\u3000 \n\u0085\n\u2028\t\n\x1f\n\v\f\r\nok\n\n").c_str(),
                      "ok?");
  // Kept: zero-width space, byte order mark, a cut sequence, a zero byte.
  const std::string kept[] = {"\u200b", "\ufeff", "\xe3\x80", std::string(1, '\0')};
  for (const std::string& row : kept) {
    const gf::Dataset dataset = from_text(row + "\n\n", GF_TEXT_WIKITEXT);
    assert_int_equal(dataset.total_ids(), row.size() + 1);
  }
}

void failing_files_are_named(void**) {
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, (kPath + ": holds no text").c_str(),
                        [] { from_text("", GF_TEXT_PLAIN); });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, (kPath + ": holds no text").c_str(),
                        [] { from_text(" \n\n", GF_TEXT_WIKITEXT); });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT,
                        (kPath + ": holds 3 ids, but one chunk takes 256").c_str(),
                        [] { from_text("abc", GF_TEXT_PLAIN, 256); });
  gf_test::assert_fails(GF_ERROR_NOT_FOUND, "/nowhere/x",
                        [] { gf::dataset_from_text_file(kBytes, "/nowhere/x", GF_TEXT_PLAIN, 2); });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "chunks of 0 ids",
                        [] { gf::dataset_from_text_file(kBytes, "/nowhere/x", GF_TEXT_PLAIN, 0); });
}

// Counts of the published tokenizers on the whole text, framed as one.
void corpora_have_their_known_ids(void**) {
  const std::string data = gf_test::data_directory("datasets of WikiText-2");
  if (data.empty()) skip();
  struct Known {
    const char* file;
    const char* tokenizer;
    int64_t ids;
    int64_t chunks;  // of 256
  };
  const Known known[] = {
      {"/wikitext-2/wiki.valid.tokens", "bert", 225020, 878},
      {"/wikitext-2/wiki.test.tokens", "gpt2", 292943, 1144},
      {"/wikitext-2-raw/wiki.valid.raw", "gpt2", 247289, 965},
      {"/wikitext-2-raw/wiki.test.raw", "bert", 273180, 1067},
  };
  for (const Known& k : known) {
    const auto tokenizer = gf::load_tokenizer(k.tokenizer, data);
    const gf::Dataset dataset =
        gf::dataset_from_text_file(*tokenizer, data + k.file, GF_TEXT_WIKITEXT, 256);
    assert_int_equal(dataset.total_ids(), k.ids);
    assert_int_equal(dataset.chunks(), k.chunks);
    assert_in_range(dataset.max_id(), 1000, tokenizer->vocab_size() - 1);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(ids_are_cut_into_chunks),
      cmocka_unit_test(slices_share_and_outlive_the_whole),
      cmocka_unit_test(slices_outside_the_whole_fail),
      cmocka_unit_test(bad_ids_and_lengths_fail),
      cmocka_unit_test(plain_text_is_taken_as_it_is),
      cmocka_unit_test(wikitext_rows_are_joined),
      cmocka_unit_test(white_space_is_that_of_unicode),
      cmocka_unit_test(failing_files_are_named),
      cmocka_unit_test(corpora_have_their_known_ids),
  };
  return cmocka_run_group_tests_name("data/dataset", tests, nullptr, nullptr);
}
