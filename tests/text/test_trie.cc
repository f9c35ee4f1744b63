#include "text/trie.h"

#include <map>
#include <random>

#include "support/support.h"

namespace {

std::string random_string(std::mt19937& random, size_t longest, unsigned letters) {
  std::string text(1 + random() % longest, '\0');
  for (char& c : text) c = static_cast<char>(random() % letters * (255 / (letters - 1)));
  return text;
}

// The longest key that begins text at or after the bytes of `before`, by trying all lengths.
gf::Trie::Match naive_match(const std::map<std::string, int32_t>& keys, const std::string& before,
                            const std::string& text) {
  for (size_t length = text.size(); length > 0; --length) {
    const auto found = keys.find(before + text.substr(0, length));
    if (found != keys.end()) return {length, found->second};
  }
  return {0, -1};
}

// From 2 letters, with deep tries that share prefixes, to all 256, with full nodes.
void matches_are_those_of_a_plain_search(void**) {
  std::mt19937 random(1);
  for (const unsigned letters : {2u, 4u, 256u}) {
    std::map<std::string, int32_t> keys;
    while (keys.size() < 2000) {
      keys.try_emplace(random_string(random, 12, letters), static_cast<int32_t>(keys.size()));
    }
    std::vector<gf::Trie::Entry> entries;
    for (const auto& [key, id] : keys) entries.push_back({key, id});
    const gf::Trie trie(std::move(entries));
    for (const auto& [key, id] : keys) assert_int_equal(trie.find(key), id);
    const std::string before = keys.begin()->first.substr(0, 1);
    for (int i = 0; i < 20000; ++i) {
      const std::string text = random_string(random, 15, letters);
      const auto found = keys.find(text);
      assert_int_equal(trie.find(text), found == keys.end() ? -1 : found->second);
      for (const std::string& start : {std::string(), before}) {
        const gf::Trie::Match match = trie.longest_match(text, trie.walk(start));
        const gf::Trie::Match expected = naive_match(keys, start, text);
        assert_int_equal(match.length, expected.length);
        assert_int_equal(match.id, expected.id);
      }
    }
  }
}

void an_empty_trie_matches_nothing(void**) {
  const gf::Trie trie({});
  assert_int_equal(trie.find("a"), -1);
  assert_int_equal(trie.longest_match("a", gf::Trie::kRoot).length, 0);
  assert_int_equal(trie.longest_match("a", trie.walk("##")).length, 0);
  for (int byte = 0; byte < 256; ++byte) {
    assert_int_equal(trie.child(gf::Trie::kRoot, static_cast<char>(byte)), gf::Trie::kNoNode);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(matches_are_those_of_a_plain_search),
      cmocka_unit_test(an_empty_trie_matches_nothing),
  };
  return cmocka_run_group_tests_name("text/trie", tests, nullptr, nullptr);
}
