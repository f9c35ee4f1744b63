// Pairs: their groups by length, datasets of them, and SNLI's files.

#include "data/snli.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "base/file.h"
#include "data/length_groups.h"
#include "data/sample_corpus.h"
#include "support/support.h"

namespace {

// ---- Groups by length --------------------------------------------------------------------------

int64_t padded(const std::vector<gf::LengthGroup>& groups) {
  int64_t sum = 0;
  for (const gf::LengthGroup& group : groups) sum += group.count * group.length;
  return sum;
}

// By trying every division of the distinct lengths into at most `most` runs.
int64_t least_padded(const std::vector<int32_t>& lengths, size_t first, int64_t most) {
  if (first == lengths.size()) return 0;
  if (most == 0) return INT64_MAX / 2;
  int64_t best = INT64_MAX / 2;
  for (size_t end = first + 1; end <= lengths.size(); ++end) {
    if (end < lengths.size() && lengths[end] == lengths[end - 1]) continue;
    const auto count = static_cast<int64_t>(end - first);
    best = std::min(best, count * lengths[end - 1] + least_padded(lengths, end, most - 1));
  }
  return best;
}

void groups_have_the_least_padding(void**) {
  std::mt19937 bits(1);
  for (const size_t count : {1, 2, 7, 8, 9, 14}) {
    for (int repetition = 0; repetition < 20; ++repetition) {
      std::vector<int32_t> lengths(count);
      for (int32_t& length : lengths) length = static_cast<int32_t>(bits() % 30 * (bits() % 4) + 1);
      std::sort(lengths.begin(), lengths.end());
      const auto groups = gf::group_by_length(lengths);
      assert_in_range(groups.size(), 1, gf::kMostLengthGroups);
      int64_t next = 0;
      for (const gf::LengthGroup& group : groups) {
        assert_int_equal(group.first, next);
        next += group.count;
        assert_int_equal(group.length, lengths[static_cast<size_t>(next - 1)]);
      }
      assert_int_equal(next, count);
      assert_int_equal(padded(groups), least_padded(lengths, 0, gf::kMostLengthGroups));
    }
  }
}

// ---- Pairs in memory ---------------------------------------------------------------------------

// Sequence i has i % 13 + 1 ids, all i, and the label i % 3.
gf::Dataset numbered_pairs(int32_t count) {
  std::vector<int32_t> ids, lengths, labels;
  for (int32_t i = 0; i < count; ++i) {
    lengths.push_back(i % 13 + 1);
    ids.insert(ids.end(), static_cast<size_t>(lengths.back()), i);
    labels.push_back(i % 3);
  }
  return gf::dataset_from_pairs(ids.data(), lengths.data(), labels.data(), lengths.size());
}

// That each of the sequences from `first` on stands once in it, as it was given.
void assert_holds(const gf::Dataset& data, int32_t first, int32_t count) {
  assert_int_equal(data.chunks(), count);
  std::vector<bool> seen(static_cast<size_t>(count), false);
  const int32_t* ids = data.data();
  for (const gf::LengthGroup& group : data.groups()) {
    for (int64_t i = group.first; i < group.first + group.count; ++i, ids += group.length) {
      const int32_t length = data.lengths()[static_cast<size_t>(i)], number = ids[0];
      assert_int_equal(data.number(i), number - first);
      assert_int_equal(length, number % 13 + 1);
      assert_int_equal(data.labels()[static_cast<size_t>(i)], number % 3);
      for (int32_t t = 0; t < group.length; ++t) assert_int_equal(ids[t], t < length ? number : 0);
      assert_false(seen[static_cast<size_t>(number - first)]);
      seen[static_cast<size_t>(number - first)] = true;
    }
  }
}

void pairs_are_ordered_and_padded_by_group(void**) {
  const gf::Dataset data = numbered_pairs(100);
  assert_holds(data, 0, 100);
  assert_true(data.is_labelled());
  assert_int_equal(data.length(), 13);
  assert_int_equal(data.max_id(), 99);
  assert_int_equal(data.groups().size(), 8);
  int64_t tokens = 0;
  for (int i = 0; i < 100; ++i) tokens += i % 13 + 1;
  assert_int_equal(data.tokens(), tokens);
  assert_int_equal(data.total_ids(), tokens);
  assert_int_equal(data.padded_tokens(), padded(data.groups()));
}

void slices_of_pairs_follow_the_first_order(void**) {
  const gf::Dataset whole = numbered_pairs(100), part = whole.slice(30, 50);
  assert_holds(part, 30, 50);
  assert_holds(part.slice(49, 1), 79, 1);
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "there are 50", [&] { part.slice(50, 1); });
}

void bad_pairs_are_named(void**) {
  const std::vector<int32_t> ids = {1, 2, -3, 4};
  const auto refuse = [&](const char* text, std::vector<int32_t> lengths,
                          std::vector<int32_t> labels) {
    gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, text, [&] {
      gf::dataset_from_pairs(ids.data(), lengths.data(), labels.data(), lengths.size());
    });
  };
  refuse("at least one pair", {}, {});
  refuse("lengths[1] is 0", {2, 0}, {0, 0});
  refuse("labels[0] is -1", {2}, {-1});
  refuse("labels[0] is 16, expected 0 to 15", {2}, {16});
  refuse("id 1 of sequence 1 is -3", {1, 3}, {0, 0});
}

// ---- Files -------------------------------------------------------------------------------------

std::string line(const char* label, const char* premise, const char* hypothesis) {
  return std::string("{\"gold_label\": \"") + label + "\", \"sentence1\": \"" + premise +
         "\", \"captionID\": [1, {\"a\": null}], \"sentence2\": \"" + hypothesis + "\"}\n";
}

gf::Dataset load(const std::string& text, gf::PairReport& report, int32_t max_length = 64) {
  static const auto bytes = gf::load_tokenizer("byte", "");
  return gf::dataset_from_snli(*bytes, text, "pairs.jsonl", max_length, report);
}

void lines_become_pairs_and_a_report(void**) {
  gf::PairReport report;
  const gf::Dataset data =
      load(line("neutral", "ab", "c") + "\n  \r\n" + line("-", "x", "y") +
               line("contradiction", "a\\u00e9", "\\\"b") + line("entailment", "  ", "four") +
               line("neutral", "123456789", "abcdef"),
           report, 8);
  assert_int_equal(report.lines, 5);
  assert_int_equal(report.pairs, 4);
  assert_int_equal(report.unlabelled, 1);
  assert_int_equal(report.empty, 1);
  assert_int_equal(report.cut, 1);
  assert_int_equal(report.longest, 15);
  assert_true(report.mean_length == (3 + 5 + 6 + 8) / 4.0);
  assert_true(report.label_counts[0] == 1 && report.label_counts[1] == 2 &&
              report.label_counts[2] == 1);
  assert_int_equal(data.chunks(), 4);
  assert_int_equal(data.length(), 8);
  // The shortest first: "ab" and "c", neutral.
  assert_int_equal(data.lengths()[0], 3);
  assert_int_equal(data.labels()[0], GF_SNLI_NEUTRAL);
  assert_true(std::equal(data.data(), data.data() + 3, "abc"));
}

void bad_lines_are_named(void**) {
  const auto refuse = [](const char* text, const std::string& bad) {
    gf::PairReport report;
    const std::string named = std::string("pairs.jsonl: line 3: ") + text;
    gf_test::assert_fails(GF_ERROR_FORMAT, named.c_str(), [&] {
      load(line("neutral", "a", "b") + "\n" + bad + line("neutral", "a", "b"), report);
    });
  };
  refuse("no valid JSON at byte 2", "{\n");
  refuse("no valid JSON at byte", "{\"gold_label\": \"neutral\", \"sentence1\": \"\xff\"}\n");
  refuse("holds a number that is out of range", "{\"a\": 1e999}\n");
  refuse("expected a JSON object", "[1, 2]\n");
  refuse("has no gold_label", "{\"sentence1\": \"a\", \"sentence2\": \"b\"}\n");
  refuse("has no sentence2", "{\"gold_label\": \"neutral\", \"sentence1\": \"a\"}\n");
  refuse("sentence1 is no text",
         "{\"gold_label\": \"neutral\", \"sentence1\": 7, \"sentence2\": \"b\"}\n");
  refuse("gold_label is \"maybe\", expected entailment, neutral, contradiction or -",
         line("maybe", "a", "b"));
  refuse("both sentences are empty", line("neutral", "", ""));
}

void files_without_pairs_are_named(void**) {
  gf::PairReport report;
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "pairs.jsonl: holds no labelled pair in 0 lines",
                        [&] { load("\n", report); });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "no labelled pair in 1 lines",
                        [&] { load(line("-", "a", "b"), report); });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "max_length is 7, expected at least 8",
                        [&] { load("", report, 7); });
  gf_test::assert_fails(GF_ERROR_NOT_FOUND, "/nowhere/x", [&] {
    gf::dataset_from_snli_file(*gf::load_tokenizer("byte", ""), "/nowhere/x", 64, report);
  });
}

void the_sample_corpus_loads(void**) {
  gf::PairReport report;
  const gf::Dataset data = load(gf::sample_pairs(3, 300), report, 256);
  assert_int_equal(data.chunks(), 300);
  for (int c = 0; c < 3; ++c) assert_int_equal(report.label_counts[static_cast<size_t>(c)], 100);
}

// Counts of the published splits.
void snli_has_its_known_counts(void**) {
  const std::string data = gf_test::data_directory("datasets of SNLI");
  if (data.empty()) skip();
  const auto bert = gf::load_tokenizer("bert", data);
  struct Known {
    const char* file;
    int64_t pairs, unlabelled, entailment, neutral, contradiction;
    int32_t longest;
  };
  for (const Known& k : {Known{"dev", 9842, 158, 3329, 3235, 3278, 113},
                         {"test", 9824, 176, 3368, 3219, 3237, 76}}) {
    gf::PairReport report;
    const gf::Dataset dataset = gf::dataset_from_snli_file(
        *bert, data + "/snli_1.0/snli_1.0_" + k.file + ".jsonl", 128, report);
    assert_int_equal(dataset.chunks(), k.pairs);
    assert_int_equal(report.unlabelled, k.unlabelled);
    assert_int_equal(report.label_counts[GF_SNLI_ENTAILMENT], k.entailment);
    assert_int_equal(report.label_counts[GF_SNLI_NEUTRAL], k.neutral);
    assert_int_equal(report.label_counts[GF_SNLI_CONTRADICTION], k.contradiction);
    assert_int_equal(report.longest, k.longest);
    assert_int_equal(report.cut, 0);
    assert_true(dataset.padded_tokens() < 1.1 * static_cast<double>(dataset.tokens()));
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(groups_have_the_least_padding),
      cmocka_unit_test(pairs_are_ordered_and_padded_by_group),
      cmocka_unit_test(slices_of_pairs_follow_the_first_order),
      cmocka_unit_test(bad_pairs_are_named),
      cmocka_unit_test(lines_become_pairs_and_a_report),
      cmocka_unit_test(bad_lines_are_named),
      cmocka_unit_test(files_without_pairs_are_named),
      cmocka_unit_test(the_sample_corpus_loads),
      cmocka_unit_test(snli_has_its_known_counts),
  };
  return cmocka_run_group_tests_name("data/snli", tests, nullptr, nullptr);
}
