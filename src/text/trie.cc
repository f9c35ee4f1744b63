#include "text/trie.h"

#include <algorithm>

namespace gf {
namespace {

// Free slots tried for one node before it gets a fresh block: bounds the build at a few percent of
// wasted slots.
constexpr int kTries = 16;
constexpr uint32_t kBlock = 256;  // base ^ byte stays inside the aligned block of base
constexpr uint32_t kNoParent = Trie::kNoNode - 1;  // of the root, which is nobody's child

}  // namespace

Trie::Trie(std::vector<Entry> entries) : slots_(kBlock) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.bytes < b.bytes; });
  // Breadth first: nodes near the root, which have the most children, are placed while there is
  // room, and end up close together.
  struct Range {
    size_t begin;
    size_t end;  // the entries below the node
    size_t depth;
    uint32_t node;
  };
  std::vector<uint8_t> labels;  // the bytes that lead on from a node
  std::vector<Range> ranges = {{0, entries.size(), 0, kRoot}};
  slots_[kRoot].parent = kNoParent;
  for (size_t next = 0; next < ranges.size(); ++next) {
    Range range = ranges[next];
    if (range.begin < range.end && entries[range.begin].bytes.size() == range.depth) {
      slots_[range.node].id = entries[range.begin++].id;
    }
    const auto label_of = [&](size_t i) {
      return static_cast<uint8_t>(entries[i].bytes[range.depth]);
    };
    labels.clear();
    const size_t first_child = ranges.size();
    for (size_t i = range.begin; i < range.end; ++i) {
      if (labels.empty() || labels.back() != label_of(i)) {
        labels.push_back(label_of(i));
        ranges.push_back({i, i, range.depth + 1, kNoNode});
      }
      ranges.back().end = i + 1;
    }
    if (labels.empty()) continue;
    const uint32_t base = find_base(labels);
    slots_[range.node].base = base;
    for (size_t i = 0; i < labels.size(); ++i) {
      slots_[base ^ labels[i]].parent = range.node;
      ranges[first_child + i].node = base ^ labels[i];
    }
  }
}

uint32_t Trie::find_base(const std::vector<uint8_t>& labels) {
  const auto is_free = [&](uint32_t slot) { return slots_[slot].parent == kNoNode; };
  while (first_free_ < slots_.size() && !is_free(first_free_)) ++first_free_;
  int tries = 0;
  for (uint32_t slot = first_free_; slot < slots_.size() && tries < kTries; ++slot) {
    if (!is_free(slot)) continue;
    ++tries;
    const uint32_t base = slot ^ labels[0];
    const auto fits = [&](uint8_t label) { return is_free(base ^ label); };
    if (std::all_of(labels.begin(), labels.end(), fits)) return base;
  }
  const auto base = static_cast<uint32_t>(slots_.size());
  slots_.resize(slots_.size() + kBlock);
  return base;
}

}  // namespace gf
