#pragma once

// The product kernel for a short inner dimension (at most 256): all k of a tile of columns of b
// stays in shared memory while tiles of 64 rows of a stream past it. The warpgroups of a block take
// turns: while one multiplies, the others are in their epilogues. Two do where these are short;
// four hide the latencies of long ones, as far as their registers allow. A shorter inner dimension
// is made up to 256 with zeros, which the copy engine brings for what lies outside a matrix: the
// loops over k have an end that the compiler knows.

#include <algorithm>

#include "hopper_gemm.cuh"

namespace gf::cuda::hopper {

inline constexpr int kStreamInner = 256;

template <int kCols_, int kStages_, int kBlocks_, bool kTransposedB_ = false, int kGroups_ = 2>
struct Stream {
  static constexpr int kCols = kCols_;
  static constexpr int kStages = kStages_;  // of a, a tile of 64 rows each
  static constexpr int kBlocks = kBlocks_;
  static constexpr bool kTransposedB = kTransposedB_;
  static constexpr int kRows = 64, kSlabs = kStreamInner / kSlab;
  static constexpr int kGroups = kGroups_;  // that take turns
  static constexpr int kProducts = kGroups * kGroup, kThreads = kProducts + kWarp;
  static constexpr uint32_t kBytesB = (kTransposedB ? (kCols + 63) / 64 * 64 : kCols) * 128;
  static constexpr uint32_t kStagesAt = kSlabs * kBytesB;
  static constexpr uint32_t kStageBytes = kSlabs * kBlockBytes;
  static constexpr uint32_t kBarriersAt = kStagesAt + kStages * kStageBytes;
  static constexpr int kBarriers = kStages * (kSlabs + 1) + kSlabs + 1 + kGroups;
  // Of a staged epilogue, a warp's 16 rows each.
  static constexpr uint32_t kStagedAt = (kBarriersAt + kBarriers * 8 + 127) / 128 * 128;
  static constexpr uint32_t kStagedBytes = 16 * ((kCols + 63) / 64 * 128);
  template <class Epilogue>
  static constexpr size_t kSharedBytes = 1024 + kStagedAt +
                                         (Epilogue::kStaged ? kProducts / kWarp * kStagedBytes : 0);
};

// The work of a block: tiles blockIdx.x, blockIdx.x + gridDim.x, ... of the columns, and for each
// of them the tiles of rows that begin at blockIdx.y and go on by gridDim.y, in a rotated order, so
// that not all blocks read the same rows at once. Tile number i of all these goes to warpgroup
// i % kGroups.
struct Walk {
  int row_tiles;  // of the whole result
  int col_tiles;

  __device__ int rows() const {
    return (row_tiles - static_cast<int>(blockIdx.y) + static_cast<int>(gridDim.y) - 1) /
           static_cast<int>(gridDim.y);
  }
  __device__ int passes() const {
    return (col_tiles - static_cast<int>(blockIdx.x) + static_cast<int>(gridDim.x) - 1) /
           static_cast<int>(gridDim.x);
  }
  // 16 neighbours of a row stay together: they share lines of the result.
  __device__ int row_tile(int i) const {
    const int count = rows(), at = i + static_cast<int>(blockIdx.x) / 16 % count;
    return static_cast<int>(blockIdx.y) +
           (at < count ? at : at - count) * static_cast<int>(gridDim.y);
  }
  __device__ int col_tile(int pass) const {
    return static_cast<int>(blockIdx.x) + pass * static_cast<int>(gridDim.x);
  }
};

template <class T>
class StreamPipeline {
 public:
  __device__ explicit StreamPipeline(void* shared)
      : base_((shared_address(shared) + 1023) & ~1023u) {}

  // Of the warp, for its epilogue.
  __device__ uint32_t staged() const {
    return base_ + T::kStagedAt + threadIdx.x / kWarp * T::kStagedBytes;
  }

  __device__ void init(const Walk& walk) const {
    for (int i = 0; i < T::kStages * T::kSlabs; ++i) barrier_init(full(0, i), 1);
    for (int i = 0; i < T::kStages; ++i) barrier_init(empty(i), kGroup / kWarp);
    for (int i = 0; i < T::kSlabs; ++i) barrier_init(full_b(i), 1);
    barrier_init(empty_b(), static_cast<uint32_t>(walk.rows()) * (kGroup / kWarp));
    for (int i = 0; i < T::kGroups; ++i) barrier_init(turn(i), kGroup / kWarp);
    barrier_init_fence();
  }

  // By one thread.
  __device__ void load(const CUtensorMap& a, const CUtensorMap& b, const Walk& walk) const {
    const int rows = walk.rows(), passes = walk.passes();
    int stage = 0, round = 0;
    for (int pass = 0; pass < passes; ++pass) {
      for (int i = 0; i < rows; ++i) {
        if (i == 0 && pass > 0) wait(empty_b(), (pass - 1) & 1);
        if (round > 0) wait(empty(stage), (round - 1) & 1);
        for (int slab = 0; slab < T::kSlabs; ++slab) {
          if (i == 0) {
            arrive_expecting(full_b(slab), T::kBytesB);
            load_slab<T::kTransposedB, T::kCols>(slab_b(slab), b, walk.col_tile(pass) * T::kCols,
                                                 slab * kSlab, full_b(slab));
          }
          arrive_expecting(full(stage, slab), kBlockBytes);
          load_tile(slab_a(stage, slab), a, slab * kSlab, walk.row_tile(i) * T::kRows,
                    full(stage, slab));
        }
        if (++stage == T::kStages) stage = 0, ++round;
      }
    }
  }

  // By warpgroup number % kGroups: d += the product of tile `number` of the block's walk.
  __device__ void multiply(int number, int pass, float (&d)[T::kCols / 2]) const {
    const bool signals = threadIdx.x % kWarp == 0;
    const auto tile = static_cast<unsigned>(number);
    const unsigned group = tile % T::kGroups, stage = tile % T::kStages;
    wait(turn(group), tile / T::kGroups & 1);
    pin(d);
#pragma unroll
    for (int slab = 0; slab < T::kSlabs; ++slab) {
      wait(full_b(slab), pass & 1);
      wait(full(stage, slab), tile / T::kStages & 1);
      products_begin();
      multiply_slab<T::kCols, false, T::kTransposedB>(slab_a(stage, slab), slab_b(slab), d);
    }
    products_commit();
    if (signals) arrive(turn((group + 1) % T::kGroups));
    products_wait<0>();
    pin(d);
    if (!signals) return;
    arrive(empty(stage));
    arrive(empty_b());
  }
  // The first turn is that of warpgroup 0: the last one gives it away.
  __device__ void give_first_turn() const {
    if (threadIdx.x % kWarp == 0) arrive(turn(0));
  }

 private:
  __device__ uint32_t slab_b(int i) const {
    return base_ + i * T::kBytesB;
  }
  __device__ uint32_t slab_a(int stage, int slab) const {
    return base_ + T::kStagesAt + stage * T::kStageBytes + slab * kBlockBytes;
  }
  __device__ uint32_t barrier(int i) const {
    return base_ + T::kBarriersAt + i * 8;
  }
  __device__ uint32_t full(int stage, int slab) const {
    return barrier(stage * T::kSlabs + slab);
  }
  __device__ uint32_t empty(int i) const {
    return barrier(T::kStages * T::kSlabs + i);
  }
  __device__ uint32_t full_b(int i) const {
    return barrier(T::kStages * (T::kSlabs + 1) + i);
  }
  __device__ uint32_t empty_b() const {
    return full_b(T::kSlabs);
  }
  __device__ uint32_t turn(int i) const {
    return full_b(T::kSlabs + 1 + i);
  }

  uint32_t base_;
};

// Epilogues are those of product_kernel.
template <class T, class Epilogue>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    stream_kernel(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b,
                  const Walk walk, const Epilogue epilogue) {
  if constexpr (kHopper) {
    extern __shared__ uint8_t shared[];
    const StreamPipeline<T> pipeline(shared);
    if (threadIdx.x == 0) pipeline.init(walk);
    if (threadIdx.x == T::kProducts) prefetch_map(a), prefetch_map(b);
    __syncthreads();
    wait_for_inputs();
    const int group = warpgroup();
    if (group == T::kGroups) {
      if (threadIdx.x == T::kProducts) pipeline.load(a, b, walk);
      return;
    }
    if (group == T::kGroups - 1) pipeline.give_first_turn();
    const int rows = walk.rows(), count = rows * walk.passes();
    int pass = group / rows, place = group % rows;  // of tile `number`
    for (int number = group; number < count; number += T::kGroups) {
      const int own = walk.row_tile(place) * T::kRows + row_of_thread();
      const int col = walk.col_tile(pass) * T::kCols;
      float d[T::kCols / 2];
      typename Epilogue::template Early<T::kCols> early;
      epilogue.before(own, col, d, early);
      pipeline.multiply(number, pass, d);
      epilogue.after(own, col, d, early, pipeline.staged());
      for (place += T::kGroups; place >= rows; place -= rows) ++pass;
    }
  }
}

// For the result [rows, cols]: at most col_blocks by row_blocks blocks.
template <class T, class Epilogue>
void launch_stream(Gpu& gpu, const char* what, const Act& a, const Act& b, int64_t rows,
                   int64_t cols, int64_t col_blocks, int64_t row_blocks, const Epilogue& epilogue) {
  constexpr size_t kSharedBytes = T::template kSharedBytes<Epilogue>;
  static_assert(T::kBlocks * (kSharedBytes + 1024) <= 228 * 1024);
  const auto kernel = stream_kernel<T, Epilogue>;
  allow_shared(kernel, kSharedBytes, what);
  const Walk walk = {static_cast<int>(ceil_div(rows, T::kRows)),
                     static_cast<int>(ceil_div(cols, T::kCols))};
  const dim3 blocks(static_cast<unsigned>(std::min<int64_t>(walk.col_tiles, col_blocks)),
                    static_cast<unsigned>(std::min<int64_t>(walk.row_tiles, row_blocks)));
  launch(gpu, what, kernel, blocks, T::kThreads, kSharedBytes, tensor_map(a, T::kRows),
         tensor_map(b, T::kTransposedB ? kSlab : T::kCols), walk, epilogue);
}

}  // namespace gf::cuda::hopper
