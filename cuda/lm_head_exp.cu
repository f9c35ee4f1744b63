#include "lm_head_exp.h"

#include <algorithm>

#include "hopper.h"
#include "lm_loss_sum.cuh"

// With e_ij = e^(logit_ij - shift_i) and sum_i = Σ_j e_ij the gradient of the loss by the logits is
// f_i e_ij, less scale at the target, f_i = scale / sum_i. Logits are never stored: one kernel
// makes Σ_j e_ij tokens_j and the sums, from which the rows' losses and
//
//   dh_i = f_i Σ_j e_ij tokens_j - scale tokens_target
//
// follow, and a second one makes the logits again for tokens.grad_j = Σ_i (f_i e_ij - scale [j =
// target_i]) h_i, with f_i inside the exponent.
//
// The shift: a logit is at most upper_i = |h_i| max_j |w_j| (Cauchy-Schwarz), so shift_i = max(0,
// upper_i - 60) keeps e_ij below e^60 and sums of 50257 of them below e^71. In training upper stays
// below 60 and the shift is 0. A row's sum can vanish only if its largest logit lies below upper_i
// - 140; the loss is then infinite, which stops the training and names the step, rather than a
// wrong gradient.
//
// At M = 4096, V = 30522, D = 256: 256 GFLOP, 0.36 ms at 709 TFLOP/s. A third less arithmetic would
// do with the exponentials stored in between, 250 MB in bf16 written once and read twice, 0.17 ms
// at 4.3 TB/s, and as much memory. Measured on one H100: 0.42 ms, and 0.94 ms with exponentials
// stored 1024 rows at a time.

namespace gf::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kNormThreads = 512, kNormWarps = kNormThreads / kWarp;  // to have enough in flight
constexpr float kLargestExponent = 60.0f;

// What the kernels know of every row of the batch; [M] each.
struct RowState {
  float* shift;
  float* of_target;  // logit of the target
  float* losses;
};

// What hopper::weighted_hidden is given: log2(f) - shift log2(e) and the target of every row.
struct ForHidden {
  float* bias;
  int32_t* target;
  float* parts;
  int* ready;
  hopper::HiddenSizes sizes;
};

__device__ float sum_of_products(const bf16* a, const bf16* b, int64_t count, int lane) {
  float sum = 0;
  for (int64_t j = lane * kVector; j < count; j += kWarp * kVector) {
    float x[kVector], y[kVector];
    load8(a + j, x);
    load8(b + j, y);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum += x[i] * y[i];
  }
  return warp_sum(sum);
}

// largest[block] = max |w_j|² over the block's rows. Four rows of a warp are in flight at a time.
// 16 MB at V = 30522: 4 us.
__global__ void __launch_bounds__(kNormThreads)
    largest_norm_kernel(const bf16* tokens, int64_t vocabulary, int64_t width, int64_t ld,
                        float* largest) {
  constexpr int kRows = 4;
  wait_for_inputs();
  __shared__ float of_warps[kNormWarps];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kNormWarps + warp) * kRows;
  float max = 0;
  for (int64_t row = first; row < vocabulary; row += gridDim.x * kNormWarps * kRows) {
    float sum[kRows] = {};
    for (int64_t j = lane * kVector; j < width; j += kWarp * kVector) {
      float v[kRows][kVector];
#pragma unroll
      for (int k = 0; k < kRows; ++k) {
        load8(tokens + min(row + k, vocabulary - 1) * ld + j, v[k]);
      }
#pragma unroll
      for (int k = 0; k < kRows; ++k) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) sum[k] += v[k][i] * v[k][i];
      }
    }
#pragma unroll
    for (int k = 0; k < kRows; ++k) max = fmaxf(max, warp_sum(sum[k]));
  }
  if (lane == 0) of_warps[warp] = max;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 0; i < kNormWarps; ++i) max = fmaxf(max, of_warps[i]);
  largest[blockIdx.x] = max;
}

__device__ float block_max(const float* values, int64_t count) {
  __shared__ float of_warps[kWarps];
  float max = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) max = fmaxf(max, values[i]);
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) {
    max = fmaxf(max, __shfl_xor_sync(0xFFFFFFFFu, max, lane));
  }
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = max;
  __syncthreads();
  for (int i = 0; i < kWarps; ++i) max = fmaxf(max, of_warps[i]);
  return max;
}

struct Hidden {
  const bf16* data;
  int64_t rows, width, ld;
};

// shift and logit of the target, by row; a warp takes a row. 4 MB at M = 4096: 3 us.
__global__ void __launch_bounds__(kThreads)
    before_exp_kernel(Hidden h, const bf16* tokens, int64_t tokens_ld, const float* largest,
                      int64_t largest_count, Targets targets, RowState state) {
  wait_for_inputs();
  const float largest_square = block_max(largest, largest_count);
  const int lane = threadIdx.x % kWarp;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (i >= h.rows) return;
  const bf16* row = h.data + i * h.ld;
  const int64_t target = targets.of(i);
  const float square = sum_of_products(row, row, h.width, lane);
  const float of_target =
      target < 0 ? 0.0f : sum_of_products(row, tokens + target * tokens_ld, h.width, lane);
  if (lane != 0) return;
  // Of the roots, since the product of the squares may leave fp32.
  const float upper = sqrtf(square) * sqrtf(largest_square);
  state.shift[i] = fmaxf(0.0f, upper - kLargestExponent);
  state.of_target[i] = of_target;
}

__device__ __forceinline__ float loss_of(float sum, float shift, float of_target, bool has_target) {
  return has_target ? logf(sum) + shift - of_target : 0.0f;
}

// losses from the sums of all tiles of columns; a block takes 8 rows: thread t adds up every 32nd
// tile of row t % 8, so that eight neighbours read 32 bytes, and a warp a row adds those up.
__global__ void __launch_bounds__(kThreads)
    losses_kernel(const float* sums, int64_t tiles, int64_t rows, Targets targets, RowState state) {
  constexpr int kRows = kWarps;
  wait_for_inputs();
  __shared__ float parts[kRows][kWarp];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRows;
  const int row_of_part = threadIdx.x % kRows, part = threadIdx.x / kRows;
  float sum = 0;
  if (first + row_of_part < rows) {
    for (int64_t tile = part; tile < tiles; tile += kWarp) {
      sum += sums[tile * rows + first + row_of_part];
    }
  }
  parts[row_of_part][part] = sum;
  __syncthreads();
  const int64_t i = first + threadIdx.x / kWarp;
  if (i >= rows) return;
  sum = warp_sum(parts[threadIdx.x / kWarp][threadIdx.x % kWarp]);
  if (threadIdx.x % kWarp != 0) return;
  state.losses[i] = loss_of(sum, state.shift[i], state.of_target[i], targets.of(i) >= 0);
}

// The sums of e_ij tokens_j and of e_ij, in parts of the vocabulary.
struct Parts {
  const float* weighted;  // [splits, M, width]
  const float* sums;      // [splits, M]
  int64_t splits;
};

// A row's loss, its bias and target for the second kernel, and dh; a warp takes a row, and those
// beyond M get what makes them count for nothing. The first threads set `ready` to 0. At M = 4096:
// 17 MB of parts and 4 MB of tokens in, 2 MB out, 6 us.
__global__ void __launch_bounds__(kThreads)
    end_rows_kernel(Parts parts, const bf16* tokens, int64_t tokens_ld, float scale,
                    Targets targets, RowState state, ForHidden hidden, int64_t rows, int64_t width,
                    bf16* dh, int64_t dh_ld) {
  wait_for_inputs();
  const int lane = threadIdx.x % kWarp;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t i = thread / kWarp;
  for (int64_t k = thread; k < hidden.sizes.ready; k += gridDim.x * kThreads) hidden.ready[k] = 0;
  if (i >= hidden.sizes.rows) return;
  const bool is_row = i < rows;
  const int64_t target = is_row ? targets.of(i) : -1;
  // All reads before the first write, behind which they would wait.
  float sum = 0;
  for (int64_t k = 0; is_row && k < parts.splits; ++k) sum += parts.sums[k * rows + i];
  const float shift = is_row ? state.shift[i] : 0.0f,
              of_target = is_row ? state.of_target[i] : 0.0f;
  const float factor = target < 0 ? 0.0f : scale / sum;
  for (int64_t j = lane * kVector; is_row && j < width; j += kWarp * kVector) {
    float v[kVector] = {}, w[kVector] = {};
    if (target >= 0) load8(tokens + target * tokens_ld + j, w);
    for (int64_t k = 0; k < parts.splits; ++k) {
      float part[kVector];
      load8(parts.weighted + (k * rows + i) * width + j, part);
#pragma unroll
      for (int n = 0; n < kVector; ++n) v[n] += part[n];
    }
#pragma unroll
    for (int n = 0; n < kVector; ++n) v[n] = target < 0 ? 0.0f : factor * v[n] - scale * w[n];
    store8(dh + i * dh_ld + j, v);
  }
  if (lane != 0) return;
  hidden.target[i] = static_cast<int32_t>(target);
  hidden.bias[i] = target < 0 ? -INFINITY : log2f(scale / sum) - kLog2e * shift;
  if (is_row) state.losses[i] = loss_of(sum, shift, of_target, target >= 0);
}

// Carves arrays out of the scratch memory, each on 256 bytes; run twice, the first time to count.
class Carver {
 public:
  explicit Carver(std::byte* memory = nullptr) : memory_(memory) {}

  template <class T>
  T* take(int64_t count) {
    std::byte* taken = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += ceil_div(count * static_cast<int64_t>(sizeof(T)), 256) * 256;
    return reinterpret_cast<T*>(taken);
  }
  int64_t used() const { return used_; }

 private:
  std::byte* memory_;
  int64_t used_ = 0;
};

struct Workspace {
  RowState state = {};
  float* largest = nullptr;
  float* sums = nullptr;      // [parts, M]
  float* weighted = nullptr;  // [parts, M, width]
  ForHidden hidden = {};

  // With a gradient where sizes for it are given.
  Workspace(Carver& carver, const Act& h, int64_t parts, const hopper::HiddenSizes& sizes) {
    state.shift = carver.take<float>(h.rows);
    state.of_target = carver.take<float>(h.rows);
    state.losses = carver.take<float>(h.rows);
    largest = carver.take<float>(kMaxParts);
    sums = carver.take<float>(parts * h.rows);
    if (sizes.rows == 0) return;
    weighted = carver.take<float>(parts * h.rows * h.cols);
    hidden = {carver.take<float>(sizes.rows), carver.take<int32_t>(sizes.rows),
              carver.take<float>(sizes.parts), carver.take<int>(sizes.ready), sizes};
  }
};

Workspace workspace(Gpu& gpu, const Act& h, int64_t parts, const hopper::HiddenSizes& sizes = {}) {
  Carver counted;
  Workspace(counted, h, parts, sizes);
  Carver carver(gpu.scratch<std::byte>(counted.used()));
  return Workspace(carver, h, parts, sizes);
}

Hidden hidden(const Act& h) {
  return {data<bf16>(h), h.rows, h.cols, h.ld};
}

unsigned blocks_of_warps(int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, kWarps));
}

void before_exp(Gpu& gpu, const Act& h, const Act& tokens, const Batch& batch, const Workspace& w) {
  const int64_t parts = std::min<int64_t>(kMaxParts, ceil_div(tokens.rows, kNormWarps));
  launch(gpu, "largest_norm", largest_norm_kernel, static_cast<unsigned>(parts), kNormThreads, 0,
         data<bf16>(tokens), tokens.rows, tokens.cols, tokens.ld, w.largest);
  launch(gpu, "before_exp", before_exp_kernel, blocks_of_warps(h.rows), kThreads, 0, hidden(h),
         data<bf16>(tokens), tokens.ld, w.largest, parts, targets(batch), w.state);
}

}  // namespace

bool takes_exp_loss(const Gpu& gpu, const Act& h, const Param& tokens) {
  return h.element == sizeof(bf16) && is_vectored(h) && is_vectored(tokens.act) &&
         hopper::takes(gpu, h, tokens.act);
}

bool takes_exp_loss_backward(const Gpu& gpu, const Act& h, const Param& tokens, const Act& dh) {
  return h.cols == hopper::kWeightedWidth && is_vectored(dh) && is_vectored(tokens.grad) &&
         takes_exp_loss(gpu, h, tokens);
}

void exp_loss(Gpu& gpu, const Act& h, const Param& tokens, const Batch& batch, LossSum* loss) {
  const int64_t tiles = hopper::exp_sums_tiles(tokens.act.rows);
  const Workspace w = workspace(gpu, h, tiles);
  before_exp(gpu, h, tokens.act, batch, w);
  hopper::exp_sums(gpu, h, tokens.act, w.state.shift, w.sums);
  launch(gpu, "losses", losses_kernel, blocks_of_warps(h.rows), kThreads, 0, w.sums, tiles, h.rows,
         targets(batch), w.state);
  sum_losses(gpu, w.state.losses, batch, true, loss);
}

void exp_loss_backward(Gpu& gpu, const Act& h, const Param& tokens, const Batch& batch,
                       LossSum* loss, const Act& dh) {
  const int64_t splits = hopper::weighted_tokens_splits(gpu, h.rows, tokens.act.rows);
  const hopper::HiddenSizes sizes = hopper::weighted_hidden_sizes(gpu, h.rows, tokens.act.rows);
  const float scale = loss_scale(batch);
  const Workspace w = workspace(gpu, h, splits, sizes);
  before_exp(gpu, h, tokens.act, batch, w);
  hopper::weighted_tokens(gpu, h, tokens.act, w.state.shift, splits, w.weighted, w.sums);
  launch(gpu, "end_rows", end_rows_kernel, blocks_of_warps(sizes.rows), kThreads, 0,
         Parts{w.weighted, w.sums, splits}, data<bf16>(tokens.act), tokens.act.ld, scale,
         targets(batch), w.state, w.hidden, h.rows, h.cols, data<bf16>(dh), dh.ld);
  hopper::weighted_hidden(gpu, tokens.act, h,
                          {w.hidden.bias, w.hidden.target, w.hidden.parts, w.hidden.ready}, scale,
                          tokens.grad);
  sum_losses(gpu, w.state.losses, batch, false, loss);
}

}  // namespace gf::cuda
