#include "text/bpe_files.h"

#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "text/unicode.h"

namespace gf {
namespace {

using Ids = std::unordered_map<std::string_view, int32_t>;

constexpr const char* kEndOfText = "<|endoftext|>";
constexpr int kNoByte = -1;
constexpr size_t kStandIns = 0x144;

// GPT-2's files write a byte as itself where that is a printable character of Latin-1, and the
// other bytes, in order, as U+0100 and on.
std::array<int, kStandIns> bytes_of_stand_ins() {
  std::array<int, kStandIns> bytes;
  bytes.fill(kNoByte);
  size_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte <= 0xFF && byte != 0xAD);
    bytes[printable ? static_cast<size_t>(byte) : next++] = byte;
  }
  return bytes;
}

// Appends the bytes that `text` stands for; false if it holds a character that stands for none.
bool to_bytes(std::string_view text, std::string& bytes) {
  static const std::array<int, kStandIns> kBytes = bytes_of_stand_ins();
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (c.value >= kStandIns || kBytes[c.value] == kNoByte) return false;
    bytes.push_back(static_cast<char>(kBytes[c.value]));
    text.remove_prefix(c.bytes);
  }
  return true;
}

// Takes {"token": id, ...} as the parser reads it: seven times as fast as a tree of values.
class VocabHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  VocabHandler(const std::string& path, std::vector<std::string>& tokens)
      : path_(path), tokens_(tokens) {}

  bool start_object(size_t) override { return ++depth_ == 1 || misplaced(); }
  bool end_object() override { return true; }
  bool key(string_t& token) override {
    token_ = token;
    return true;
  }
  bool number_unsigned(number_unsigned_t id) override {
    if (depth_ == 0) return misplaced();
    if (id >= BpeFiles::kMaxTokens) reject("has an id that is too large");
    if (id >= tokens_.size()) tokens_.resize(id + 1);
    if (!tokens_[id].empty()) reject("has the id of another token");
    if (token_.empty() || !to_bytes(token_, tokens_[id])) reject("is not written in stand-ins");
    return true;
  }
  bool null() override { return misplaced(); }
  bool boolean(bool) override { return misplaced(); }
  bool number_integer(number_integer_t) override { return misplaced(); }
  bool number_float(number_float_t, const string_t&) override { return misplaced(); }
  bool string(string_t&) override { return misplaced(); }
  bool binary(binary_t&) override { return misplaced(); }
  bool start_array(size_t) override { return misplaced(); }
  bool end_array() override { return misplaced(); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    throw_error(GF_ERROR_FORMAT, "%s: %s", path_.c_str(), error.what());
  }

 private:
  [[noreturn]] void reject(const char* what) const {
    throw_error(GF_ERROR_FORMAT, "%s: token \"%s\" %s", path_.c_str(), token_.c_str(), what);
  }
  [[noreturn]] bool misplaced() const {
    throw_error(GF_ERROR_FORMAT, "%s: token \"%s\": expected one object of tokens and their ids",
                path_.c_str(), token_.c_str());
  }

  const std::string& path_;
  std::vector<std::string>& tokens_;
  std::string token_;
  int depth_ = 0;
};

std::vector<std::string> read_tokens(const std::string& path) {
  const MappedFile file(path);
  std::vector<std::string> tokens;
  VocabHandler handler(path, tokens);
  nlohmann::json::sax_parse(file.bytes(), &handler);
  return tokens;
}

Ids ids_of(const std::string& path, const std::vector<std::string>& tokens) {
  Ids ids;
  ids.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].empty()) {
      throw_error(GF_ERROR_FORMAT, "%s: no token has id %zu, but one has id %zu", path.c_str(), id,
                  tokens.size() - 1);
    }
    if (!ids.try_emplace(tokens[id], static_cast<int32_t>(id)).second) {
      throw_error(GF_ERROR_FORMAT, "%s: id %zu is a token that has an id already", path.c_str(),
                  id);
    }
  }
  return ids;
}

// A line of merges.txt: "left right".
BpeFiles::Merge parse_merge(std::string_view line, const Ids& ids) {
  const size_t space = std::min(line.find(' '), line.size());
  std::string left;
  std::string right;
  if (space == line.size() || !to_bytes(line.substr(0, space), left) ||
      !to_bytes(line.substr(space + 1), right)) {
    throw_error(GF_ERROR_FORMAT, "expected two tokens with one space between them");
  }
  const auto id_of = [&](const std::string& token) {
    const auto found = ids.find(token);
    if (found == ids.end()) {
      throw_error(GF_ERROR_FORMAT, "\"%s\" is not in the vocabulary", token.c_str());
    }
    return found->second;
  };
  return {id_of(left), id_of(right), id_of(left + right)};
}

std::vector<BpeFiles::Merge> read_merges(const std::string& path, const Ids& ids) {
  const MappedFile file(path);
  std::vector<BpeFiles::Merge> merges;
  std::string_view rest = file.bytes();
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (number == 1 && line.starts_with("#version")) continue;
    try {
      merges.push_back(parse_merge(line, ids));
    } catch (const Error& error) {
      throw_error(error.status(), "%s:%zu: %s", path.c_str(), number, error.what());
    }
  }
  return merges;
}

}  // namespace

BpeFiles read_bpe_files(const std::string& vocab_path, const std::string& merges_path) {
  BpeFiles files;
  files.tokens = read_tokens(vocab_path);
  const Ids ids = ids_of(vocab_path, files.tokens);
  const auto id_of = [&](const std::string& token) {
    const auto found = ids.find(token);
    if (found == ids.end()) {
      throw_error(GF_ERROR_FORMAT, "%s: no token for \"%s\"", vocab_path.c_str(), token.c_str());
    }
    return found->second;
  };
  for (int byte = 0; byte < 256; ++byte) {
    files.byte_ids[byte] = id_of(std::string(1, static_cast<char>(byte)));
  }
  files.end_of_text = id_of(kEndOfText);
  files.merges = read_merges(merges_path, ids);
  if (files.tokens.size() != 256 + files.merges.size() + 1) {
    throw_error(GF_ERROR_FORMAT,
                "%s has %zu tokens, but the %zu merges of %s ask for 256 + %zu + 1",
                vocab_path.c_str(), files.tokens.size(), files.merges.size(), merges_path.c_str(),
                files.merges.size());
  }
  return files;
}

}  // namespace gf
