#pragma once

// Attention on Hopper, for heads of size 64: what its two passes share. A block is one warpgroup
// with 64 rows of its own, which goes through the tiles of 64 rows that they meet: queries through
// the keys that they see, and, for dk and dv, keys through the queries that see them. No block
// waits for another, and those on one multiprocessor hide each other's waits.

#include "flash.cuh"
#include "hopper.h"
#include "hopper_gemm.cuh"

namespace gf::cuda::flash::warpgroup {

inline constexpr int kSize = 64, kThreads = hopper::kGroup;
inline constexpr uint32_t kTile = hopper::kBlockBytes;

// Shared memory: tiles of the block's own rows; stages of the tiles that it goes through; stats of
// a tile's queries; barriers.
template <int kOwn, int kOther, int kStages>
class Memory {
 public:
  static constexpr int kRing = kStages;
  static constexpr uint32_t kStagesAt = kOwn * kTile, kStageBytes = kOther * kTile;
  static constexpr uint32_t kStatsAt = kStagesAt + kStages * kStageBytes;
  static constexpr uint32_t kBarriersAt = kStatsAt + 2 * kBlock * sizeof(float2);
  static constexpr size_t kBytes = 1024 + kBarriersAt + (kStages + 1) * sizeof(uint64_t);

  __device__ explicit Memory(unsigned char* shared)
      : shared_(shared + (1024 - hopper::shared_address(shared) % 1024) % 1024),
        base_(hopper::shared_address(shared_)) {}

  __device__ uint32_t own(int tile) const { return base_ + tile * kTile; }
  __device__ uint32_t stage(int step, int tile) const {
    return base_ + kStagesAt + step % kStages * kStageBytes + tile * kTile;
  }
  __device__ float2* stats(int i) const {
    return reinterpret_cast<float2*>(shared_ + kStatsAt) + i * kBlock;
  }
  __device__ uint32_t full(int step) const { return base_ + kBarriersAt + step % kStages * 8; }
  __device__ uint32_t full_own() const { return base_ + kBarriersAt + kStages * 8; }

  // By one thread, before a barrier of the block.
  __device__ void init() const {
    for (int i = 0; i < kStages; ++i) hopper::barrier_init(full(i), 1);
    hopper::barrier_init(full_own(), 1);
    hopper::barrier_init_fence();
  }

 private:
  unsigned char* shared_;
  uint32_t base_;
};

// How a kernel begins: the block's memory, ready, and what it reads written.
template <class BlockMemory>
__device__ __forceinline__ BlockMemory begin_block(unsigned char* shared) {
  const BlockMemory memory(shared);
  if (threadIdx.x == 0) memory.init();
  __syncthreads();
  wait_for_inputs();
  return memory;
}

struct Maps {
  CUtensorMap qkv, dout, out;
};

// Tiles of 64 rows of one head, brought by one thread.
struct Loader {
  const Maps& maps;
  int row, column;  // where the head begins in out
  int width;        // D

  __device__ Loader(const Operands& o, const Head& head, const Maps& all)
      : maps(all),
        row(static_cast<int>(head.row)),
        column(static_cast<int>(head.column)),
        width(static_cast<int>(o.width)) {}

  __device__ void qkv(uint32_t to, int third, int tile, uint32_t barrier) const {
    hopper::load_tile(to, maps.qkv, third * width + column, row + tile * kBlock, barrier);
  }
  __device__ void dout(uint32_t to, int tile, uint32_t barrier) const {
    hopper::load_tile(to, maps.dout, column, row + tile * kBlock, barrier);
  }
  __device__ void out(uint32_t to, int tile, uint32_t barrier) const {
    hopper::load_tile(to, maps.out, column, row + tile * kBlock, barrier);
  }
};

// ---- Products --------------------------------------------------------------------------------

// [64, 64] of a warpgroup: element [4 j + 2 h + c] is that of row h ? 8 below the thread's : the
// thread's, and column 8 j + 2 (lane % 4) + c.
using Accumulator = float[32];

__device__ __forceinline__ Accumulator& flat(float (&d)[kSize / 8][4]) {
  return reinterpret_cast<Accumulator&>(d);
}

// s = a b^T of two tiles.
__device__ __forceinline__ void begin_scores(uint32_t a, uint32_t b, Accumulator& s) {
  const uint64_t x = hopper::descriptor<false>(a), y = hopper::descriptor<false>(b);
  constexpr uint64_t kStep = hopper::kStep<false>;
  hopper::set_product(s, x, y);
#pragma unroll
  for (int i = 1; i < kSize / 16; ++i) {
    hopper::Product<kBlock, false, false>::add(s, x + i * kStep, y + i * kStep);
  }
}

// d += weights b, the weights packed in registers, as many as Weights<8> holds; b a tile.
__device__ __forceinline__ void begin_weighted(const uint32_t* w, uint32_t b, Accumulator& d) {
  const uint64_t rows = hopper::descriptor<true>(b);
#pragma unroll
  for (int k = 0; k < kBlock / 16; ++k) {
    hopper::add_from_registers(d, w + 4 * k, rows + k * hopper::kStep<true>);
  }
}

// ---- Launch ----------------------------------------------------------------------------------

using Kernel = void(Operands, Maps);

// `blocks` a head. Returns whether it was done: it is not where the operands do not suit.
bool launch(Gpu& gpu, const char* what, Kernel* kernel, size_t bytes, int64_t blocks,
            const Operands& o);

}  // namespace gf::cuda::flash::warpgroup
