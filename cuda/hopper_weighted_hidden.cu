#include <algorithm>

#include "hopper.h"
#include "hopper_weighted_steps.cuh"

// The head's second product: a is the embedding, b is h, and the weights are the gradient of the
// logits. 239 tiles of 128 rows of a vocabulary of 30522 would be two rounds of 132 blocks, the
// second four fifths full; so all steps are shared evenly. A tile that is cut belongs to the block
// that begins it, its last; the others, whose first it is, leave their sums in memory, long before
// they are asked for. At M = 4096 that is 94 steps a block, 138 us at 989 TFLOP/s.

namespace gf::cuda::hopper {
namespace weighted {

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
    int quad = static_cast<int>(threadIdx.x) % 4 * 2;
    asm volatile("" : "+r"(quad));  // or eight sums of it would stay in registers
#pragma unroll
    for (int j = 0; j < kTile / 8; ++j) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float b = __shfl_sync(0xFFFFFFFFu, state.bias[j / 4], j % 4 * 8 + quad + c);
        s[4 * j + c] = exp2_approx(fmaf(s[4 * j + c], kLog2e, b));
        s[4 * j + 2 + c] = exp2_approx(fmaf(s[4 * j + 2 + c], kLog2e, b));
      }
    }
    subtract_targets(row, quad, state, s);
  }

 private:
  // `scale` from the scores in the rows of their columns' targets. Few ids make up much of a text,
  // and one warp meets most of those: what it does must not grow with the number of targets.
  __device__ void subtract_targets(int row, int quad, const State& state,
                                   float (&s)[kScores]) const {
    const int first_row = row - static_cast<int>(threadIdx.x) % kWarp / 4;  // of the warp's 16
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const int place = state.target[part] - first_row;
      if (!__any_sync(0xFFFFFFFFu, place >= 0 && place < 16)) continue;
#pragma unroll
      for (int j = part * kWarp / 8; j < min((part + 1) * kWarp, kTile) / 8; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const int target = __shfl_sync(0xFFFFFFFFu, state.target[part], j % 4 * 8 + quad + c);
          if (target == row) s[4 * j + c] -= scale;
          if (target == row + 8) s[4 * j + 2 + c] -= scale;
        }
      }
    }
  }
};

// ---- Shares ----------------------------------------------------------------------------------

// Sums that blocks leave for others: parts [blocks, kRows * kWeightedWidth]; ready [blocks, 2] by
// warpgroup and then the number of blocks that have begun, all 0 before the kernel.
struct Shares {
  float* parts;
  int* ready;
  int tiles, of_tile;  // of a; of b

  // Who takes a share waits for those of higher numbers only. Numbers are given from the highest
  // down as blocks begin, so that those are running or done whatever the order blocks begin in; and
  // none waits before it has left its own part.
  __device__ int take(const Memory& memory) const {
    const int blocks = static_cast<int>(gridDim.x);
    if (threadIdx.x == 0) {
      const int number = blocks - 1 - atomicAdd(ready + 2 * blocks, 1);
      asm volatile("st.shared.s32 [%0], %1;" ::"r"(memory.number()), "r"(number) : "memory");
    }
    __syncthreads();
    int number;
    asm volatile("ld.shared.s32 %0, [%1];" : "=r"(number) : "r"(memory.number()) : "memory");
    return __shfl_sync(0xFFFFFFFFu, number, 0);
  }
  __device__ Steps of(int number) const {
    const int64_t all = int64_t{tiles} * of_tile, blocks = gridDim.x;
    return {static_cast<int>(all * number / blocks), static_cast<int>(all * (number + 1) / blocks),
            of_tile};
  }

  // By a warpgroup: a thread's accumulators lie where the same thread of another block finds them.
  __device__ void leave(int number, int group, const float (&sums)[kSums]) const {
    float4* to = part(number);
#pragma unroll
    for (int j = 0; j < kSums / 4; ++j) {
      __stcg(to + j * kThreads,
             make_float4(sums[4 * j], sums[4 * j + 1], sums[4 * j + 2], sums[4 * j + 3]));
    }
    asm volatile("bar.sync %0, %1;" ::"r"(3 + group), "n"(kGroup) : "memory");
    if (threadIdx.x % kGroup == 0) {
      asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(ready + 2 * number + group), "r"(1)
                   : "memory");
    }
  }
  // The rest of the tile that share `number` begins with `count` steps, in the order of the shares.
  __device__ void add_rest(int number, int group, int count, float (&sums)[kSums]) const {
    constexpr int kAtOnce = 16;  // loads of a thread on their way
    while (count < of_tile) {
      const Steps next = of(++number);
      count += next.end - next.begin;
      wait_for(ready + 2 * number + group);
      const float4* from = part(number);
#pragma unroll
      for (int first = 0; first < kSums / 4; first += kAtOnce) {
        float4 v[kAtOnce];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) v[j] = __ldcg(from + (first + j) * kThreads);
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          float* sum = sums + 4 * (first + j);
          sum[0] += v[j].x, sum[1] += v[j].y, sum[2] += v[j].z, sum[3] += v[j].w;
        }
        pin(sums);  // no more at once: registers are scarce
      }
    }
  }

 private:
  __device__ float4* part(int number) const {
    return reinterpret_cast<float4*>(parts + int64_t{number} * kRows * kWeightedWidth) +
           threadIdx.x;
  }
  __device__ static void wait_for(const int* flag) {
    constexpr int kTries = 1 << 24;
    for (int i = 0, is_set = 0;; ++i) {
      asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(is_set) : "l"(flag) : "memory");
      if (is_set != 0) return;
      if (i == kTries) __trap();
    }
  }
};

template <class Weights>
__global__ void __launch_bounds__(kThreads, 1)
    weighted_hidden_kernel(const __grid_constant__ CUtensorMap tokens,
                           const __grid_constant__ CUtensorMap h, const Shares shares,
                           const Weights weights, float* out, int64_t ld, int rows) {
  if constexpr (kHopper) {
    extern __shared__ uint8_t shared[];
    const Memory memory(shared);
    if (threadIdx.x == 0) memory.init();
    wait_for_inputs();
    const int number = shares.take(memory), group = warpgroup();
    const Steps steps = shares.of(number);
    if (threadIdx.x == 0) load_first(memory, tokens, h, steps);
    for (Run run = Run::first_of(steps);; run = run.next(steps)) {
      const int row = run.tile * kRows + group * 64 + row_of_thread();
      float sums[kSums];
#pragma unroll
      for (int i = 0; i < kSums; ++i) sums[i] = 0;
      typename Weights::State state;
      add_up(memory, tokens, h, weights, group, row, steps, run, state, sums);
      if (run.first > 0) {
        shares.leave(number, group, sums);
      } else {
        shares.add_rest(number, group, run.count, sums);
        store_sums(out, ld, row, rows, sums);
      }
      if (run.is_last(steps)) break;
    }
  }
}

}  // namespace weighted

using namespace weighted;

HiddenSizes weighted_hidden_sizes(const Gpu& gpu, int64_t rows, int64_t vocabulary) {
  const int64_t of_tile = ceil_div(rows, kTile);
  const int64_t blocks =
      std::min<int64_t>(gpu.multiprocessors(), ceil_div(vocabulary, kRows) * of_tile);
  return {of_tile * kTile, blocks * kRows * kWeightedWidth, 2 * blocks + 1};
}

void weighted_hidden(Gpu& gpu, const Act& tokens, const Act& h, const HiddenMemory& memory,
                     float scale, const Mat& dtokens) {
  const HiddenSizes sizes = weighted_hidden_sizes(gpu, h.rows, tokens.rows);
  const Shares shares = {memory.parts, memory.ready, static_cast<int>(ceil_div(tokens.rows, kRows)),
                         static_cast<int>(ceil_div(h.rows, kTile))};
  const auto kernel = weighted_hidden_kernel<ByColumn>;
  allow_shared(kernel, kSharedBytes, "weighted_hidden");
  launch(gpu, "weighted_hidden", kernel, static_cast<unsigned>(sizes.ready / 2), kThreads,
         kSharedBytes, tensor_map(tokens, kRows), tensor_map(h, kTile), shares,
         ByColumn{memory.bias, memory.target, scale}, dtokens.data, dtokens.ld,
         static_cast<int>(tokens.rows));
}

}  // namespace gf::cuda::hopper
