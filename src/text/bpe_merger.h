#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/bpe_files.h"

namespace gf {

// Merges neighbouring tokens of a piece, the pair of the lowest rank first and of equal ones the
// leftmost, until no pair is left that has a rank.
class BpeMerger {
 public:
  // Throws GF_ERROR_FORMAT if two merges are the same; merges_path is named then.
  BpeMerger(const BpeFiles& files, const std::string& merges_path);

  // Appends the ids of a piece that is not empty.
  void merge(std::string_view piece, std::vector<int32_t>& ids) const;

 private:
  void merge_short(std::string_view piece, std::vector<int32_t>& ids) const;
  void merge_long(std::string_view piece, std::vector<int32_t>& ids) const;
  uint32_t rank_of(int32_t left, int32_t right) const;

  std::vector<int32_t> byte_ids_;
  std::vector<int32_t> merged_;  // id by rank
  // A hash table with linear probing. A slot packs left, right and rank: half the cache lines.
  std::vector<uint64_t> pairs_;
};

}  // namespace gf
