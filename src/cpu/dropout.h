#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "math.h"
#include "ops.h"

namespace gf {

// Calls body(i, factor) in order for the elements first + i, i < count, of a dropout site; factor
// is 0 where the element is dropped and dropout_scale() where it is kept. Element (row, column) of
// a [rows, cols] tensor is number row * cols + column. For use inside a GF_KERNEL: bits are drawn
// for a tile of blocks at once, so that both loops vectorise.
template <class Body>
GF_INLINE void dropout_span(const Dropout& dropout, int64_t first, int64_t count,
                            const Body& body) {
  if (dropout.threshold == 0) {
    for (int64_t i = 0; i < count; ++i) body(i, 1.0f);
    return;
  }
  static_assert(std::endian::native == std::endian::little, "words are read low half first");
  constexpr int64_t kBlocks = 32, kWords = 8 * kBlocks;
  const uint64_t seed = dropout.state->seed, step = static_cast<uint64_t>(dropout.state->step);
  const uint32_t site = dropout.site, threshold = dropout.threshold;
  const float scale = dropout_scale(threshold);
  const int64_t end = first + count;
  for (int64_t tile = first / 8 * 8; tile < end; tile += kWords) {
    Bits4 bits[kBlocks];
    for (int64_t j = 0; j < kBlocks; ++j) {
      bits[j] = random_bits(seed, step, site, static_cast<uint64_t>(tile / 8 + j));
    }
    uint16_t words[kWords];
    std::memcpy(words, bits, sizeof words);
    const int64_t begin = std::max(first, tile), stop = std::min(end, tile + kWords);
    const uint16_t* word = words + (begin - tile);
    const int64_t offset = begin - first;
    for (int64_t i = 0; i < stop - begin; ++i) {
      body(offset + i, word[i] < threshold ? 0.0f : scale);
    }
  }
}

}  // namespace gf
