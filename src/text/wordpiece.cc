#include "text/wordpiece.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"

namespace gf {
namespace {

constexpr std::string_view kContinuation = "##";

std::vector<std::string> read_tokens(const std::string& path) {
  const MappedFile file(path);
  std::vector<std::string> tokens;
  std::unordered_map<std::string_view, size_t> lines;
  std::string_view rest = file.bytes();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view token = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (token.ends_with('\r')) token.remove_suffix(1);
    const size_t line = tokens.size() + 1;
    if (token.empty() || !is_utf8(token)) {
      throw_error(GF_ERROR_FORMAT, "%s:%zu: expected a token in UTF-8", path.c_str(), line);
    }
    const auto [earlier, is_new] = lines.try_emplace(token, line);
    if (!is_new) {
      throw_error(GF_ERROR_FORMAT, "%s:%zu: the token of line %zu again", path.c_str(), line,
                  earlier->second);
    }
    tokens.emplace_back(token);
  }
  return tokens;
}

std::vector<Trie::Entry> entries_of(const std::vector<std::string>& tokens) {
  std::vector<Trie::Entry> entries;
  for (const std::string& token : tokens) {
    entries.push_back({token, static_cast<int32_t>(entries.size())});
  }
  return entries;
}

bool joins_the_word_before(std::string_view token) {
  return token.starts_with('.') || token.starts_with(',') || token.starts_with('!') ||
         token.starts_with('?');
}

}  // namespace

BertTokenizer::BertTokenizer(const std::string& directory)
    : tokens_(read_tokens(directory + "/vocab.txt")),
      trie_(entries_of(tokens_)),
      continuation_(trie_.walk(kContinuation)) {
  const auto add_special = [&](std::string_view token, bool is_required) {
    const int32_t id = trie_.find(token);
    if (id < 0 && is_required) {
      throw_error(GF_ERROR_FORMAT, "%s/vocab.txt: no line is %s", directory.c_str(),
                  std::string(token).c_str());
    }
    if (id >= 0) special_tokens_.push_back({token, id});
    return id;
  };
  special_ = {.pad = add_special("[PAD]", false),
              .unknown = add_special("[UNK]", true),
              .begin = add_special("[CLS]", true),
              .separator = add_special("[SEP]", true)};
  add_special("[MASK]", false);
}

void BertTokenizer::encode(std::string_view text, bool with_special,
                           std::vector<int32_t>& ids) const {
  if (with_special) ids.push_back(special_.begin);
  size_t begin = 0;
  for (size_t at = 0; (at = text.find('[', at)) != std::string_view::npos;) {
    const auto token = std::find_if(
        special_tokens_.begin(), special_tokens_.end(),
        [&](const SpecialToken& special) { return text.substr(at).starts_with(special.text); });
    if (token == special_tokens_.end()) {
      ++at;
      continue;
    }
    encode_words(text.substr(begin, at - begin), ids);
    ids.push_back(token->id);
    begin = at += token->text.size();
  }
  encode_words(text.substr(begin), ids);
  if (with_special) ids.push_back(special_.separator);
}

void BertTokenizer::encode_words(std::string_view text, std::vector<int32_t>& ids) const {
  BertWords words(characters_, text);
  while (words.next()) {
    if (words.is_too_long()) {
      ids.push_back(special_.unknown);
    } else {
      encode_word(words.word(), ids);
    }
  }
}

void BertTokenizer::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  const size_t first = ids.size();
  uint32_t node = Trie::kRoot;
  while (!word.empty()) {
    const Trie::Match match = trie_.longest_match(word, node);
    if (match.length == 0) {
      ids.resize(first);
      ids.push_back(special_.unknown);
      return;
    }
    ids.push_back(match.id);
    word.remove_prefix(match.length);
    node = continuation_;
  }
}

std::string BertTokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  check_ids(ids);
  std::string text;
  bool is_first = true;
  for (const int32_t id : ids) {
    const auto is_this = [&](const SpecialToken& special) { return special.id == id; };
    if (skip_special && std::any_of(special_tokens_.begin(), special_tokens_.end(), is_this)) {
      continue;
    }
    std::string_view token = tokens_[static_cast<size_t>(id)];
    const bool is_continuation = token.starts_with(kContinuation);
    if (!is_first && is_continuation) token.remove_prefix(kContinuation.size());
    if (!is_first && !is_continuation && !joins_the_word_before(token)) text += ' ';
    text += token;
    is_first = false;
  }
  return text;
}

}  // namespace gf
