#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "text/bpe.h"
#include "text/byte.h"
#include "text/wordpiece.h"

namespace gf {
namespace {

// Cuts two lengths to `room` together as Hugging Face's longest-first strategy does: the longer one
// alone while that suffices, else both to halves, of which the longer one gets the odd id.
void truncate_longest_first(size_t room, size_t& a, size_t& b) {
  if (a + b <= room) return;
  size_t& shorter = a > b ? b : a;
  size_t& longer = a > b ? a : b;
  shorter = std::min(shorter, room / 2);
  longer = room - shorter;
}

// directory/folder when it is there, else the directory itself.
std::string folder_in(const std::string& directory, const char* folder) {
  const std::string inner = directory + "/" + folder;
  return std::filesystem::is_directory(inner) ? inner : directory;
}

}  // namespace

void Tokenizer::encode_pair(std::string_view a, std::string_view b, bool with_special,
                            size_t max_length, std::vector<int32_t>& ids) const {
  std::vector<int32_t> a_ids;
  std::vector<int32_t> b_ids;
  encode(a, false, a_ids);
  encode(b, false, b_ids);
  const SpecialIds frame = with_special ? special() : SpecialIds{};
  const size_t frame_ids = (frame.begin >= 0 ? 1 : 0) + (frame.separator >= 0 ? 2 : 0);
  size_t a_length = a_ids.size();
  size_t b_length = b_ids.size();
  if (max_length != 0) {
    if (max_length < frame_ids) {
      throw_error(GF_ERROR_INVALID_ARGUMENT,
                  "a pair of at most %zu ids cannot hold its %zu special tokens", max_length,
                  frame_ids);
    }
    truncate_longest_first(max_length - frame_ids, a_length, b_length);
  }
  if (frame.begin >= 0) ids.push_back(frame.begin);
  ids.insert(ids.end(), a_ids.begin(), a_ids.begin() + static_cast<ptrdiff_t>(a_length));
  if (frame.separator >= 0) ids.push_back(frame.separator);
  ids.insert(ids.end(), b_ids.begin(), b_ids.begin() + static_cast<ptrdiff_t>(b_length));
  if (frame.separator >= 0) ids.push_back(frame.separator);
}

void Tokenizer::check_ids(std::span<const int32_t> ids) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size()) {
      throw_error(GF_ERROR_INVALID_ARGUMENT,
                  "id %d at position %zu is outside the vocabulary of %d", ids[i], i, vocab_size());
    }
  }
}

std::unique_ptr<Tokenizer> load_tokenizer(std::string_view name, const std::string& directory) {
  if (name == "byte") return std::make_unique<ByteTokenizer>();
  if (name == "gpt2") return std::make_unique<Gpt2Tokenizer>(folder_in(directory, "gpt2"));
  if (name == "bert") {
    return std::make_unique<BertTokenizer>(folder_in(directory, "bert-base-uncased"));
  }
  throw_error(GF_ERROR_INVALID_ARGUMENT, "tokenizer \"%s\": expected byte, gpt2 or bert",
              std::string(name).c_str());
}

}  // namespace gf
