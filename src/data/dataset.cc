#include "data/dataset.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/length_groups.h"

namespace gf {
namespace {

// Of any vocabulary, since nothing depends on it.
constexpr int32_t kPadding = 0;

void check_length(int32_t length) {
  if (length < 2) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "chunks of %d ids: expected at least 2", length);
  }
}

int32_t max_of(const int32_t* ids, int64_t count) {
  return *std::max_element(ids, ids + count);
}

// White space as Python's str.isspace() has it: the study dropped rows by that rule.
constexpr std::string_view kWhiteSpace[] = {
    " ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\x1c",   "\x1d",
    "\x1e",   "\x1f",   "\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002",
    "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
    "\u2028", "\u2029", "\u202f", "\u205f", "\u3000",
};

bool is_white_space(std::string_view text) {
  while (!text.empty()) {
    const auto* space =
        std::find_if(std::begin(kWhiteSpace), std::end(kWhiteSpace),
                     [&](std::string_view candidate) { return text.starts_with(candidate); });
    if (space == std::end(kWhiteSpace)) return false;
    text.remove_prefix(space->size());
  }
  return true;
}

// Rows keep their line ends and are joined by one more, as the study's rows of a table were.
std::string join_rows(std::string_view file) {
  std::string text;
  text.reserve(file.size() + static_cast<size_t>(std::count(file.begin(), file.end(), '\n')));
  while (!file.empty()) {
    const size_t end = std::min(file.find('\n'), file.size() - 1) + 1;
    const std::string_view row = file.substr(0, end);
    file.remove_prefix(end);
    if (is_white_space(row)) continue;
    if (!text.empty()) text += '\n';
    text += row;
  }
  return text;
}

// The tokenised release writes <unk> where a rare word was: the unknown token of vocabularies that
// have one. Others read it as text.
void mark_unknown(const Tokenizer& tokenizer, std::string& text) {
  const int32_t unknown = tokenizer.special().unknown;
  if (unknown < 0) return;
  constexpr std::string_view kMark = "<unk>";
  const std::string token = tokenizer.decode({&unknown, 1}, false);
  for (size_t at = text.find(kMark); at != std::string::npos; at = text.find(kMark, at)) {
    text.replace(at, kMark.size(), token);
    at += token.size();
  }
}

std::vector<int32_t> encode_file(const Tokenizer& tokenizer, const std::string& path,
                                 gf_text_format text_format) {
  const MappedFile file(path);
  std::string joined;
  std::string_view text = file.bytes();
  if (text_format == GF_TEXT_WIKITEXT) {
    joined = join_rows(text);
    mark_unknown(tokenizer, joined);
    text = joined;
  }
  if (text.empty()) throw_error(GF_ERROR_INVALID_ARGUMENT, "%s: holds no text", path.c_str());
  std::vector<int32_t> ids;
  tokenizer.encode(text, true, ids);
  return ids;
}

}  // namespace

Dataset::Dataset(std::vector<int32_t> ids, int32_t length, const std::string& source)
    : length_(length), total_ids_(static_cast<int64_t>(ids.size())) {
  check_length(length);
  chunks_ = total_ids_ / length;
  if (chunks_ == 0) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "%s: holds %zu ids, but one chunk takes %d",
                source.c_str(), ids.size(), length);
  }
  const auto owner = std::make_shared<const std::vector<int32_t>>(std::move(ids));
  ids_ = std::shared_ptr<const int32_t>(owner, owner->data());
  groups_ = {{0, chunks_, length}};
  tokens_ = padded_tokens_ = chunks_ * length_;
  max_id_ = max_of(data(), tokens_);
}

Dataset::Dataset(const LabelledSequences& sequences)
    : chunks_(std::ssize(sequences.lengths)), total_ids_(std::ssize(sequences.ids)) {
  Labelled labelled;
  labelled.numbers.resize(static_cast<size_t>(chunks_));
  std::iota(labelled.numbers.begin(), labelled.numbers.end(), int64_t{0});
  const auto& lengths = sequences.lengths;
  std::stable_sort(labelled.numbers.begin(), labelled.numbers.end(), [&](int64_t a, int64_t b) {
    return lengths[static_cast<size_t>(a)] < lengths[static_cast<size_t>(b)];
  });
  std::vector<size_t> begins(lengths.size(), 0);
  std::partial_sum(lengths.begin(), lengths.end() - 1, begins.begin() + 1, std::plus<size_t>());
  for (const int64_t number : labelled.numbers) {
    labelled.lengths.push_back(lengths[static_cast<size_t>(number)]);
    labelled.labels.push_back(sequences.labels[static_cast<size_t>(number)]);
  }
  groups_ = group_by_length(labelled.lengths);
  length_ = groups_.back().length;
  tokens_ = total_ids_;
  padded_tokens_ = 0;
  for (const LengthGroup& group : groups_) padded_tokens_ += group.count * group.length;

  auto ids = std::make_shared<std::vector<int32_t>>(static_cast<size_t>(padded_tokens_), kPadding);
  auto to = ids->begin();
  for (const LengthGroup& group : groups_) {
    for (int64_t i = group.first; i < group.first + group.count; ++i, to += group.length) {
      const auto at = static_cast<size_t>(labelled.numbers[static_cast<size_t>(i)]);
      std::copy_n(sequences.ids.begin() + static_cast<ptrdiff_t>(begins[at]), lengths[at], to);
    }
  }
  ids_ = std::shared_ptr<const int32_t>(ids, ids->data());
  max_id_ = max_of(data(), padded_tokens_);
  labelled_ = std::make_shared<const Labelled>(std::move(labelled));
}

Dataset Dataset::slice(int64_t first, int64_t count) const {
  if (first < 0 || count < 1 || first > chunks_ || count > chunks_ - first) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "slice of %lld chunks from chunk %lld: there are %lld",
                static_cast<long long>(count), static_cast<long long>(first),
                static_cast<long long>(chunks_));
  }
  if (labelled_) return Dataset(unpadded(first, count));
  Dataset part = *this;
  part.ids_ = std::shared_ptr<const int32_t>(ids_, chunk(first));
  part.chunks_ = count;
  part.groups_ = {{0, count, length_}};
  part.total_ids_ = part.tokens_ = part.padded_tokens_ = count * length_;
  part.max_id_ = max_of(part.data(), part.total_ids_);
  return part;
}

// Sequences of the first order as they came.
LabelledSequences Dataset::unpadded(int64_t first, int64_t count) const {
  std::vector<const int32_t*> begins(static_cast<size_t>(chunks_));  // by number
  std::vector<size_t> places(static_cast<size_t>(chunks_));
  const int32_t* from = data();
  for (const LengthGroup& group : groups_) {
    for (int64_t i = group.first; i < group.first + group.count; ++i, from += group.length) {
      begins[static_cast<size_t>(number(i))] = from;
      places[static_cast<size_t>(number(i))] = static_cast<size_t>(i);
    }
  }
  LabelledSequences part;
  for (auto at = static_cast<size_t>(first); at < static_cast<size_t>(first + count); ++at) {
    const int32_t length = lengths()[places[at]];
    part.ids.insert(part.ids.end(), begins[at], begins[at] + length);
    part.lengths.push_back(length);
    part.labels.push_back(labels()[places[at]]);
  }
  return part;
}

Dataset dataset_from_ids(std::span<const int32_t> ids, int32_t length) {
  const auto negative = std::find_if(ids.begin(), ids.end(), [](int32_t id) { return id < 0; });
  if (negative != ids.end()) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "id %d at index %zu: expected 0 or more", *negative,
                static_cast<size_t>(negative - ids.begin()));
  }
  return Dataset({ids.begin(), ids.end()}, length, "dataset");
}

Dataset dataset_from_pairs(const int32_t* ids, const int32_t* lengths, const int32_t* labels,
                           size_t count) {
  if (count == 0) throw_error(GF_ERROR_INVALID_ARGUMENT, "count is 0, expected at least one pair");
  size_t total = 0;
  for (size_t i = 0; i < count; ++i) {
    if (lengths[i] < 1) {
      throw_error(GF_ERROR_INVALID_ARGUMENT, "lengths[%zu] is %d, expected at least 1", i,
                  lengths[i]);
    }
    if (labels[i] < 0 || labels[i] >= GF_MAX_CLASSES) {
      throw_error(GF_ERROR_INVALID_ARGUMENT, "labels[%zu] is %d, expected 0 to %d", i, labels[i],
                  GF_MAX_CLASSES - 1);
    }
    for (int32_t t = 0; t < lengths[i]; ++t, ++total) {
      if (ids[total] >= 0) continue;
      throw_error(GF_ERROR_INVALID_ARGUMENT, "id %d of sequence %zu is %d, expected 0 or more", t,
                  i, ids[total]);
    }
  }
  return Dataset(
      LabelledSequences{{ids, ids + total}, {lengths, lengths + count}, {labels, labels + count}});
}

Dataset dataset_from_text_file(const Tokenizer& tokenizer, const std::string& path,
                               gf_text_format text_format, int32_t length) {
  check_length(length);  // before the work
  if (text_format != GF_TEXT_PLAIN && text_format != GF_TEXT_WIKITEXT) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "text format %d: expected 0 (plain) or 1 (WikiText)",
                static_cast<int>(text_format));
  }
  return Dataset(encode_file(tokenizer, path, text_format), length, path);
}

}  // namespace gf
