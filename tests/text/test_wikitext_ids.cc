// All of WikiText-2 against the counts and digests that the public tokenizers give.
#include "base/file.h"
#include "support/sha256.h"
#include "support/support.h"
#include "text/tokenizer.h"

namespace {

// Rows keep their line end; those of white space alone are dropped, the others joined by a further
// line end.
std::string join_rows(std::string_view file) {
  std::string text;
  while (!file.empty()) {
    const size_t end = std::min(file.find('\n'), file.size() - 1) + 1;
    const std::string_view row = file.substr(0, end);
    file.remove_prefix(end);
    if (row.find_first_not_of(" \t\r\n") == std::string_view::npos) continue;
    if (!text.empty()) text += '\n';
    text += row;
  }
  return text;
}

// The tokenised release writes <unk> for an unknown word, which BERT has a token for.
std::string with_unknown_token(std::string text) {
  constexpr std::string_view kMark = "<unk>";
  for (size_t at = 0; (at = text.find(kMark, at)) != std::string::npos;) {
    text.replace(at, kMark.size(), "[UNK]");
  }
  return text;
}

struct Expected {
  const char* file;
  const char* tokenizer;
  size_t count;
  const char* digest;
};

constexpr Expected kExpected[] = {
    {"wikitext-2/wiki.train.tokens", "bert", 2228768,
     "e85e98f00b9526718e8d7dcb144e427fa345b7bdcf2af05834c790ba1dd9ce5c"},
    {"wikitext-2/wiki.valid.tokens", "bert", 225020,
     "77fdfb5b8e5d3c9cb576e9c4e8aa6f303614f2751d4854ed09fa37f468f4813a"},
    {"wikitext-2/wiki.test.tokens", "bert", 253655,
     "c0109a8bfd7a35945c36fffc3ed1638b152612c4ee0f683e6afa98853deaca49"},
    {"wikitext-2-raw/wiki.valid.raw", "bert", 238658,
     "0c12e52022e19fe9b4d812cb44d7576ca2bfcb9a6afebf901db278535b89c94d"},
    {"wikitext-2-raw/wiki.test.raw", "bert", 273180,
     "cc895731652d2623535c524f8aaa69adaf1fe4c1d0e6f11310e3bb19c3a3dbea"},
    {"wikitext-2/wiki.train.tokens", "gpt2", 2422480,
     "72077b398ab5f47f6212a43c53780c27bc6172c4782da519a9725e63db608fc0"},
    {"wikitext-2/wiki.valid.tokens", "gpt2", 256061,
     "366d02a0a0fb529cba04dbfe49c6f5329943807340a7bf98a4f9e7f92310fdd1"},
    {"wikitext-2/wiki.test.tokens", "gpt2", 292943,
     "509f6b3606d8e268ae1fc51edf3615262da63d00ee8ca9e725685d82ef393a41"},
    {"wikitext-2-raw/wiki.valid.raw", "gpt2", 247289,
     "966a92f8dcf229af60a86f827a064cb01051fdc535b7b261b66d42b336d35735"},
    {"wikitext-2-raw/wiki.test.raw", "gpt2", 283287,
     "595e5c248cd44417b24083e36fd4faa4cecccb1997147e6de1efb32cad19437d"},
};

void ids_of_wikitext_are_the_published_ones(void**) {
  const std::string directory = gf_test::data_directory("ids of WikiText-2");
  if (directory.empty()) skip();
  for (const Expected& expected : kExpected) {
    const auto tokenizer = gf::load_tokenizer(expected.tokenizer, directory);
    std::string text = join_rows(gf::MappedFile(directory + "/" + expected.file).bytes());
    if (tokenizer->special().unknown >= 0) text = with_unknown_token(std::move(text));
    std::vector<int32_t> ids;
    tokenizer->encode(text, true, ids);
    if (ids.size() != expected.count || gf_test::sha256_of_ids(ids) != expected.digest) {
      fail_msg("%s, %s: %zu ids, wanted %zu; SHA-256 %s, wanted %s", expected.file,
               expected.tokenizer, ids.size(), expected.count, gf_test::sha256_of_ids(ids).c_str(),
               expected.digest);
    }
  }
}

void sha256_of_the_standards_example(void**) {
  const std::string text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  assert_string_equal(gf_test::sha256(text).c_str(),
                      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(sha256_of_the_standards_example),
      cmocka_unit_test(ids_of_wikitext_are_the_published_ones),
  };
  return cmocka_run_group_tests_name("text/wikitext_ids", tests, nullptr, nullptr);
}
