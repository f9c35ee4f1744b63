#include "data/sample_corpus.h"

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string_view>

#include "support/support.h"

namespace {

// FNV-1a, 64 bits.
uint64_t hash(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

std::vector<std::string> paragraphs(const std::string& text) {
  std::vector<std::string> all;
  size_t begin = 0;
  for (size_t end; (end = text.find("\n\n", begin)) != std::string::npos; begin = end + 2) {
    all.push_back(text.substr(begin, end - begin));
  }
  return all;  // the last, which may be cut, left out
}

void text_has_the_size_asked_for(void**) {
  const std::string longest = gf::sample_text(7, 5000);
  for (const size_t bytes : {0, 1, 2, 500, 4999, 5000}) {
    assert_true(gf::sample_text(7, bytes) == longest.substr(0, bytes));
  }
  assert_int_equal(longest.size(), 5000);
  assert_true(gf::sample_text(8, 5000) != longest);
}

// Figures measured on the corpus hold for these bytes alone.
void corpus_never_changes(void**) {
  assert_int_equal(hash(gf::sample_text(1, 600'000)), 0x3dd6b0772e645ebb);
  assert_int_equal(hash(gf::sample_pairs(1, 3000)), 0x8b7ef63cb45a1e89);
}

void paragraphs_are_whole(void**) {
  const std::string text = gf::sample_text(3, 300'000);
  for (const char c : text) assert_true(c == '\n' || (c >= ' ' && c <= '~'));
  for (const std::string& paragraph : paragraphs(text)) {
    int depth = 0, quotes = 0;
    for (const char c : paragraph) {
      quotes += c == '"';
      depth += (c == '(') - (c == ')');
      assert_in_range(depth, 0, 1);
    }
    assert_int_equal(depth, 0);
    assert_int_equal(quotes % 2, 0);
    assert_true(paragraph.back() == '.' && isupper(paragraph[0]));
    assert_true(paragraph.find_first_of("<>@^|:\n") == std::string::npos);
    assert_true(paragraph.find("  ") == std::string::npos);
  }
}

// The one of `words` that the text holds; "" when it holds none or several.
std::string only_one_of(const std::set<std::string>& words, const std::string& text) {
  std::set<std::string> found;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) {
    word.erase(word.find_last_not_of(",.?)\"") + 1);
    if (words.contains(word)) found.insert(word);
  }
  return found.size() == 1 ? *found.begin() : "";
}

void paragraphs_keep_to_their_hero_and_place(void**) {
  const std::set<std::string> women = {"Alma", "Berta", "Clara", "Greta", "Helga",
                                       "Ilse", "Nora",  "Petra", "Selma", "Ursula"};
  const std::set<std::string> men = {"Albin",  "Benno",  "Conrad", "Edric",  "Jonas",
                                     "Lorenz", "Martin", "Oswin",  "Tobias", "Ulrich"};
  const std::set<std::string> places = {
      "Arnfeld", "Brookend",  "Dunmoor", "Elmsted",    "Farholt", "Gransby",  "Harwick", "Kelwater",
      "Lindow",  "Mirefield", "Nordby",  "Oldminster", "Penholm", "Ravensey", "Sarnow",  "Thornby"};
  std::set<std::string> seen;
  for (const std::string& paragraph : paragraphs(gf::sample_text(4, 300'000))) {
    const std::string woman = only_one_of(women, paragraph), man = only_one_of(men, paragraph);
    assert_true(woman.empty() != man.empty());
    const char* other = woman.empty() ? " she " : " he ";
    assert_true(paragraph.find(other) == std::string::npos);
    const std::string place = only_one_of(places, paragraph);
    assert_false(place.empty());
    seen.insert({woman + man, place});
  }
  assert_int_equal(seen.size(), women.size() + men.size() + places.size());
}

void verbs_agree_with_their_subjects(void**) {
  const std::string text = gf::sample_text(5, 2'000'000);
  for (const char* wrong : {"If the boats drifts ", "If the boat drift ", "If every cow graze ",
                            " a old ", " an small", "these boat "}) {
    assert_true(text.find(wrong) == std::string::npos);
  }
  for (const char* right : {"the boats drift ", "the boat drifts ", "every cow grazes "}) {
    assert_true(text.find(right) != std::string::npos);
  }
}

// ---- Pairs -----------------------------------------------------------------------------------

struct Pair {
  std::string label, premise, hypothesis;
};

std::vector<Pair> parsed_pairs(uint64_t seed, int64_t count) {
  std::istringstream lines(gf::sample_pairs(seed, count));
  std::vector<Pair> pairs;
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    pairs.push_back({json.at("gold_label"), json.at("sentence1"), json.at("sentence2")});
  }
  assert_int_equal(pairs.size(), count);
  return pairs;
}

void labels_are_balanced(void**) {
  for (const int64_t count : {0, 1, 2, 3, 100, 3000}) {
    std::map<std::string, int64_t> shares;
    for (const Pair& pair : parsed_pairs(2, count)) ++shares[pair.label];
    for (const char* label : {"entailment", "neutral", "contradiction"}) {
      assert_in_range(shares[label], count / 3, (count + 2) / 3);
    }
    assert_true(shares.size() == 3);
  }
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "-1 sample pairs",
                        [] { gf::sample_pairs(1, -1); });
}

// What a phrase says: the digit is the value, of which 0 and 1 are of one kind as are 2 and 3; a
// kind alone is k (0 or 1) or l (2 or 3).
struct Phrase {
  const char* text;
  int aspect;
  char says;
};
constexpr Phrase kPhrases[] = {
    {"A man", 0, '0'},    {"A woman", 0, '1'},  {"A boy", 0, '2'},     {"A girl", 0, '3'},
    {"An adult", 0, 'k'}, {"A child", 0, 'l'},  {"black", 1, '0'},     {"brown", 1, '1'},
    {"yellow", 1, '2'},   {"pink", 1, '3'},     {"dark", 1, 'k'},      {"bright", 1, 'l'},
    {"flute", 2, '0'},    {"drum", 2, '1'},     {"letter", 2, '2'},    {"newspaper", 2, '3'},
    {"music", 2, 'k'},    {"reading ", 2, 'l'}, {"reading.", 2, 'l'},  {"kitchen", 3, '0'},
    {"library", 3, '1'},  {"meadow", 3, '2'},   {"beach", 3, '3'},     {"indoors", 3, 'k'},
    {"outdoors", 3, 'l'}, {"Saturday", 4, '0'}, {"Sunday", 4, '1'},    {"Monday", 4, '2'},
    {"Thursday", 4, '3'}, {"weekend", 4, 'k'},  {"the week ", 4, 'l'}, {"the week.", 4, 'l'},
    {"April", 5, '0'},    {"May", 5, '1'},      {"October", 5, '2'},   {"November", 5, '3'},
    {"spring", 5, 'k'},   {"autumn", 5, 'l'},
};

std::array<char, 6> understood(const std::string& sentence) {
  std::array<char, 6> says{};
  for (const Phrase& phrase : kPhrases) {
    if (sentence.find(phrase.text) == std::string::npos) continue;
    // "reading " stands in "reading a letter" too: a value outdoes its kind.
    char& known = says[static_cast<size_t>(phrase.aspect)];
    if (known == 0 || known > phrase.says) known = phrase.says;
  }
  return says;
}

char kind_of(char says) {
  return says == 'k' || says == '0' || says == '1' ? 'k' : 'l';
}

std::string true_label(const Pair& pair) {
  const auto premise = understood(pair.premise), hypothesis = understood(pair.hypothesis);
  std::string label = "entailment";
  for (size_t i = 0; i < 6; ++i) {
    if (hypothesis[i] == 0) continue;
    const bool by_kind = hypothesis[i] > '9';
    if (premise[i] == 0) {
      label = "neutral";
    } else if (by_kind ? kind_of(premise[i]) != hypothesis[i] : premise[i] != hypothesis[i]) {
      return "contradiction";
    }
  }
  return label;
}

void labels_are_true(void**) {
  for (const Pair& pair : parsed_pairs(11, 6000)) {
    if (pair.label != true_label(pair) || pair.premise == pair.hypothesis) {
      fail_msg("%s: %s -> %s", pair.label.c_str(), pair.premise.c_str(), pair.hypothesis.c_str());
    }
  }
}

// Under three labels, `counts` are draws of one distribution: chi-square of two degrees of freedom
// exceeds 25 once in 270,000 times.
void assert_independent(const std::string& feature, const std::array<double, 3>& counts) {
  const double expected = (counts[0] + counts[1] + counts[2]) / 3;
  double chi_square = 0;
  for (const double count : counts)
    chi_square += (count - expected) * (count - expected) / expected;
  if (chi_square > 25) {
    fail_msg("%s: %g, %g and %g times", feature.c_str(), counts[0], counts[1], counts[2]);
  }
}

void no_sentence_gives_its_label_away(void**) {
  const std::map<std::string, size_t> index = {
      {"entailment", 0}, {"neutral", 1}, {"contradiction", 2}};
  std::map<std::string, std::array<double, 3>> features;
  for (const Pair& pair : parsed_pairs(12, 60'000)) {
    for (const auto& [which, sentence] :
         {std::pair{"premise ", pair.premise}, std::pair{"hypothesis ", pair.hypothesis}}) {
      std::istringstream stream(sentence);
      int words = 0;
      for (std::string word; stream >> word; ++words) {
        word.erase(word.find_last_not_of('.') + 1);
        ++features[which + word][index.at(pair.label)];
      }
      ++features[which + std::to_string(words) + " words"][index.at(pair.label)];
    }
  }
  assert_true(features.size() > 80);
  for (const auto& [feature, counts] : features) assert_independent(feature, counts);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(text_has_the_size_asked_for),
      cmocka_unit_test(corpus_never_changes),
      cmocka_unit_test(paragraphs_are_whole),
      cmocka_unit_test(paragraphs_keep_to_their_hero_and_place),
      cmocka_unit_test(verbs_agree_with_their_subjects),
      cmocka_unit_test(labels_are_balanced),
      cmocka_unit_test(labels_are_true),
      cmocka_unit_test(no_sentence_gives_its_label_away),
  };
  return cmocka_run_group_tests_name("data/sample_corpus", tests, nullptr, nullptr);
}
