#include <algorithm>

#include "hopper.h"
#include "hopper_weighted_steps.cuh"

// The head's first product: a is h, b the embedding, and the weights are e^logit. At M = 4096 four
// blocks share the vocabulary for each of 32 tiles of rows: 95.5 tiles of 80 each, 139 us at 989
// TFLOP/s. Measured on one H100: 170 us.

namespace gf::cuda::hopper {
namespace weighted {

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

template <class Weights>
__global__ void __launch_bounds__(kThreads, 1)
    weighted_tokens_kernel(const __grid_constant__ CUtensorMap h,
                           const __grid_constant__ CUtensorMap tokens, int tiles,
                           const Weights weights, float* out) {
  if constexpr (kHopper) {
    extern __shared__ uint8_t shared[];
    const Memory memory(shared);
    if (threadIdx.x == 0) memory.init();
    __syncthreads();
    wait_for_inputs();
    const int tile = static_cast<int>(blockIdx.x), split = static_cast<int>(blockIdx.y);
    const int64_t splits = gridDim.y;
    const Steps steps = {tile * tiles + static_cast<int>(tiles * split / splits),
                         tile * tiles + static_cast<int>(tiles * (split + 1) / splits), tiles};
    if (threadIdx.x == 0) load_first(memory, h, tokens, steps);
    const int group = warpgroup(), row = tile * kRows + group * 64 + row_of_thread();
    float sums[kSums];
#pragma unroll
    for (int i = 0; i < kSums; ++i) sums[i] = 0;
    auto state = weights.begin(row);
    add_up(memory, h, tokens, weights, group, row, steps, Run::first_of(steps), state, sums);
    weights.end(row, state);
    store_sums(out + int64_t{split} * weights.rows * kWeightedWidth, kWeightedWidth, row,
               weights.rows, sums);
  }
}

}  // namespace weighted

using namespace weighted;

int64_t weighted_tokens_splits(const Gpu& gpu, int64_t rows, int64_t vocabulary) {
  const int64_t blocks = ceil_div(rows, kRows), tiles = ceil_div(vocabulary, kTile);
  return std::clamp<int64_t>(gpu.multiprocessors() / blocks, 1, tiles);
}

void weighted_tokens(Gpu& gpu, const Act& h, const Act& tokens, const float* shift, int64_t splits,
                     float* out, float* sums) {
  const auto kernel = weighted_tokens_kernel<ByRow>;
  allow_shared(kernel, kSharedBytes, "weighted_tokens");
  launch(gpu, "weighted_tokens", kernel,
         dim3(static_cast<unsigned>(ceil_div(h.rows, kRows)), static_cast<unsigned>(splits)),
         kThreads, kSharedBytes, tensor_map(h, kRows), tensor_map(tokens, kTile),
         static_cast<int>(ceil_div(tokens.rows, kTile)),
         ByRow{shift, sums, static_cast<int>(h.rows), static_cast<int>(tokens.rows)}, out);
}

}  // namespace gf::cuda::hopper
