#include "data/snli.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace gf {
namespace {

using nlohmann::json;

constexpr const char* kClasses[] = {"entailment", "neutral", "contradiction"};
static_assert(std::size(kClasses) == GF_SNLI_CLASSES);
constexpr const char* kNoLabel = "-";  // the annotators disagreed

constexpr int32_t kLeastLength = 8;  // room for the three special tokens and some words

// Where an error is found.
struct Place {
  const std::string& source;
  int64_t line;

  [[noreturn]] void fail(const std::string& text) const {
    throw_error(GF_ERROR_FORMAT, "%s: line %lld: %s", source.c_str(), static_cast<long long>(line),
                text.c_str());
  }
};

json parse_object(std::string_view line, const Place& place) {
  json object;
  try {
    object = json::parse(line);
  } catch (const json::parse_error& error) {
    place.fail(format("no valid JSON at byte %zu of the line", error.byte));
  } catch (const json::exception&) {
    place.fail("holds a number that is out of range");
  }
  if (!object.is_object()) place.fail("expected a JSON object with gold_label and sentences");
  return object;
}

const std::string& text_of(const json& object, const char* key, const Place& place) {
  const auto value = object.find(key);
  if (value == object.end()) place.fail(std::string("has no ") + key);
  if (!value->is_string()) place.fail(std::string(key) + " is no text");
  return value->get_ref<const std::string&>();
}

int32_t class_of(const std::string& label, const Place& place) {
  const auto* found = std::find(std::begin(kClasses), std::end(kClasses), label);
  if (found == std::end(kClasses)) {
    place.fail("gold_label is \"" + label + "\", expected entailment, neutral, contradiction or -");
  }
  return static_cast<int32_t>(found - std::begin(kClasses));
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

// Adds a pair to `to`, as long as it is without a limit and then cut to one.
void add_pair(const Tokenizer& tokenizer, const std::string& premise, const std::string& hypothesis,
              int32_t max_length, const Place& place, LabelledSequences& to, PairReport& report) {
  const size_t begin = to.ids.size();
  tokenizer.encode_pair(premise, hypothesis, true, 0, to.ids);
  const auto whole = static_cast<int32_t>(to.ids.size() - begin);
  if (whole == 0) place.fail("both sentences are empty, which leaves the pair without any id");
  report.longest = std::max(report.longest, whole);
  if (whole > max_length) {
    to.ids.resize(begin);
    tokenizer.encode_pair(premise, hypothesis, true, static_cast<size_t>(max_length), to.ids);
    ++report.cut;
  }
  to.lengths.push_back(static_cast<int32_t>(to.ids.size() - begin));
  if (is_blank(premise) || is_blank(hypothesis)) ++report.empty;
}

void add_line(const Tokenizer& tokenizer, std::string_view line, int32_t max_length,
              const Place& place, LabelledSequences& to, PairReport& report) {
  const json object = parse_object(line, place);
  const std::string& label = text_of(object, "gold_label", place);
  const std::string& premise = text_of(object, "sentence1", place);
  const std::string& hypothesis = text_of(object, "sentence2", place);
  ++report.lines;
  if (label == kNoLabel) {
    ++report.unlabelled;
    return;
  }
  const int32_t number = class_of(label, place);
  add_pair(tokenizer, premise, hypothesis, max_length, place, to, report);
  to.labels.push_back(number);
  ++report.label_counts[static_cast<size_t>(number)];
}

}  // namespace

Dataset dataset_from_snli(const Tokenizer& tokenizer, std::string_view lines,
                          const std::string& source, int32_t max_length, PairReport& report) {
  if (max_length < kLeastLength) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "max_length is %d, expected at least %d", max_length,
                kLeastLength);
  }
  report = {};
  LabelledSequences sequences;
  for (Place place{source, 1}; !lines.empty(); ++place.line) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    if (!is_blank(line)) add_line(tokenizer, line, max_length, place, sequences, report);
  }
  report.pairs = std::ssize(sequences.lengths);
  if (report.pairs == 0) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "%s: holds no labelled pair in %lld lines",
                source.c_str(), static_cast<long long>(report.lines));
  }
  report.mean_length =
      static_cast<double>(sequences.ids.size()) / static_cast<double>(report.pairs);
  return Dataset(sequences);
}

Dataset dataset_from_snli_file(const Tokenizer& tokenizer, const std::string& path,
                               int32_t max_length, PairReport& report) {
  const MappedFile file(path);
  return dataset_from_snli(tokenizer, file.bytes(), path, max_length, report);
}

}  // namespace gf
