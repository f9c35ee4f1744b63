#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace gf {

// Byte strings to ids, as a double-array trie: the child of node n by byte b is the slot
// base[n] ^ b, which is that child if its parent reads n. One load per byte, and the longest
// match needs no further search.
class Trie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNoNode = UINT32_MAX;

  struct Entry {
    std::string_view bytes;  // not empty
    int32_t id;
  };
  struct Match {
    size_t length;  // 0: no match
    int32_t id;     // -1 then
  };

  // No two entries may have the same bytes.
  explicit Trie(std::vector<Entry> entries);

  uint32_t child(uint32_t node, char byte) const {
    const uint32_t slot = slots_[node].base ^ static_cast<uint8_t>(byte);
    return slots_[slot].parent == node ? slot : kNoNode;
  }

  // The node that bytes lead to, or kNoNode.
  uint32_t walk(std::string_view bytes) const {
    uint32_t node = kRoot;
    for (size_t i = 0; i < bytes.size() && node != kNoNode; ++i) node = child(node, bytes[i]);
    return node;
  }

  // The id of exactly these bytes, or -1.
  int32_t find(std::string_view bytes) const {
    const uint32_t node = walk(bytes);
    return node == kNoNode ? -1 : slots_[node].id;
  }

  // The longest way on from node `from`, which may be kNoNode, that text begins with and that ends
  // at an entry.
  Match longest_match(std::string_view text, uint32_t from) const {
    Match match{0, -1};
    uint32_t node = from;
    for (size_t i = 0; i < text.size() && node != kNoNode; ++i) {
      node = child(node, text[i]);
      if (node != kNoNode && slots_[node].id >= 0) match = {i + 1, slots_[node].id};
    }
    return match;
  }

 private:
  struct Slot {
    uint32_t base = 0;
    uint32_t parent = kNoNode;  // of a slot in no use
    int32_t id = -1;
  };

  uint32_t find_base(const std::vector<uint8_t>& labels);

  std::vector<Slot> slots_;
  uint32_t first_free_ = 1;  // no slot before it is free
};

}  // namespace gf
