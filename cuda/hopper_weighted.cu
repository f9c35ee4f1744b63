#include <algorithm>

#include "hopper.h"
#include "hopper_weighted.cuh"

// out = weights(a b^T) b, never holding the products: what attention does with one matrix for keys
// and values. A block takes 128 rows of a, 64 a warpgroup, and goes through the rows of b 80 at a
// time. Both products read them from shared memory where they were brought once; the weights go
// from the accumulators of the first to the registers of the second. While one warpgroup makes
// weights, the other multiplies.
//
// At R = 4096, V = 30522, D = 256 each of the two uses is 128 GFLOP, 180 us at 709 TFLOP/s, and 125
// million exponentials, 34 us beside the products. Of b every block reads its share out of the
// second cache, 0.5 GB in all. Measured on one H100: weighted_tokens 160 us.

namespace gf::cuda::hopper {
// Named, since compilers for other architectures would find functions of an unnamed one unused.
namespace weighted {

// ---- Weights ---------------------------------------------------------------------------------
// Of the thread's scores s[4 j + 2 h + c]: row h ? 8 below `row` : `row` of a, row 8 j + 2 (lane %
// 4) + c of the tile of b.

// e^(score - shift of the row of a), and their sums by row.
struct ByRow {
  const float* shift;
  float* sums;      // [splits, rows of a]
  int rows, count;  // of a, of b

  struct State {
    float shift[2];
    float sum[2] = {};
  };
  __device__ State begin(int row) const {
    State state;
    for (int h = 0; h < 2; ++h) {
      state.shift[h] = row + 8 * h < rows ? -kLog2e * shift[row + 8 * h] : 0.0f;
    }
    return state;
  }
  __device__ void prefetch(int, State&) const {}
  __device__ void weigh(int first, int, float (&s)[kScores], State& state) const {
    const int own = first + static_cast<int>(threadIdx.x) % 4 * 2;
    const bool is_whole = first + kTile <= count;
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      const int h = i / 2 % 2;
      s[i] = exp2_approx(fmaf(s[i], kLog2e, state.shift[h]));
      if (!is_whole && own + i / 4 * 8 + i % 2 >= count) s[i] = 0;
      state.sum[h] += s[i];
    }
  }
  __device__ void end(int row, State& state) const {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      state.sum[h] += __shfl_xor_sync(0xFFFFFFFFu, state.sum[h], 1);
      state.sum[h] += __shfl_xor_sync(0xFFFFFFFFu, state.sum[h], 2);
      if (threadIdx.x % 4 != 0 || row + 8 * h >= rows) continue;
      sums[static_cast<int64_t>(blockIdx.y) * rows + row + 8 * h] = state.sum[h];
    }
  }
};

// 2^(score log2(e) + bias of the row of b), less `scale` where the row of a is that one's target.
struct ByColumn {
  const float* bias;  // as many as whole tiles of b have rows; -infinity beyond b
  const int32_t* target;
  float scale;

  static constexpr int kParts = (kTile + kWarp - 1) / kWarp;
  // What a lane knows of a tile of b: row `lane` of each 32. Read while products run, and told to
  // the other lanes when they make weights: a read of memory at that point was waited for.
  struct State {
    float bias[kParts];
    int target[kParts];
  };
  __device__ State begin(int) const { return {}; }
  __device__ void prefetch(int first, State& state) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const int i = part * kWarp + lane;
      const bool is_row = i < kTile;
      state.bias[part] = is_row ? bias[first + i] : 0.0f;
      state.target[part] = is_row ? target[first + i] : -1;
    }
  }
  __device__ void weigh(int, int row, float (&s)[kScores], State& state) const {
    const int quad = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int j = 0; j < kTile / 8; ++j) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float b = __shfl_sync(0xFFFFFFFFu, state.bias[j / 4], j % 4 * 8 + quad + c);
        s[4 * j + c] = exp2_approx(fmaf(s[4 * j + c], kLog2e, b));
        s[4 * j + 2 + c] = exp2_approx(fmaf(s[4 * j + 2 + c], kLog2e, b));
      }
    }
    const int first_row = row - static_cast<int>(threadIdx.x) % kWarp / 4;  // of the warp's 16
    int place[kParts];
    uint32_t hits[kParts];
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      place[part] = state.target[part] - first_row;
      hits[part] = __ballot_sync(0xFFFFFFFFu, place[part] >= 0 && place[part] < 16);
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (hits[part] != 0) subtract(part, hits[part], place[part], s);
    }
  }
  __device__ void end(int, State&) const {}

 private:
  // From the scores of a part's columns `hits`, each in the row of the warp's that the column's
  // lane has in `place`. Frequent ids may have many, so scores are touched once for all of them.
  __device__ void subtract(int part, uint32_t hits, int place, float (&s)[kScores]) const {
    constexpr int kOfPart = kWarp / 2;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    uint32_t own = 0;  // bit i: score i of the part
    while (hits != 0) {
      const int column = __ffs(static_cast<int>(hits)) - 1;
      hits &= hits - 1;
      const int row = __shfl_sync(0xFFFFFFFFu, place, column);
      if (lane == row % 8 * 4 + column % 8 / 2) {
        own |= 1u << (column / 8 * 4 + row / 8 * 2 + column % 2);
      }
    }
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      if (i / kOfPart == part) s[i] -= own >> i % kOfPart & 1 ? scale : 0.0f;
    }
  }
};

// ---- The kernel ------------------------------------------------------------------------------

// out[split, row of a] of [splits, rows, ld].
struct Sums {
  float* data;
  int64_t ld;
  int rows;
};

class Memory {
 public:
  __device__ explicit Memory(void* shared) : base_((shared_address(shared) + 1023) & ~1023u) {}
  __device__ uint32_t a(int slab) const { return base_ + slab * kSlabA; }
  __device__ uint32_t b(int stage, int slab) const {
    return base_ + kStagesAt + stage * kStageBytes + slab * kSlabB;
  }
  __device__ uint32_t full(int stage) const { return base_ + kBarriersAt + stage * 8; }
  __device__ uint32_t empty(int stage) const { return full(kStages + stage); }
  __device__ uint32_t full_a() const { return full(2 * kStages); }

  __device__ void init() const {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(full(i), 1);
      barrier_init(empty(i), kThreads / kWarp);
    }
    barrier_init(full_a(), 1);
    barrier_init_fence();
  }

 private:
  uint32_t base_;
};

// Both by one thread.
__device__ __forceinline__ void load_a(const Memory& memory, const CUtensorMap& a) {
  arrive_expecting(memory.full_a(), kSlabs * kSlabA);
#pragma unroll
  for (int slab = 0; slab < kSlabs; ++slab) {
    load_tile(memory.a(slab), a, slab * kSlab, blockIdx.x * kRows, memory.full_a());
  }
}
// Tile number i of the block's, which is tile `tile` of b.
__device__ __forceinline__ void load_b(const Memory& memory, const CUtensorMap& b, int i,
                                       int tile) {
  const int stage = i % kStages;
  if (i >= kStages) wait(memory.empty(stage), (i / kStages - 1) & 1);
  arrive_expecting(memory.full(stage), kStageBytes);
#pragma unroll
  for (int slab = 0; slab < kSlabs; ++slab) {
    load_tile(memory.b(stage, slab), b, slab * kSlab, tile * kTile, memory.full(stage));
  }
}

__device__ __forceinline__ void score(const Memory& memory, int stage, float (&s)[kScores]) {
#pragma unroll
  for (int slab = 0; slab < kSlabs; ++slab) {
    const uint64_t x = descriptor<false>(memory.a(slab) + warpgroup() * kBlockBytes);
    const uint64_t y = descriptor<false>(memory.b(stage, slab));
    if (slab == 0) {
      multiply_scores<false>(s, x, y);
    } else {
      multiply_scores<true>(s, x, y);
    }
#pragma unroll
    for (int i = 1; i < kSlab / 16; ++i) {
      multiply_scores<true>(s, x + i * kStep<false>, y + i * kStep<false>);
    }
  }
}

// The warpgroups take turns at the tensor cores: left alone they fall into step, and then the cores
// wait while both make weights. Barrier 1 + g is warpgroup g's; the other one arrives at it.
class Turns {
 public:
  // Warpgroup 0 has the first of `count` turns of each.
  __device__ explicit Turns(int count) : left_(count) {
    if (warpgroup() == 1) arrive(1);
  }
  __device__ __forceinline__ void wait() const {
    asm volatile("bar.sync %0, %1;" ::"r"(1 + warpgroup()), "n"(kThreads) : "memory");
  }
  __device__ __forceinline__ void give() {
    --left_;
    if (warpgroup() == 0 || left_ > 0) arrive(2 - warpgroup());
  }

 private:
  __device__ __forceinline__ static void arrive(int barrier) {
    asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "n"(kThreads) : "memory");
  }
  int left_;
};

__device__ __forceinline__ void weigh_rows(const Memory& memory, int stage,
                                           const uint32_t (&w)[kScores / 2], float (&sums)[kSums]) {
  const uint64_t y = rows_descriptor(memory.b(stage, 0));
#pragma unroll
  for (int k = 0; k < kTile / 16; ++k) multiply_weights(sums, w + 4 * k, y + k * kStep<true>);
}

template <class Weights>
__device__ __forceinline__ void add_up(const Memory& memory, const CUtensorMap& b,
                                       const Weights& weights, int row, int first, int last,
                                       typename Weights::State& state, float (&sums)[kSums]) {
  const bool signals = threadIdx.x % kWarp == 0;
  float s[kScores];
  uint32_t w[kScores / 2];
#pragma unroll
  for (int i = 0; i < kScores; ++i) s[i] = 0;
  const auto make_weights = [&](int tile) {
    weights.weigh(tile * kTile, row, s, state);
#pragma unroll
    for (int k = 0; k < kScores / 2; ++k) w[k] = pack2(s[2 * k], s[2 * k + 1]);
  };
  // What has been begun is done, and may be read or written again.
  const auto finish = [&] {
    products_wait<0>();
    pin(s);
    pin(sums);
#pragma unroll
    for (int k = 0; k < kScores / 2; ++k) asm volatile("" : "+r"(w[k])::"memory");
  };
  const int count = last - first;
  Turns turns(count + 1);
  wait(memory.full_a(), 0);
  wait(memory.full(0), 0);
  turns.wait();
  pin(s);
  products_begin();
  score(memory, 0, s);
  products_commit();
  turns.give();
  weights.prefetch(first * kTile, state);
  finish();
  for (int i = 0; i + 1 < count; ++i) {
    const int stage = i % kStages, next = (i + 1) % kStages;
    make_weights(first + i);
    wait(memory.full(next), (i + 1) / kStages & 1);
    turns.wait();
    pin(s);
    pin(sums);
    products_begin();
    weigh_rows(memory, stage, w, sums);
    score(memory, next, s);
    products_commit();
    turns.give();
    weights.prefetch((first + i + 1) * kTile, state);
    finish();
    if (signals) arrive(memory.empty(stage));
    // Its place is that of tile i - 1, which the other warpgroup too is done with by now.
    const int ahead = i + kAhead + 1;
    if (threadIdx.x == 0 && ahead < count) load_b(memory, b, ahead, first + ahead);
  }
  make_weights(last - 1);
  turns.wait();
  pin(sums);
  products_begin();
  weigh_rows(memory, (count - 1) % kStages, w, sums);
  products_commit();
  turns.give();
  finish();
}

template <class Weights>
__global__ void __launch_bounds__(kThreads, 1)
    weighted_kernel(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b,
                    int tiles, const Weights weights, const Sums out) {
  if constexpr (kHopper) {
    extern __shared__ uint8_t shared[];
    const Memory memory(shared);
    if (threadIdx.x == 0) memory.init();
    __syncthreads();
    wait_for_inputs();
    const int splits = static_cast<int>(gridDim.y), split = static_cast<int>(blockIdx.y);
    const int first = static_cast<int>(int64_t{tiles} * split / splits);
    const int last = static_cast<int>(int64_t{tiles} * (split + 1) / splits);
    if (threadIdx.x == 0) {
      load_a(memory, a);
      for (int i = 0; i <= kAhead && first + i < last; ++i) load_b(memory, b, i, first + i);
    }
    const int row = static_cast<int>(blockIdx.x) * kRows + warpgroup() * 64 + row_of_thread();
    float sums[kSums];
#pragma unroll
    for (int i = 0; i < kSums; ++i) sums[i] = 0;
    auto state = weights.begin(row);
    add_up(memory, b, weights, row, first, last, state, sums);
    weights.end(row, state);
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (row + 8 * h >= out.rows) continue;
      float* to =
          out.data + (static_cast<int64_t>(split) * out.rows + row + 8 * h) * out.ld + column;
#pragma unroll
      for (int j = 0; j < kSums / 4; ++j) {
        *reinterpret_cast<float2*>(to + 8 * j) =
            make_float2(sums[4 * j + 2 * h], sums[4 * j + 2 * h + 1]);
      }
    }
  }
}

template <class Weights>
void run(Gpu& gpu, const char* what, const Act& a, const Act& b, int64_t splits,
         const Weights& weights, const Sums& out) {
  const auto kernel = weighted_kernel<Weights>;
  allow_shared(kernel, kSharedBytes, what);
  launch(gpu, what, kernel,
         dim3(static_cast<unsigned>(ceil_div(a.rows, kRows)), static_cast<unsigned>(splits)),
         kThreads, kSharedBytes, tensor_map(a, kRows), tensor_map(b, kTile),
         static_cast<int>(ceil_div(b.rows, kTile)), weights, out);
}

}  // namespace weighted

using namespace weighted;

int64_t weighted_tokens_splits(const Gpu& gpu, int64_t rows, int64_t vocabulary) {
  const int64_t blocks = ceil_div(rows, kRows), tiles = ceil_div(vocabulary, kTile);
  return std::clamp<int64_t>(gpu.multiprocessors() / blocks, 1, tiles);
}

int64_t weighted_hidden_rows(int64_t rows) {
  return ceil_div(rows, kTile) * kTile;
}

void weighted_tokens(Gpu& gpu, const Act& h, const Act& tokens, const float* shift, int64_t splits,
                     float* out, float* sums) {
  run(gpu, "weighted_tokens", h, tokens, splits,
      ByRow{shift, sums, static_cast<int>(h.rows), static_cast<int>(tokens.rows)},
      {out, kWeightedWidth, static_cast<int>(h.rows)});
}

void weighted_hidden(Gpu& gpu, const Act& tokens, const Act& h, const float* bias,
                     const int32_t* target, float scale, const Mat& dtokens) {
  run(gpu, "weighted_hidden", tokens, h, 1, ByColumn{bias, target, scale},
      {dtokens.data, dtokens.ld, static_cast<int>(tokens.rows)});
}

}  // namespace gf::cuda::hopper
