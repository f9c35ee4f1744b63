#include "data/dataset.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace gf {
namespace {

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

// The tokenised release writes <unk> for an unknown word, which some vocabularies have a token for.
std::string with_unknown_token(std::string text) {
  constexpr std::string_view kMark = "<unk>", kToken = "[UNK]";
  for (size_t at = 0; (at = text.find(kMark, at)) != std::string::npos; at += kToken.size()) {
    text.replace(at, kMark.size(), kToken);
  }
  return text;
}

std::vector<int32_t> encode_file(const Tokenizer& tokenizer, const std::string& path,
                                 gf_text_format text_format) {
  const MappedFile file(path);
  std::string joined;
  std::string_view text = file.bytes();
  if (text_format == GF_TEXT_WIKITEXT) {
    joined = join_rows(text);
    if (tokenizer.special().unknown >= 0) joined = with_unknown_token(std::move(joined));
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
  max_id_ = max_of(data(), chunks_ * length_);
}

Dataset Dataset::slice(int64_t first, int64_t count) const {
  if (first < 0 || count < 1 || first > chunks_ || count > chunks_ - first) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "slice of %lld chunks from chunk %lld: there are %lld",
                static_cast<long long>(count), static_cast<long long>(first),
                static_cast<long long>(chunks_));
  }
  Dataset part = *this;
  part.ids_ = std::shared_ptr<const int32_t>(ids_, chunk(first));
  part.chunks_ = count;
  part.total_ids_ = count * length_;
  part.max_id_ = max_of(part.data(), part.total_ids_);
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
