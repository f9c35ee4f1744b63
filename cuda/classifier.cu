#include "cuda_ops.h"
#include "grassflow.h"
#include "kernel.cuh"

namespace gf::cuda {
namespace {

// At B = 32, T = 28, D = 256 in bf16: 0.5 MB of h each way, which lies in the second cache; what
// takes time is one kernel each way, 3 us by its launch and its first loads.

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kWarpColumns = kWarp * kVector;
constexpr uint32_t kAllLanes = 0xFFFFFFFF;

struct Classifier {
  int64_t sequences, length, cols, classes;
  const int32_t* lengths;
  const int32_t* labels;
  Mat logits;
  Mat pooled, weight;
  Dropout dropout;
  Act h;  // or dh

  // What the loss needs: all above pooled.
  Classifier(const Batch& batch, const Mat& of_logits)
      : sequences(batch.sequences),
        length(batch.length),
        cols(0),
        classes(of_logits.cols),
        lengths(batch.lengths),
        labels(batch.labels),
        logits(of_logits) {}
  Classifier(const Batch& batch, const Mat& of_logits, const Mat& of_pooled, const Linear& layer,
             const Dropout& of_pooling, const Act& states)
      : Classifier(batch, of_logits) {
    cols = states.cols;
    pooled = of_pooled;
    weight = layer.weight.value;
    dropout = of_pooling;
    h = states;
  }
};

template <class T>
__device__ __forceinline__ T* states_of(const Classifier& op, int64_t b) {
  return reinterpret_cast<T*>(op.h.data) + b * op.length * op.h.ld;
}

// ---- Forward ---------------------------------------------------------------------------------

// A block takes a sequence: its warps take every eighth token each and all columns, then every
// eighth class.
template <bool kWhole, class T>
__global__ void __launch_bounds__(kThreads) classify_kernel(Classifier op, const float* bias) {
  wait_for_inputs();
  __shared__ alignas(16) float parts[kWarps][kWarpColumns];
  const int64_t b = blockIdx.x;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int tokens = op.lengths[b];
  const T* h = states_of<T>(op, b);
  float* pooled = op.pooled.data + b * op.pooled.ld;
  for (int64_t first = 0; first < op.cols; first += kWarpColumns) {
    const int64_t j = first + lane * kVector;
    const bool has = j < op.cols;
    float sum[kVector] = {};
    if (has) {
#pragma unroll 4
      for (int t = warp; t < tokens; t += kWarps) {
        float v[kVector];
        load<kWhole>(h + t * op.h.ld + j, op.cols - j, v);
#pragma unroll
        for (int k = 0; k < kVector; ++k) sum[k] += v[k];
      }
    }
    store8(&parts[warp][lane * kVector], sum);
    __syncthreads();
    if (warp == 0 && has) {
      float v[kVector], factor[kVector];
      for (int w = 1; w < kWarps; ++w) {
        load8(&parts[w][lane * kVector], v);
#pragma unroll
        for (int k = 0; k < kVector; ++k) sum[k] += v[k];
      }
      const float share = 1.0f / static_cast<float>(tokens);
      dropout8<kWhole>(op.dropout, b * op.cols + j, factor);
#pragma unroll
      for (int k = 0; k < kVector; ++k) sum[k] *= share * factor[k];
      store<kWhole>(pooled + j, op.cols - j, sum);
    }
    __syncthreads();  // The parts may be written again, and pooled read.
  }
  for (int64_t c = warp; c < op.classes; c += kWarps) {
    const float* weight = op.weight.data + c * op.weight.ld;
    float dot = 0;
    for (int64_t j = lane * kVector; j < op.cols; j += kWarpColumns) {
      float p[kVector], w[kVector];
      load<kWhole>(pooled + j, op.cols - j, p);
      load<kWhole>(weight + j, op.cols - j, w);
#pragma unroll
      for (int k = 0; k < kVector; ++k) dot += p[k] * w[k];
    }
    dot = warp_sum(dot);
    if (lane == 0) op.logits.data[b * op.logits.ld + c] = dot + bias[c];
  }
}

// ---- Loss ------------------------------------------------------------------------------------

// Of a row of logits: its largest, the first of equal ones, and the sum of e^(logit - max).
struct Softmax {
  float max;
  float sum;
  int64_t largest;
};

__device__ __forceinline__ const float* logits_of(const Classifier& op, int64_t b) {
  return op.logits.data + b * op.logits.ld;
}

__device__ __forceinline__ Softmax softmax_of(const Classifier& op, int64_t b) {
  const float* row = logits_of(op, b);
  Softmax s{row[0], 0.0f, 0};
  for (int64_t c = 1; c < op.classes; ++c) {
    if (row[c] > s.max) s.max = row[c], s.largest = c;
  }
  for (int64_t c = 0; c < op.classes; ++c) s.sum += expf(row[c] - s.max);
  return s;
}

__device__ __forceinline__ float loss_of(const Classifier& op, int64_t b, const Softmax& s) {
  return s.max - logits_of(op, b)[op.labels[b]] + logf(s.sum);
}

// Of the mean over the batch, with respect to logit c of sequence b.
__device__ __forceinline__ float gradient_of(const Classifier& op, int64_t b, int64_t c) {
  const Softmax s = softmax_of(op, b);
  const float share = expf(logits_of(op, b)[c] - s.max) / s.sum - (c == op.labels[b] ? 1.0f : 0.0f);
  return share / static_cast<float>(op.sequences);
}

// One block. Counts are whole numbers: in whichever order they are added, they are the same.
__global__ void __launch_bounds__(kThreads)
    class_loss_kernel(Classifier op, LossSum* loss, int64_t* confusion) {
  wait_for_inputs();
  __shared__ int32_t counts[GF_MAX_CLASSES * GF_MAX_CLASSES];
  const auto cells = static_cast<int>(op.classes * op.classes);
  for (int i = threadIdx.x; i < cells; i += kThreads) counts[i] = 0;
  __syncthreads();
  double sum = 0;
  for (int64_t b = threadIdx.x; b < op.sequences; b += kThreads) {
    const Softmax s = softmax_of(op, b);
    sum += loss_of(op, b, s);
    atomicAdd(&counts[op.labels[b] * op.classes + s.largest], 1);
  }
  sum = block_sum<kThreads>(sum);  // All counts are made behind its barrier.
  for (int i = threadIdx.x; i < cells; i += kThreads) confusion[i] += counts[i];
  if (threadIdx.x != 0) return;
  loss->sum += sum;
  loss->count += op.sequences;
}

// ---- Backward --------------------------------------------------------------------------------

struct Gradients {
  Mat weight;
  float* bias;
  LossSum* loss;
};

// dh of sequence b: one row for all of its tokens, and 0 behind them.
template <bool kWhole, class T>
__device__ __forceinline__ void spread(const Classifier& op, int64_t b) {
  __shared__ float dlogits[GF_MAX_CLASSES];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (threadIdx.x < op.classes) dlogits[threadIdx.x] = gradient_of(op, b, threadIdx.x);
  __syncthreads();
  const int tokens = op.lengths[b];
  const float share = 1.0f / static_cast<float>(tokens);
  const float nothing[kVector] = {};
  T* dh = states_of<T>(op, b);
  for (int64_t j = lane * kVector; j < op.cols; j += kWarpColumns) {
    float sum[kVector] = {}, w[kVector], factor[kVector];
    for (int64_t c = 0; c < op.classes; ++c) {
      load<kWhole>(op.weight.data + c * op.weight.ld + j, op.cols - j, w);
#pragma unroll
      for (int k = 0; k < kVector; ++k) sum[k] += dlogits[c] * w[k];
    }
    dropout8<kWhole>(op.dropout, b * op.cols + j, factor);
#pragma unroll
    for (int k = 0; k < kVector; ++k) sum[k] *= share * factor[k];
    for (int64_t t = warp; t < op.length; t += kWarps) {
      T* to = dh + t * op.h.ld + j;
      if (t < tokens) {
        store<kWhole>(to, op.cols - j, sum);
      } else {
        store<kWhole>(to, op.cols - j, nothing);
      }
    }
  }
}

// Columns `first` to `first + 31` of weight.grad. A lane takes a column, a warp every eighth
// sequence, whose gradients of logits lane c makes for all.
__device__ __forceinline__ void sum_weight(const Classifier& op, const Mat& grad, int64_t first) {
  __shared__ float sums[kWarps][GF_MAX_CLASSES][kWarp];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t column = first + lane;
  float sum[GF_MAX_CLASSES] = {};
  for (int64_t b = warp; b < op.sequences; b += kWarps) {
    const float d = lane < op.classes ? gradient_of(op, b, lane) : 0.0f;
    const float x = column < op.cols ? op.pooled.data[b * op.pooled.ld + column] : 0.0f;
#pragma unroll
    for (int c = 0; c < GF_MAX_CLASSES; ++c) {
      if (c < op.classes) sum[c] += __shfl_sync(kAllLanes, d, c) * x;
    }
  }
#pragma unroll
  for (int c = 0; c < GF_MAX_CLASSES; ++c) sums[warp][c][lane] = sum[c];
  __syncthreads();
  if (column >= op.cols) return;
  for (int64_t c = warp; c < op.classes; c += kWarps) {
    float total = 0;
    for (int w = 0; w < kWarps; ++w) total += sums[w][c][lane];
    grad.data[c * grad.ld + column] = total;
  }
}

__device__ __forceinline__ void sum_loss_and_bias(const Classifier& op, const Gradients& to) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  double sum = 0;
  for (int64_t b = threadIdx.x; b < op.sequences; b += kThreads) {
    sum += loss_of(op, b, softmax_of(op, b));
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) *to.loss = {sum, op.sequences};
  for (int64_t c = warp; c < op.classes; c += kWarps) {
    float d = 0;
    for (int64_t b = lane; b < op.sequences; b += kWarp) d += gradient_of(op, b, c);
    d = warp_sum(d);
    if (lane == 0) to.bias[c] = d;
  }
}

// Three kinds of blocks, none of which waits for another: one a sequence, one for 32 columns of
// weight.grad, and one.
template <bool kWhole, class T>
__global__ void __launch_bounds__(kThreads) classify_backward_kernel(Classifier op, Gradients to) {
  wait_for_inputs();
  const int64_t block = blockIdx.x;
  if (block < op.sequences) {
    spread<kWhole, T>(op, block);
  } else if (block + 1 < gridDim.x) {
    sum_weight(op, to.weight, (block - op.sequences) * kWarp);
  } else {
    sum_loss_and_bias(op, to);
  }
}

// Calls body(whole, element) with what the kernels are made for.
template <class Body>
void with_kind(const Classifier& op, const Body& body) {
  const bool vectored = is_vectored(op.h) && is_vectored(op.pooled) && is_vectored(op.weight);
  with_element(op.h, [&](auto element) {
    if (vectored) {
      body(std::true_type(), element);
    } else {
      body(std::false_type(), element);
    }
  });
}

}  // namespace

void CudaOps::classify(const Act& h, const Batch& batch, const Dropout& dropout,
                       const Linear& layer, const Mat& pooled, const Mat& logits) {
  const Range range(device_, "classify");
  const Classifier op(batch, logits, pooled, layer, dropout, h);
  with_kind(op, [&](auto whole, auto element) {
    launch(gpu_, "classify", classify_kernel<whole, decltype(element)>,
           static_cast<unsigned>(op.sequences), kThreads, 0, op, layer.bias.value.data);
  });
}

void CudaOps::class_loss(const Mat& logits, const Batch& batch, LossSum* loss, int64_t* confusion) {
  const Range range(device_, "class_loss");
  launch(gpu_, "class_loss", class_loss_kernel, 1, kThreads, 0, Classifier(batch, logits), loss,
         confusion);
}

void CudaOps::classify_backward(const Mat& pooled, const Mat& logits, const Batch& batch,
                                const Dropout& dropout, const Linear& layer, LossSum* loss,
                                const Act& dh) {
  const Range range(device_, "classify_backward");
  const Classifier op(batch, logits, pooled, layer, dropout, dh);
  const Gradients to{layer.weight.grad, layer.bias.grad.data, loss};
  const auto blocks = static_cast<unsigned>(op.sequences + ceil_div(op.cols, kWarp) + 1);
  with_kind(op, [&](auto whole, auto element) {
    launch(gpu_, "classify_backward", classify_backward_kernel<whole, decltype(element)>, blocks,
           kThreads, 0, op, to);
  });
}

}  // namespace gf::cuda
