#include <algorithm>
#include <cmath>

#include "cuda_ops.h"
#include "lm_head_exp.h"
#include "lm_loss_sum.cuh"
#include "products.h"

namespace gf::cuda {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarp;

// Largest logit seen and the sum of e^(logit - max). __expf errs by 2 + 1.16 |x| ulp: 2e-6 where a
// term is e^-20 of the largest, and less where it counts.
struct Softmax {
  float max = -INFINITY;
  float sum = 0;

  __device__ void add(const Softmax& other) {
    if (other.sum == 0) return;
    const float larger = fmaxf(max, other.max);
    sum = sum * __expf(max - larger) + other.sum * __expf(other.max - larger);
    max = larger;
  }
};

// Eight logits, or those that are left of the row.
template <bool kAligned, class T>
__device__ int load_logits(const T* row, int64_t first, int64_t vocabulary, float (&v)[kVector]) {
  if (kAligned && first + kVector <= vocabulary) {
    load8(row + first, v);
    return kVector;
  }
  load<false>(row + first, vocabulary - first, v);
  return static_cast<int>(min(static_cast<int64_t>(kVector), vocabulary - first));
}

// A thread's share of the row: every 512th vector.
template <bool kAligned, class T>
__device__ Softmax softmax_of_share(const T* row, int64_t vocabulary) {
  Softmax softmax;
  for (int64_t j = threadIdx.x * kVector; j < vocabulary; j += kThreads * kVector) {
    float v[kVector];
    const int count = load_logits<kAligned>(row, j, vocabulary, v);
    float max = softmax.max;
#pragma unroll
    for (int i = 0; i < kVector; ++i) max = i < count ? fmaxf(max, v[i]) : max;
    softmax.sum *= __expf(softmax.max - max);
    softmax.max = max;
#pragma unroll
    for (int i = 0; i < kVector; ++i) softmax.sum += i < count ? __expf(v[i] - max) : 0.0f;
  }
  return softmax;
}

// In every thread of the block.
__device__ Softmax block_softmax(Softmax softmax) {
  __shared__ float maxima[kWarps], sums[kWarps];
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) {
    Softmax other;
    other.max = __shfl_xor_sync(0xFFFFFFFFu, softmax.max, lane);
    other.sum = __shfl_xor_sync(0xFFFFFFFFu, softmax.sum, lane);
    softmax.add(other);
  }
  if (threadIdx.x % kWarp == 0) {
    maxima[threadIdx.x / kWarp] = softmax.max;
    sums[threadIdx.x / kWarp] = softmax.sum;
  }
  __syncthreads();
  softmax = {maxima[0], sums[0]};
  for (int i = 1; i < kWarps; ++i) softmax.add({maxima[i], sums[i]});
  return softmax;
}

struct Rows {
  int64_t first;  // in the batch, of the panel
  int64_t vocabulary, ld;
  float scale;
  bool gradient;  // else the logits stay as they are
};

// losses[row] = log sum_j e^logit_j - logit of the target, 0 where there is none; then the row
// becomes scale (softmax - one-hot of the target), 0 where there is none. A block takes a row, of
// 61 KB at V = 30522 in bf16: read twice and written once, the second time out of the cache. Panels
// of 1024 rows: 62 MB each way, 30 us.
template <bool kAligned, class T>
__global__ void __launch_bounds__(kThreads)
    softmax_rows_kernel(T* panel, Rows rows, Targets targets, float* losses) {
  wait_for_inputs();
  T* row = panel + blockIdx.x * rows.ld;
  const int64_t target = targets.of(rows.first + blockIdx.x);
  // Read before any thread passes the barrier in block_softmax and changes the row.
  const float of_target = target < 0 ? 0.0f : to_float(row[target]);
  const Softmax softmax = block_softmax(softmax_of_share<kAligned>(row, rows.vocabulary));
  if (threadIdx.x == 0) {
    losses[rows.first + blockIdx.x] =
        target < 0 ? 0.0f : softmax.max - of_target + logf(softmax.sum);
  }
  if (!rows.gradient) return;
  const float factor = target < 0 ? 0.0f : rows.scale / softmax.sum;
  for (int64_t j = threadIdx.x * kVector; j < rows.vocabulary; j += kThreads * kVector) {
    float v[kVector];
    const int count = load_logits<kAligned>(row, j, rows.vocabulary, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      v[i] = __expf(v[i] - softmax.max) * factor - (j + i == target ? rows.scale : 0.0f);
    }
    if (kAligned && count == kVector) {
      store8(row + j, v);
    } else {
      store<false>(row + j, count, v);
    }
  }
}

void softmax_rows(Gpu& gpu, const Act& logits, const Rows& rows, const Batch& batch,
                  float* losses) {
  const bool aligned =
      reinterpret_cast<uintptr_t>(logits.data) % 16 == 0 && logits.ld * logits.element % 16 == 0;
  with_element(logits, [&](auto element) {
    using T = decltype(element);
    const auto kernel = aligned ? softmax_rows_kernel<true, T> : softmax_rows_kernel<false, T>;
    launch(gpu, "softmax_rows", kernel, static_cast<unsigned>(logits.rows), kThreads, 0,
           data<T>(logits), rows, targets(batch), losses);
  });
}

// In double: a thread adds up every 512th loss; lanes, then warps follow in a fixed order. 3 us.
__global__ void __launch_bounds__(kThreads)
    sum_losses_kernel(const float* losses, int64_t rows, int64_t count, bool add, LossSum* loss) {
  wait_for_inputs();
  __shared__ double of_warps[kWarps];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < rows; i += kThreads) sum += losses[i];
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < kWarps; ++i) sum += of_warps[i];
  loss->sum = add ? loss->sum + sum : sum;
  loss->count = add ? loss->count + count : count;
}

// logits = h tokens^T, in the first rows and columns of the panel.
Act logits_in_panel(Products& products, const Act& h, const Param& tokens, const Act& panel) {
  const Act logits = panel.columns(0, tokens.act.rows).row_range(0, h.rows);
  products.run(h, transposed(tokens.act), logits);
  return logits;
}

}  // namespace

void sum_losses(Gpu& gpu, const float* losses, const Batch& batch, bool add, LossSum* loss) {
  launch(gpu, "sum_losses", sum_losses_kernel, 1, kThreads, 0, losses, batch.rows(),
         predicted(batch), add, loss);
}

void CudaOps::logits(const Act& h, const Param& tokens, const Mat& logits) {
  const Range range(device_, "logits");
  products_->run(h, transposed(tokens.act), logits);
}

void CudaOps::lm_loss(const Act& h, const Param& tokens, const Batch& batch, const Act& panel,
                      LossSum* loss) {
  const Range range(device_, "lm_loss");
  if (takes_exp_loss(gpu_, h, tokens)) return exp_loss(gpu_, h, tokens, batch, loss);
  float* losses = gpu_.scratch<float>(h.rows);
  for (int64_t first = 0; first < h.rows; first += panel.rows) {
    const Act h_rows = h.row_range(first, std::min(panel.rows, h.rows - first));
    const Act logits = logits_in_panel(*products_, h_rows, tokens, panel);
    softmax_rows(gpu_, logits, {first, logits.cols, logits.ld, 0.0f, false}, batch, losses);
  }
  sum_losses(gpu_, losses, batch, true, loss);
}

void CudaOps::lm_loss_backward(const Act& h, const Param& tokens, const Batch& batch,
                               const Act& panel, LossSum* loss, const Act& dh) {
  const Range range(device_, "lm_loss_backward");
  if (takes_exp_loss_backward(gpu_, h, tokens, dh)) {
    return exp_loss_backward(gpu_, h, tokens, batch, loss, dh);
  }
  float* losses = gpu_.scratch<float>(h.rows);
  for (int64_t first = 0; first < h.rows; first += panel.rows) {
    const int64_t rows = std::min(panel.rows, h.rows - first);
    const Act h_rows = h.row_range(first, rows);
    const Act logits = logits_in_panel(*products_, h_rows, tokens, panel);
    softmax_rows(gpu_, logits, {first, logits.cols, logits.ld, loss_scale(batch), true}, batch,
                 losses);
    const Act& dlogits = logits;
    products_->run(dlogits, tokens.act, dh.row_range(first, rows));
    products_->run(transposed(dlogits), h_rows, tokens.grad, first > 0);
  }
  sum_losses(gpu_, losses, batch, false, loss);
}

}  // namespace gf::cuda
