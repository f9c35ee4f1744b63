#include "text/bpe_merger.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>

#include "base/error.h"

namespace gf {
namespace {

constexpr uint32_t kNoRank = UINT32_MAX;
constexpr size_t kShortPiece = 32;

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

void BpeMerger::merge(std::string_view piece, std::vector<int32_t>& ids) const {
  if (piece.size() <= kShortPiece) {
    merge_short(piece, ids);
  } else {
    merge_long(piece, ids);
  }
}

// Looks for the lowest rank anew for each merge: quadratic, but with no branches besides its loops
// twice as fast as a heap on a piece of a word's length.
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

// n log n, whatever the length: symbols form a list, and a heap holds each pair that has a rank.
void BpeMerger::merge_long(std::string_view piece, std::vector<int32_t>& ids) const {
  struct Symbol {
    int32_t id;
    uint32_t rank;  // of the merge with the next symbol; kNoRank also once it is merged away
    size_t previous;
    size_t next;
  };
  using Pair = std::pair<uint32_t, size_t>;  // rank, position
  std::vector<Symbol> symbols;
  std::priority_queue<Pair, std::vector<Pair>, std::greater<>> queue;
  const auto link = [&](size_t position) {
    Symbol& left = symbols[position];
    left.rank = left.next < symbols.size() ? rank_of(left.id, symbols[left.next].id) : kNoRank;
    if (left.rank != kNoRank) queue.emplace(left.rank, position);
  };
  for (size_t i = 0; i < piece.size(); ++i) {
    symbols.push_back({byte_ids_[static_cast<uint8_t>(piece[i])], kNoRank, i - 1, i + 1});
  }
  for (size_t i = 0; i < symbols.size(); ++i) link(i);
  while (!queue.empty()) {
    const auto [rank, position] = queue.top();
    queue.pop();
    Symbol& left = symbols[position];
    if (left.rank != rank) continue;  // one of the two has been merged with another since
    Symbol& right = symbols[left.next];
    left.id = merged_[rank];
    left.next = right.next;
    right.rank = kNoRank;
    if (left.next < symbols.size()) symbols[left.next].previous = position;
    link(position);
    if (position > 0) link(left.previous);
  }
  for (size_t i = 0; i < symbols.size(); i = symbols[i].next) ids.push_back(symbols[i].id);
}

uint32_t BpeMerger::rank_of(int32_t left, int32_t right) const {
  const uint64_t slot = pairs_[find_slot(pairs_, key_of(left, right))];
  return slot == kFree ? kNoRank : static_cast<uint32_t>(slot & ((1u << kIdBits) - 1));
}

}  // namespace gf
