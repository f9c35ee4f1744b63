#include "text/wordpiece.h"

#include <filesystem>
#include <thread>

#include "base/file.h"
#include "support/support.h"

namespace {

using Ids = std::vector<int32_t>;
using Words = std::vector<std::string>;

const gf::BertCharacters kCharacters;

// The words of a text, folded; those that are too long as "?".
Words words(std::string_view text) {
  gf::BertWords reader(kCharacters, text);
  Words result;
  while (reader.next()) result.push_back(reader.is_too_long() ? "?" : std::string(reader.word()));
  return result;
}

void words_end_at_space_and_punctuation(void**) {
  assert_true(words("") == Words{});
  assert_true(words(" \t\r\n\u00A0\u2003\u3000") == Words{});
  assert_true(words("Hello,  World!") == (Words{"hello", ",", "world", "!"}));
  assert_true(words("a\u00A0b\u2028c") == (Words{"a", "b", "c"}));
  assert_true(words("a$b`c\u2014d\u3002") ==
              (Words{"a", "$", "b", "`", "c", "\u2014", "d", "\u3002"}));
  assert_true(words("x\u00D7y\u20AC1") == Words{"x\u00D7y\u20AC1"});  // symbols, not punctuation
  assert_true(words("ab\u4E2D\u6587c") == (Words{"ab", "\u4E2D", "\u6587", "c"}));
}

void letters_lose_case_and_accents(void**) {
  assert_true(words("\u00C5ngstr\u00F6M \u0130 \u1E9E") == (Words{"angstrom", "i", "\u00DF"}));
  assert_true(words("e\u0301\u0316 \u0301 x") == (Words{"e", "x"}));
  assert_true(words("\uD55C") == Words{"\u1112\u1161\u11AB"});
  assert_true(words("\uF900") == Words{"\u8C48"});
  assert_true(words("a\u2260b<\u0338") == (Words{"a", "=", "b", "<"}));  // decomposed first
}

void what_is_no_text_is_dropped(void**) {
  using std::string_literals::operator""s;
  assert_true(words("a\0b\x1F\x7F\v\f\u0085c"s) == Words{"abc"});
  assert_true(words("a\u00AD\u200D\uFEFF\uE000\uFFFDb") == Words{"ab"});
  assert_true(words("a\xFF\xC3\xE2\x82z \xED\xA0\x80") == Words{"az"});
}

// Marks that are kept, having a combining class, in canonical order.
void kept_marks_are_put_in_order(void**) {
  assert_true(words("a\u302E\U0001D165") == Words{"a\U0001D165\u302E"});
  assert_true(words("a\u302E\u0301\U0001D165") == Words{"a\U0001D165\u302E"});
  assert_true(words("a\u302E\u0F75\U0001D165") == Words{"a\U0001D165\u302E"});
  assert_true(words("a\u302Eb\U0001D165") == Words{"a\u302Eb\U0001D165"});
  assert_true(words("a\u302E\u034F\U0001D165") == Words{"a\u302E\U0001D165"});  // U+034F parts them
  assert_true(words("\U0001D15E\U0001E94A") == Words{"\U0001D157\U0001E94A\U0001D165"});
  assert_true(words("a\U0001D165\U0001D166\u302E") == Words{"a\U0001D165\U0001D166\u302E"});
}

// Whatever utf8proc's version says of these.
void characters_are_those_of_the_published_versions(void**) {
  assert_true(words("a\u1734\U00011A01\U0001E95Eb") == Words{"a\U00011A01\U0001E95Eb"});
  assert_true(words("a\u166Db\U00011938") == (Words{"a", "\u166D", "b\U00011938"}));
  assert_true(words("\uA7CB\U00010D50") == Words{"\u0264\U00010D70"});
}

void long_words_are_known_as_such(void**) {
  assert_true(words(std::string(100, 'a') + " " + std::string(101, 'a')) ==
              (Words{std::string(100, 'a'), "?"}));
  std::string accented;
  for (int i = 0; i < 100; ++i) accented += "e\u0301";
  assert_true(words(accented) == Words{std::string(100, 'e')});
  assert_true(words(accented + "\u4E2D") == (Words{std::string(100, 'e'), "\u4E2D"}));
  std::string wide;
  for (int i = 0; i < 100; ++i) wide += "\U00010000";
  assert_true(words(wide) == Words{wide});
  assert_true(words(wide + "\u302E x") == (Words{"?", "x"}));
}

const char* const kVocab =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\n##a\naffable\n,\n.\n[\n]\nsep\n##"
    "\u00DF\n"
    "...\n'\ns\n";

std::string vocab_path() {
  return gf_test::scratch_directory() + "/vocab.txt";
}

std::unique_ptr<gf::Tokenizer> load(const std::string& vocab) {
  gf::replace_file(vocab_path(), [&](const gf::Sink& s) { s(vocab.data(), vocab.size()); });
  return gf::load_tokenizer("bert", gf_test::scratch_directory());
}

Ids encode(const gf::Tokenizer& tokenizer, std::string_view text, bool with_special = false) {
  Ids ids;
  tokenizer.encode(text, with_special, ids);
  return ids;
}

void words_are_cut_into_the_longest_tokens(void**) {
  const auto tokenizer = load(kVocab);
  assert_int_equal(tokenizer->vocab_size(), 19);
  assert_true(encode(*tokenizer, "Unaffable, affable") == (Ids{5, 6, 7, 10, 9}));
  assert_true(encode(*tokenizer, "unaaffa") == (Ids{5, 8, 6, 8}));
  assert_true(encode(*tokenizer, "unaffab un") == (Ids{1, 5}));  // no piece may be left over
  assert_true(encode(*tokenizer, "a aff ##a") == (Ids{1, 1, 1, 1, 1}));
  assert_true(encode(*tokenizer, "un\u00DF un\u00E0") == (Ids{5, 15, 5, 8}));
  assert_true(encode(*tokenizer, "un" + std::string(98, 'a')).size() == 99);
  assert_true(encode(*tokenizer, "un" + std::string(99, 'a')) == Ids{1});
}

void texts_are_framed(void**) {
  const auto tokenizer = load(kVocab);
  assert_true(encode(*tokenizer, "", true) == (Ids{2, 3}));
  assert_true(encode(*tokenizer, "", false) == Ids{});
  assert_true(encode(*tokenizer, "un", true) == (Ids{2, 5, 3}));
  Ids ids = {7};
  tokenizer->encode_pair("un ,", "affable . ,", true, 6, ids);
  assert_true(ids == (Ids{7, 2, 5, 3, 9, 11, 3}));
  ids.clear();
  tokenizer->encode_pair("un ,", "affable", false, 0, ids);
  assert_true(ids == (Ids{5, 10, 9}));
  ids.clear();
  tokenizer->encode_pair("un", "un", true, 3, ids);
  assert_true(ids == (Ids{2, 3, 3}));
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "at most 2 ids",
                        [&] { tokenizer->encode_pair("", "", true, 2, ids); });
}

void special_tokens_are_read_in_texts(void**) {
  const auto tokenizer = load(kVocab);
  assert_true(encode(*tokenizer, "un[SEP]un [MASK][PAD]") == (Ids{5, 3, 5, 4, 0}));
  assert_true(encode(*tokenizer, "[sep] [[CLS]") == (Ids{12, 14, 13, 12, 2}));
  assert_true(encode(*tokenizer, "[SEP") == (Ids{12, 14}));
}

void decoding_joins_pieces_and_words(void**) {
  const auto tokenizer = load(kVocab);
  const auto text = [&](const Ids& ids, bool skip_special) {
    return tokenizer->decode(ids, skip_special);
  };
  assert_true(text({5, 6, 7, 10, 9, 11}, false) == "unaffable, affable.");
  assert_true(text({6, 5, 16, 17, 18}, false) == "##aff un... ' s");
  assert_true(text({2, 5, 1, 4, 3, 0}, false) == "[CLS] un [UNK] [MASK] [SEP] [PAD]");
  assert_true(text({2, 5, 1, 4, 3, 0}, true) == "un");
  assert_true(text({2, 6}, true) == "##aff");
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "id 19 at position 1", [&] {
    text({5, 19, 20}, false);
  });
}

void damaged_vocabularies_are_refused(void**) {
  gf_test::assert_fails(GF_ERROR_FORMAT, "vocab.txt: no line is [UNK]", [] { load(""); });
  gf_test::assert_fails(GF_ERROR_FORMAT, "vocab.txt: no line is [SEP]",
                        [] { load("[UNK]\n[CLS]\na\n"); });
  gf_test::assert_fails(GF_ERROR_FORMAT, "vocab.txt:4: the token of line 2 again",
                        [] { load("[UNK]\na\nb\na\n"); });
  gf_test::assert_fails(GF_ERROR_FORMAT, "vocab.txt:2: expected a token",
                        [] { load("[UNK]\n\n[CLS]\n"); });
  gf_test::assert_fails(GF_ERROR_FORMAT, "vocab.txt:3: expected a token in UTF-8",
                        [] { load("[UNK]\n[CLS]\na\xFF\n"); });
  std::filesystem::remove(vocab_path());
  gf_test::assert_fails(GF_ERROR_NOT_FOUND, "vocab.txt",
                        [] { gf::load_tokenizer("bert", gf_test::scratch_directory()); });
}

void line_ends_of_windows_and_a_missing_last_one_do(void**) {
  const auto tokenizer = load("[UNK]\r\n[CLS]\r\n[SEP]\r\nun");
  assert_int_equal(tokenizer->special().pad, -1);
  assert_int_equal(tokenizer->special().separator, 2);
  assert_true(encode(*tokenizer, "un una", true) == (Ids{1, 3, 0, 2}));
}

void threads_may_share_one(void**) {
  const auto tokenizer = load(kVocab);
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "Unaffable un\u00DF, [SEP] \u00C0x ";
  const Ids expected = encode(*tokenizer, text);
  std::vector<Ids> found(4);
  std::vector<std::thread> threads;
  for (Ids& ids : found) threads.emplace_back([&] { tokenizer->encode(text, false, ids); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : found) assert_true(ids == expected);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(words_end_at_space_and_punctuation),
      cmocka_unit_test(letters_lose_case_and_accents),
      cmocka_unit_test(what_is_no_text_is_dropped),
      cmocka_unit_test(kept_marks_are_put_in_order),
      cmocka_unit_test(characters_are_those_of_the_published_versions),
      cmocka_unit_test(long_words_are_known_as_such),
      cmocka_unit_test(words_are_cut_into_the_longest_tokens),
      cmocka_unit_test(texts_are_framed),
      cmocka_unit_test(special_tokens_are_read_in_texts),
      cmocka_unit_test(decoding_joins_pieces_and_words),
      cmocka_unit_test(damaged_vocabularies_are_refused),
      cmocka_unit_test(line_ends_of_windows_and_a_missing_last_one_do),
      cmocka_unit_test(threads_may_share_one),
  };
  return cmocka_run_group_tests_name("text/wordpiece", tests, nullptr, nullptr);
}
