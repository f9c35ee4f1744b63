// Against what the public tokenizers made of the same texts (make_reference.py).
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "support/sha256.h"
#include "support/support.h"
#include "text/bert_words.h"
#include "text/tokenizer.h"

namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

// The reference, and the tokenizers where there is data to load them from.
struct Fixture {
  json reference;
  std::unique_ptr<gf::Tokenizer> gpt2;
  std::unique_ptr<gf::Tokenizer> bert;
};
Fixture fixture;

int load_all(void**) {
  const gf::MappedFile file(gf_test::source_path("golden/tokenizers.json"));
  fixture.reference = json::parse(file.bytes());
  const std::string directory = gf_test::data_directory("ids of the public tokenizers");
  if (directory.empty()) return 0;
  fixture.gpt2 = gf::load_tokenizer("gpt2", directory);
  fixture.bert = gf::load_tokenizer("bert", directory);
  return 0;
}

Ids encode(const gf::Tokenizer& tokenizer, const std::string& text) {
  Ids ids;
  tokenizer.encode(text, false, ids);
  return ids;
}

// The text by which the reference asks about a code point; "" for a surrogate.
std::string in_surroundings(char32_t c) {
  if (c >= 0xD800 && c < 0xE000) return "";
  char bytes[4];
  const std::string x(bytes, gf::encode_utf8(c, bytes));
  return "a" + x + "b 1" + x + "2 !" + x + "! " + x + " " + x + x;
}

void ids_of_texts(void**) {
  if (!fixture.gpt2) skip();
  for (const json& entry : fixture.reference["texts"]) {
    const std::string text = entry["text"];
    for (const auto* tokenizer : {fixture.gpt2.get(), fixture.bert.get()}) {
      if (encode(*tokenizer, text) != entry[tokenizer->name()].get<Ids>()) {
        fail_msg("%s differs on %s", tokenizer->name(), entry["text"].dump().c_str());
      }
    }
    assert_true(fixture.gpt2->decode(encode(*fixture.gpt2, text), false) == text);
  }
}

// BERT's words, each with a line end.
std::string words(std::string_view text) {
  static const gf::BertCharacters characters;
  std::string result;
  gf::BertWords reader(characters, text);
  while (reader.next()) result += std::string(reader.word()) + "\n";
  return result;
}

void words_with_many_marks(void**) {
  for (const json& entry : fixture.reference["words"]) {
    std::string expected;
    for (const std::string& word : entry["words"].get<std::vector<std::string>>()) {
      expected += word + "\n";
    }
    if (words(entry["text"].get<std::string>()) != expected) {
      fail_msg("words differ: %s", entry.dump(-1, ' ', true).c_str());
    }
  }
}

void words_of_every_code_point(void**) {
  for (const json& entry : fixture.reference["code_points"]) {
    std::string all;
    for (char32_t c = entry["first"]; c <= entry["last"].get<char32_t>(); ++c) {
      all += words(in_surroundings(c));
    }
    if (gf_test::sha256(all) != entry["words"]) {
      fail_msg("words differ in U+%04X to U+%04X", entry["first"].get<unsigned>(),
               entry["last"].get<unsigned>());
    }
  }
}

void ids_of_every_code_point(void**) {
  if (!fixture.gpt2) skip();
  for (const json& entry : fixture.reference["code_points"]) {
    Ids gpt2;
    Ids bert;
    for (char32_t c = entry["first"]; c <= entry["last"].get<char32_t>(); ++c) {
      fixture.gpt2->encode(in_surroundings(c), false, gpt2);
      fixture.bert->encode(in_surroundings(c), false, bert);
    }
    if (gf_test::sha256_of_ids(gpt2) != entry["gpt2"] ||
        gf_test::sha256_of_ids(bert) != entry["bert"]) {
      fail_msg("ids differ in U+%04X to U+%04X", entry["first"].get<unsigned>(),
               entry["last"].get<unsigned>());
    }
  }
}

void truncated_pairs(void**) {
  if (!fixture.bert) skip();
  for (const json& entry : fixture.reference["pairs"]) {
    Ids ids;
    fixture.bert->encode_pair(entry["a"].get<std::string>(), entry["b"].get<std::string>(), true,
                              entry["max"], ids);
    if (ids != entry["ids"].get<Ids>()) fail_msg("pair differs: %s", entry.dump().c_str());
  }
}

void decoded_texts(void**) {
  if (!fixture.bert) skip();
  for (const json& entry : fixture.reference["decoded"]) {
    const Ids ids = entry["ids"];
    assert_string_equal(fixture.bert->decode(ids, false).c_str(),
                        entry["text"].get<std::string>().c_str());
    assert_string_equal(fixture.bert->decode(ids, true).c_str(),
                        entry["plain"].get<std::string>().c_str());
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(words_with_many_marks), cmocka_unit_test(words_of_every_code_point),
      cmocka_unit_test(ids_of_texts),          cmocka_unit_test(ids_of_every_code_point),
      cmocka_unit_test(truncated_pairs),       cmocka_unit_test(decoded_texts),
  };
  return cmocka_run_group_tests_name("text/reference", tests, load_all, nullptr);
}
