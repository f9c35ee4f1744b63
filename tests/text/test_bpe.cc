#include "text/bpe.h"

#include <map>
#include <random>
#include <set>
#include <thread>

#include "base/file.h"
#include "support/support.h"

namespace {

using Ids = std::vector<int32_t>;
using Merges = std::vector<std::pair<std::string, std::string>>;  // of printable ASCII

void write_file(const std::string& path, const std::string& text) {
  gf::replace_file(path, [&](const gf::Sink& sink) { sink(text.data(), text.size()); });
}

// A byte as the files write it.
std::string stand_in(int byte) {
  int next = 0x100;
  for (int other = 0; other <= byte; ++other) {
    const bool printable = (other > 0x20 && other < 0x7F) || (other > 0xA0 && other != 0xAD);
    const int written = printable ? other : next++;
    if (other != byte) continue;
    char bytes[4];
    return {bytes, gf::encode_utf8(static_cast<char32_t>(written), bytes)};
  }
  return "";
}

// Ids: the bytes, the merges by rank, the end of text.
std::string vocab_json(const Merges& merges) {
  std::string text = "{\n";
  for (int byte = 0; byte < 256; ++byte) {
    const std::string escape = byte == '"' || byte == '\\' ? "\\" : "";
    text += "\"" + escape + stand_in(byte) + "\": " + std::to_string(byte) + ",\n";
  }
  int id = 256;
  for (const auto& [left, right] : merges) {
    text += "\"" + left + right + "\": " + std::to_string(id++) + ",\n";
  }
  return text + "\"<|endoftext|>\": " + std::to_string(id) + "}";
}

std::string merges_txt(const Merges& merges) {
  std::string text = "#version: 0.2\n";
  for (const auto& [left, right] : merges) text += left + " " + right + "\n";
  return text;
}

void write_files(const std::string& vocab, const std::string& merges) {
  write_file(gf_test::scratch_directory() + "/vocab.json", vocab);
  write_file(gf_test::scratch_directory() + "/merges.txt", merges);
}

std::unique_ptr<gf::Tokenizer> load(const Merges& merges) {
  write_files(vocab_json(merges), merges_txt(merges));
  return gf::load_tokenizer("gpt2", gf_test::scratch_directory());
}

Ids encode(const gf::Tokenizer& tokenizer, std::string_view text) {
  Ids ids;
  tokenizer.encode(text, true, ids);
  return ids;
}

// The definition: as long as some pair has a rank, merge the lowest-ranked pair, the leftmost
// first.
std::vector<std::string> merge_plainly(const Merges& merges, const std::string& piece) {
  std::vector<std::string> symbols;
  for (const char c : piece) symbols.push_back({c});
  for (;;) {
    size_t best_rank = merges.size();
    size_t best = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank] == std::pair(symbols[i], symbols[i + 1])) {
          best_rank = rank;
          best = i;
        }
      }
    }
    if (best_rank == merges.size()) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

// Merges of two tokens that there are already, no two giving the same one.
Merges random_merges(std::mt19937& random, size_t count) {
  std::vector<std::string> tokens = {"a", "b", "c"};
  std::set<std::string> made;
  Merges merges;
  while (merges.size() < count) {
    const std::string& left = tokens[random() % tokens.size()];
    const std::string& right = tokens[random() % tokens.size()];
    if (left.size() + right.size() > 8 || !made.insert(left + right).second) continue;
    merges.emplace_back(left, right);
    tokens.push_back(merges.back().first + merges.back().second);
  }
  return merges;
}

// Pieces long and short enough for either way of merging. Among random merges are tokens that their
// own bytes do not merge to.
void merges_are_those_of_the_definition(void**) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    const Merges merges = random_merges(random, 40);
    const auto tokenizer = load(merges);
    std::map<std::string, int32_t> ids = {{"a", 'a'}, {"b", 'b'}, {"c", 'c'}};
    for (const auto& [left, right] : merges) {
      const auto id = static_cast<int32_t>(256 + ids.size() - 3);
      ids[left + right] = id;
    }
    for (int i = 0; i < 150; ++i) {
      std::string piece(1 + random() % 50, 'a');
      for (char& c : piece) c = static_cast<char>('a' + random() % 3);
      Ids expected;
      for (const std::string& symbol : merge_plainly(merges, piece)) {
        expected.push_back(ids.at(symbol));
      }
      assert_true(encode(*tokenizer, piece) == expected);
    }
  }
}

// Half a million letters are one piece: it must not take quadratic time.
void a_piece_may_be_long(void**) {
  const auto tokenizer = load({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}});
  const Ids ids = encode(*tokenizer, std::string((1 << 19) + 3, 'a'));
  assert_int_equal(ids.size(), (1 << 16) + 2);
  assert_int_equal(ids[0], 258);
  assert_int_equal(ids[ids.size() - 2], 256);
  assert_int_equal(ids.back(), 'a');
}

void any_bytes_survive(void**) {
  const auto tokenizer = load({{"a", "b"}, {"ab", "c"}});
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string text(random() % 60, '\0');
    for (char& c : text) c = static_cast<char>(random() % 2 ? random() : "abc '"[random() % 5]);
    assert_true(tokenizer->decode(encode(*tokenizer, text), false) == text);
  }
}

void the_end_of_text_is_text_unless_it_is_an_id(void**) {
  const auto tokenizer = load({{"a", "b"}});
  assert_int_equal(tokenizer->vocab_size(), 258);
  assert_int_equal(tokenizer->special().end, 257);
  assert_int_equal(tokenizer->special().unknown, -1);
  assert_int_equal(encode(*tokenizer, "<|endoftext|>").size(), 13);
  const Ids ids = {256, 257, 'c'};
  assert_string_equal(tokenizer->decode(ids, false).c_str(), "ab<|endoftext|>c");
  assert_string_equal(tokenizer->decode(ids, true).c_str(), "abc");
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "id 258 at position 1", [&] {
    tokenizer->decode(Ids{1, 258}, false);
  });
}

void threads_may_share_one(void**) {
  const auto tokenizer = load({{"a", "b"}, {"ab", "ab"}});
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "abab aab \u00E9bab ";
  const Ids expected = encode(*tokenizer, text);
  std::vector<Ids> found(4);
  std::vector<std::thread> threads;
  for (Ids& ids : found) threads.emplace_back([&] { tokenizer->encode(text, true, ids); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : found) assert_true(ids == expected);
}

void assert_refused(const std::string& vocab, const std::string& merges, const char* part) {
  write_files(vocab, merges);
  gf_test::assert_fails(GF_ERROR_FORMAT, part,
                        [] { gf::load_tokenizer("gpt2", gf_test::scratch_directory()); });
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

void damaged_vocabularies_are_refused(void**) {
  const std::string vocab = vocab_json({{"a", "b"}});
  const std::string merges = merges_txt({{"a", "b"}});
  assert_refused("", merges, "vocab.json: ");
  assert_refused(vocab.substr(0, 100), merges, "vocab.json: ");
  assert_refused(replaced(vocab, "\"b\": 98", "\"b\" 98"), merges, "at line 100");
  assert_refused("[1]", merges, "expected one object");
  assert_refused("7", merges, "expected one object");
  assert_refused("{\"a\": {\"b\": 1}}", merges, "token \"a\": expected one object");
  assert_refused(replaced(vocab, "\"b\": 98", "\"b\": -98"), merges, "token \"b\"");
  assert_refused(replaced(vocab, "\"b\": 98", "\"b\": 97"), merges,
                 "token \"b\" has the id of another");
  assert_refused(replaced(vocab, "\"b\": 98", "\"b\": 9800"), merges, "no token has id 98");
  assert_refused(replaced(vocab, "\"b\": 98", "\"b\": 98000000"), merges, "too large");
  assert_refused(replaced(vocab, "\"b\": 98", "\"a\": 98"), merges, "id 98 is a token that has");
  assert_refused(replaced(vocab, "\"b\": 98", "\"b c\": 98"), merges, "not written in stand-ins");
  assert_refused(replaced(vocab, "\"b\": 98", "\"bbb\": 98"), merges, "no token for \"b\"");
  assert_refused(replaced(vocab, "endoftext", "end"), merges, "no token for \"<|endoftext|>\"");
}

void damaged_merges_are_refused(void**) {
  const std::string vocab = vocab_json({{"a", "b"}, {"ab", "c"}});
  assert_refused(vocab, "#version: 0.2\na b\nabc\n", "merges.txt:3: expected two tokens");
  assert_refused(vocab, "#version: 0.2\na b\nab c d\n", "merges.txt:3: expected two tokens");
  assert_refused(vocab, "#version: 0.2\na b\n\n", "merges.txt:3: expected two tokens");
  assert_refused(vocab, "a b\nab d\n", "merges.txt:2: \"abd\" is not in the vocabulary");
  assert_refused(vocab, "a b\na b\n", "merges 0 and 1 are the same");
  assert_refused(vocab, "a b\n", "259 tokens, but the 1 merges");
}

void missing_files_are_named(void**) {
  gf_test::assert_fails(GF_ERROR_NOT_FOUND, "/nowhere/vocab.json",
                        [] { gf::load_tokenizer("gpt2", "/nowhere"); });
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(merges_are_those_of_the_definition),
      cmocka_unit_test(a_piece_may_be_long),
      cmocka_unit_test(any_bytes_survive),
      cmocka_unit_test(the_end_of_text_is_text_unless_it_is_an_id),
      cmocka_unit_test(threads_may_share_one),
      cmocka_unit_test(damaged_vocabularies_are_refused),
      cmocka_unit_test(damaged_merges_are_refused),
      cmocka_unit_test(missing_files_are_named),
  };
  return cmocka_run_group_tests_name("text/bpe", tests, nullptr, nullptr);
}
