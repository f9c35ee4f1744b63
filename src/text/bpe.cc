#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/error.h"

namespace gf {

namespace {

constexpr int kIdBits = 20;
static_assert(BpeFiles::kMaxTokens <= size_t{1} << kIdBits);
constexpr uint64_t kFree = UINT64_MAX;

uint64_t key_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << kIdBits | static_cast<uint64_t>(right);
}

// The slot that holds the pair, or the free one where it belongs.
size_t find_slot(const std::vector<uint64_t>& slots, uint64_t key) {
  for (size_t slot = key * 0x9E3779B97F4A7C15u >> 32;; ++slot) {
    slot &= slots.size() - 1;
    if (slots[slot] == kFree || slots[slot] >> kIdBits == key) return slot;
  }
}

}  // namespace

BpeMerger::BpeMerger(const BpeFiles& files, const std::string& merges_path)
    : byte_ids_(files.byte_ids, files.byte_ids + 256),
      pairs_(std::bit_ceil(2 * files.merges.size() + 1), kFree) {
  for (const BpeFiles::Merge& merge : files.merges) {
    const uint64_t key = key_of(merge.left, merge.right);
    const size_t slot = find_slot(pairs_, key);
    if (pairs_[slot] != kFree) {
      throw_error(GF_ERROR_FORMAT, "%s: merges %u and %zu are the same", merges_path.c_str(),
                  rank_of(merge.left, merge.right), merged_.size());
    }
    pairs_[slot] = key << kIdBits | merged_.size();
    merged_.push_back(merge.merged);
  }
}

void BpeMerger::merge(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (piece.size() <= kShortPiece) {
    merge_short(piece, ids);
  } else {
    merge_long(piece, scratch, ids);
  }
}

// Looks for the lowest rank anew for each merge: no branch but those of the loops, which is faster
// than a heap as long as the piece is short, and nearly all are.
void BpeMerger::merge_short(std::string_view piece, std::vector<int32_t>& ids) const {
  int32_t symbols[kShortPiece];
  uint32_t ranks[kShortPiece];  // of the merge with the next symbol
  size_t count = piece.size();
  const auto rank_at = [&](size_t i) {
    return i + 1 < count ? rank_of(symbols[i], symbols[i + 1]) : kNoRank;
  };
  for (size_t i = 0; i < count; ++i) symbols[i] = byte_ids_[static_cast<uint8_t>(piece[i])];
  for (size_t i = 0; i < count; ++i) ranks[i] = rank_at(i);
  for (;;) {
    uint64_t lowest = UINT64_MAX;  // rank, then position: the leftmost of equal ranks
    for (size_t i = 0; i < count; ++i) lowest = std::min(lowest, uint64_t{ranks[i]} << 32 | i);
    const size_t at = lowest & UINT32_MAX;
    if (ranks[at] == kNoRank) break;
    symbols[at] = merged_[ranks[at]];
    --count;
    for (size_t i = at + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
    }
    ranks[at] = rank_at(at);
    if (at > 0) ranks[at - 1] = rank_at(at - 1);
  }
  ids.insert(ids.end(), symbols, symbols + count);
}

void BpeMerger::merge_long(std::string_view piece, Scratch& scratch,
                           std::vector<int32_t>& ids) const {
  auto& [symbols, queue] = scratch;
  symbols.clear();
  queue.clear();
  for (size_t i = 0; i < piece.size(); ++i) {
    symbols.push_back({byte_ids_[static_cast<uint8_t>(piece[i])], kNoRank, i - 1, i + 1});
  }
  for (size_t i = 0; i + 1 < symbols.size(); ++i) link(i, scratch);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const uint32_t rank = static_cast<uint32_t>(queue.back() >> 40);
    const size_t position = queue.back() & ((uint64_t{1} << 40) - 1);
    queue.pop_back();
    Scratch::Symbol& left = symbols[position];
    if (left.rank != rank) continue;  // one of the two has been merged with another since
    Scratch::Symbol& right = symbols[left.next];
    left.id = merged_[rank];
    left.next = right.next;
    right.rank = kNoRank;
    if (left.next < symbols.size()) symbols[left.next].previous = position;
    link(position, scratch);
    if (position > 0) link(left.previous, scratch);
  }
  for (size_t i = 0; i < symbols.size(); i = symbols[i].next) ids.push_back(symbols[i].id);
}

// Notes the rank of the symbol at `position` with its next one, and queues it if it has one.
void BpeMerger::link(size_t position, Scratch& scratch) const {
  Scratch::Symbol& left = scratch.symbols[position];
  left.rank = left.next < scratch.symbols.size() ? rank_of(left.id, scratch.symbols[left.next].id)
                                                 : kNoRank;
  if (left.rank == kNoRank) return;
  scratch.queue.push_back(uint64_t{left.rank} << 40 | position);
  std::push_heap(scratch.queue.begin(), scratch.queue.end(), std::greater<>());
}

uint32_t BpeMerger::rank_of(int32_t left, int32_t right) const {
  const uint64_t slot = pairs_[find_slot(pairs_, key_of(left, right))];
  return slot == kFree ? kNoRank : static_cast<uint32_t>(slot & ((1u << kIdBits) - 1));
}

namespace {

// A token that a piece of the same bytes does not merge to can only arise beside other tokens, so
// it must not be found as a whole piece. <|endoftext|> is one.
std::vector<Trie::Entry> whole_pieces(const BpeFiles& files, const BpeMerger& merger) {
  std::vector<Trie::Entry> entries;
  BpeMerger::Scratch scratch;
  std::vector<int32_t> ids;
  for (size_t id = 0; id < files.tokens.size(); ++id) {
    ids.clear();
    merger.merge(files.tokens[id], scratch, ids);
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
  BpeMerger::Scratch scratch;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = splitter_.piece_end(text, begin);
    const std::string_view piece = text.substr(begin, end - begin);
    if (const int32_t id = whole_.find(piece); id >= 0) {
      ids.push_back(id);
    } else {
      merger_.merge(piece, scratch, ids);
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
