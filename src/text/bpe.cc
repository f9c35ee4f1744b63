#include "text/bpe.h"

namespace gf {
namespace {

// A token that a piece of the same bytes does not merge to can only arise beside other tokens, so
// it must not be found as a whole piece. <|endoftext|> is one.
std::vector<Trie::Entry> whole_pieces(const BpeFiles& files, const BpeMerger& merger) {
  std::vector<Trie::Entry> entries;
  std::vector<int32_t> ids;
  for (size_t id = 0; id < files.tokens.size(); ++id) {
    ids.clear();
    merger.merge(files.tokens[id], ids);
    if (ids.size() == 1) entries.push_back({files.tokens[id], ids[0]});
  }
  return entries;
}

}  // namespace

Gpt2Tokenizer::Gpt2Tokenizer(const std::string& directory)
    : files_(read_bpe_files(directory + "/vocab.json", directory + "/merges.txt")),
      merger_(files_, directory + "/merges.txt"),
      whole_(whole_pieces(files_, merger_)) {}

void Gpt2Tokenizer::encode(std::string_view text, bool, std::vector<int32_t>& ids) const {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = splitter_.piece_end(text, begin);
    const std::string_view piece = text.substr(begin, end - begin);
    if (const int32_t id = whole_.find(piece); id >= 0) {
      ids.push_back(id);
    } else {
      merger_.merge(piece, ids);
    }
    begin = end;
  }
}

std::string Gpt2Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  check_ids(ids);
  std::string text;
  for (const int32_t id : ids) {
    if (skip_special && id == files_.end_of_text) continue;
    text += files_.tokens[static_cast<size_t>(id)];
  }
  return text;
}

}  // namespace gf
