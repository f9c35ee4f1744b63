#include "lm_head_exp.h"

#include <algorithm>

#include "hopper.h"
#include "lm_loss_sum.cuh"

// With E_ij = e^(logit_ij - shift_i) and sum_i its row sums, the gradient of the loss by the logits
// is f_i E_ij, less scale at the target, with f_i = scale / sum_i. So E, which one product with its
// epilogue leaves in bf16, is turned into sum_i (softmax - one-hot) by changing one element a row,
// and f_i goes into h for tokens.grad = E^T (f h) and behind the product for dh = f (E tokens).
//
// The shift: a logit is at most upper_i = |h_i| max_j |w_j| (Cauchy-Schwarz), so shift_i = max(0,
// upper_i - 60) keeps E below e^60, sums of 50257 of them below e^71 and f h above the smallest
// bf16, e^-87. In training upper stays below 60 and the shift is 0. A row's sum can vanish only if
// its largest logit lies below upper_i - 140; the loss is then infinite, which stops the training
// and names the step, rather than a wrong gradient.
//
// At M = 4096, V = 30522, D = 256 each of the three products is 64 GFLOP, 90 us at 709 TFLOP/s. E
// is written once and read twice, 250 MB each time or 62 MB a panel of 1024 rows. Every panel after
// the first reads and writes tokens.grad, 62 MB. All kernels of this file together move 30 MB.

namespace gf::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr float kLargestExponent = 60.0f;

// What the kernels know of every row of the batch; [M] each but rest.
struct RowState {
  float* shift;
  float* of_target;  // logit of the target
  float* losses;
  float* factor;  // f
  float* rest;    // [M, 8]: E in the columns that are left of a multiple of eight
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
__global__ void __launch_bounds__(kThreads)
    largest_norm_kernel(const bf16* tokens, int64_t vocabulary, int64_t width, int64_t ld,
                        float* largest) {
  constexpr int kRows = 4;
  wait_for_inputs();
  __shared__ float of_warps[kWarps];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kWarps + warp) * kRows;
  float max = 0;
  for (int64_t row = first; row < vocabulary; row += gridDim.x * kWarps * kRows) {
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
  for (int i = 0; i < kWarps; ++i) max = fmaxf(max, of_warps[i]);
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

// A panel of E; `first` is the number of its first row in the batch.
struct ExpPanel {
  bf16* e;
  int64_t ld;
  int64_t first, rows;
  int64_t whole, vocabulary;  // columns; whole: a multiple of eight
};

// From the sums of a row: its loss, its factor, and in E the element of its target.
__device__ void end_row(const ExpPanel& panel, int64_t i, float sum, float scale, int64_t target,
                        const RowState& state, float* factor) {
  const int64_t row = panel.first + i;
  const float shift = state.shift[row], of_target = state.of_target[row];
  state.losses[row] = target < 0 ? 0.0f : logf(sum) + shift - of_target;
  if (panel.e == nullptr) return;
  *factor = target < 0 ? 0.0f : scale / sum;
  state.factor[row] = *factor;
  bf16* e = panel.e + i * panel.ld;
  // The exponential anew, since that in E is rounded and the difference may be small.
  if (target >= 0) e[target] = __float2bfloat16_rn(__expf(of_target - shift) - sum);
  for (int k = 0; k < kVector; ++k) {
    const int64_t j = panel.whole + k;
    state.rest[row * kVector + k] = j < panel.vocabulary ? to_float(e[j]) : 0.0f;
  }
}

// A block takes 8 rows: thread t adds up every 32nd tile of row t % 8, so that eight neighbours
// read 32 bytes, and a warp a row then adds those up and scales h. 0.5 MB of sums and 1 MB of h a
// panel of 1024 rows: 3 us, all latency.
__global__ void __launch_bounds__(kThreads)
    after_exp_kernel(Hidden h, const float* sums, int64_t tiles, ExpPanel panel, float scale,
                     Targets targets, RowState state, bf16* scaled) {
  constexpr int kRows = kWarps;
  wait_for_inputs();
  __shared__ float parts[kRows][kWarp];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRows;
  const int row_of_part = threadIdx.x % kRows, part = threadIdx.x / kRows;
  float sum = 0;
  if (first + row_of_part < panel.rows) {
    for (int64_t tile = part; tile < tiles; tile += kWarp) {
      sum += sums[tile * panel.rows + first + row_of_part];
    }
  }
  parts[row_of_part][part] = sum;
  __syncthreads();

  const int lane = threadIdx.x % kWarp;
  const int64_t i = first + threadIdx.x / kWarp;
  if (i >= panel.rows) return;
  sum = warp_sum(parts[threadIdx.x / kWarp][lane]);
  float factor = 0;
  if (lane == 0) end_row(panel, i, sum, scale, targets.of(panel.first + i), state, &factor);
  if (panel.e == nullptr) return;
  factor = __shfl_sync(0xFFFFFFFFu, factor, 0);
  for (int64_t j = lane * kVector; j < h.width; j += kWarp * kVector) {
    float v[kVector];
    load8(h.data + i * h.ld + j, v);
#pragma unroll
    for (int k = 0; k < kVector; ++k) v[k] *= factor;
    store8(scaled + i * h.width + j, v);
  }
}

// dh = f (acc + the columns of E that are left times their tokens); a warp takes a row. 4 MB in, 2
// MB out at M = 4096: 3 us.
__global__ void __launch_bounds__(kThreads)
    end_dh_kernel(const float* acc, RowState state, const bf16* left_tokens, int64_t tokens_ld,
                  int64_t left, int64_t rows, int64_t width, bf16* dh, int64_t dh_ld) {
  wait_for_inputs();
  const int lane = threadIdx.x % kWarp;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (i >= rows) return;
  const float factor = state.factor[i];
  for (int64_t j = lane * kVector; j < width; j += kWarp * kVector) {
    float v[kVector];
    load8(acc + i * width + j, v);
    for (int64_t k = 0; k < left; ++k) {
      const float e = state.rest[i * kVector + k];
      float w[kVector];
      load8(left_tokens + k * tokens_ld + j, w);
#pragma unroll
      for (int n = 0; n < kVector; ++n) v[n] += e * w[n];
    }
#pragma unroll
    for (int n = 0; n < kVector; ++n) v[n] *= factor;
    store8(dh + i * dh_ld + j, v);
  }
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
  float* sums = nullptr;
  bf16* scaled = nullptr;
  float* acc = nullptr;

  // Of a batch of `rows` in panels of `panel_rows`; without a gradient, some are null.
  Workspace(Carver& carver, const Act& h, int64_t tiles, int64_t panel_rows, bool gradient) {
    state.shift = carver.take<float>(h.rows);
    state.of_target = carver.take<float>(h.rows);
    state.losses = carver.take<float>(h.rows);
    largest = carver.take<float>(kMaxParts);
    sums = carver.take<float>(tiles * panel_rows);
    if (!gradient) return;
    state.factor = carver.take<float>(h.rows);
    state.rest = carver.take<float>(h.rows * kVector);
    scaled = carver.take<bf16>(panel_rows * h.cols);
    acc = carver.take<float>(h.rows * h.cols);
  }
};

Workspace workspace(Gpu& gpu, const Act& h, int64_t tiles, int64_t panel_rows, bool gradient) {
  Carver counted;
  Workspace(counted, h, tiles, panel_rows, gradient);
  Carver carver(gpu.scratch<std::byte>(counted.used()));
  return Workspace(carver, h, tiles, panel_rows, gradient);
}

Hidden hidden(const Act& h) {
  return {data<bf16>(h), h.rows, h.cols, h.ld};
}

unsigned blocks_of_warps(int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, kWarps));
}

void before_exp(Gpu& gpu, const Act& h, const Act& tokens, const Batch& batch, const Workspace& w) {
  const int64_t parts = std::min<int64_t>(kMaxParts, ceil_div(tokens.rows, kWarps));
  launch(gpu, "largest_norm", largest_norm_kernel, static_cast<unsigned>(parts), kThreads, 0,
         data<bf16>(tokens), tokens.rows, tokens.cols, tokens.ld, w.largest);
  launch(gpu, "before_exp", before_exp_kernel, blocks_of_warps(h.rows), kThreads, 0, hidden(h),
         data<bf16>(tokens), tokens.ld, w.largest, parts, targets(batch), w.state);
}

void after_exp(Gpu& gpu, const Act& h_rows, int64_t tiles, const ExpPanel& panel,
               const Batch& batch, const Workspace& w) {
  launch(gpu, "after_exp", after_exp_kernel, blocks_of_warps(panel.rows), kThreads, 0,
         hidden(h_rows), w.sums, tiles, panel, loss_scale(batch), targets(batch), w.state,
         w.scaled);
}

}  // namespace

bool takes_exp_loss(const Gpu& gpu, const Act& h, const Param& tokens) {
  return h.element == sizeof(bf16) && is_vectored(h) && is_vectored(tokens.act) &&
         tokens.act.rows >= kVector && hopper::takes(gpu, h, tokens.act);
}

bool takes_exp_loss_backward(const Gpu& gpu, const Act& h, const Param& tokens, const Act& panel,
                             const Act& dh) {
  const bool aligned = reinterpret_cast<uintptr_t>(panel.data) % 16 == 0 && panel.ld % kVector == 0;
  return aligned && is_vectored(dh) && takes_exp_loss(gpu, h, tokens);
}

void exp_loss(Gpu& gpu, const Act& h, const Param& tokens, const Batch& batch, LossSum* loss) {
  const int64_t vocabulary = tokens.act.rows, tiles = hopper::exp_logits_tiles(vocabulary);
  const Workspace w = workspace(gpu, h, tiles, h.rows, false);
  before_exp(gpu, h, tokens.act, batch, w);
  Act none;
  none.element = sizeof(bf16);
  hopper::exp_logits(gpu, h, tokens.act, w.state.shift, none, w.sums);
  after_exp(gpu, h, tiles, {nullptr, 0, 0, h.rows, 0, vocabulary}, batch, w);
  sum_losses(gpu, w.state.losses, batch, true, loss);
}

void exp_loss_backward(Gpu& gpu, Products& products, const Act& h, const Param& tokens,
                       const Batch& batch, const Act& panel, LossSum* loss, const Act& dh) {
  const int64_t vocabulary = tokens.act.rows, tiles = hopper::exp_logits_tiles(vocabulary);
  // The inner dimension of E tokens is cut to whole vectors, which every kernel of cuBLASLt takes;
  // end_dh adds the few tokens that are left.
  const int64_t whole = vocabulary / kVector * kVector;
  // No more columns of the panel are written than whole vectors want; none beyond V is read.
  const int64_t columns = std::min(panel.cols, ceil_div(vocabulary, kVector) * kVector);
  const int64_t panel_rows = std::min(panel.rows, h.rows);
  const Workspace w = workspace(gpu, h, tiles, panel_rows, true);
  const Mat acc = {w.acc, h.rows, h.cols, h.cols};
  before_exp(gpu, h, tokens.act, batch, w);
  for (int64_t first = 0; first < h.rows; first += panel_rows) {
    const int64_t rows = std::min(panel_rows, h.rows - first);
    const Act h_rows = h.row_range(first, rows), e = panel.columns(0, columns).row_range(0, rows);
    hopper::exp_logits(gpu, h_rows, tokens.act, w.state.shift + first, e, w.sums);
    after_exp(gpu, h_rows, tiles, {data<bf16>(e), e.ld, first, rows, whole, vocabulary}, batch, w);
    const Act scaled = {reinterpret_cast<std::byte*>(w.scaled), rows, h.cols, h.cols, sizeof(bf16)};
    products.run(e.columns(0, whole), tokens.act.row_range(0, whole), acc.row_range(first, rows));
    products.run(transposed(e.columns(0, vocabulary)), scaled, tokens.grad, first > 0);
  }
  const Act left = tokens.act.row_range(whole, vocabulary - whole);
  launch(gpu, "end_dh", end_dh_kernel, blocks_of_warps(h.rows), kThreads, 0, w.acc, w.state,
         data<bf16>(left), left.ld, left.rows, h.rows, h.cols, data<bf16>(dh), dh.ld);
  sum_losses(gpu, w.state.losses, batch, false, loss);
}

}  // namespace gf::cuda
