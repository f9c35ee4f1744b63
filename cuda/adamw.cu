#include <algorithm>

#include "cuda_ops.h"
#include "kernel.cuh"

namespace gf::cuda {
namespace {

// n = 12.6 M parameters, at 4.3 TB/s. squared_norm reads 4 bytes of each, 50 MB, 12 us, and adds up
// the parts of its blocks in 2 us more. adamw reads gradient, value and moments, and writes value,
// moments and the bf16 copy: 30 bytes, 380 MB, 88 us (28 and 82 us in fp32); what all elements
// share costs the first 2 us, while the first loads are under way. finish_step is one thread, 2 us.

constexpr int kThreads = 256;
constexpr int kQuad = 4;

bool begins_on_16(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % 16 == 0;
}

// ---- Norm of the gradient --------------------------------------------------------------------

__device__ __forceinline__ double square(float x) {
  return static_cast<double>(x) * x;
}

__global__ void __launch_bounds__(kThreads)
    squares_kernel(const float* grad, int64_t quads, int64_t count, double* parts) {
  wait_for_inputs();
  const float4* grad4 = reinterpret_cast<const float4*>(grad);
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  double sum = 0;
  constexpr int kAtOnce = 4;  // loads under way
  for (int64_t i = thread; i < quads; i += kAtOnce * threads) {
    float4 v[kAtOnce] = {};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      if (i + k * threads < quads) v[k] = grad4[i + k * threads];
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      sum += (square(v[k].x) + square(v[k].y)) + (square(v[k].z) + square(v[k].w));
    }
  }
  for (int64_t i = quads * kQuad + thread; i < count; i += threads) sum += square(grad[i]);
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads)
    sum_squares_kernel(const double* parts, int count, double* out) {
  wait_for_inputs();
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) sum += parts[i];
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) *out = sum;
}

// ---- AdamW -----------------------------------------------------------------------------------

struct Update {
  int64_t count;
  const float* grad;
  float *value, *moment1, *moment2;
  bf16* copy;  // null where products are in fp32
  AdamW options;
  const StepState* state;
  const double* squared_norm;
  const LossSum* loss;
};

// Four elements where kWhole, else one.
template <bool kWhole>
struct Elements {
  static constexpr int kCount = kWhole ? kQuad : 1;
  float grad[kCount], value[kCount], moment1[kCount], moment2[kCount];

  __device__ __forceinline__ static void read(const float* from, float (&v)[kCount]) {
    if constexpr (kWhole) {
      const float4 quad = *reinterpret_cast<const float4*>(from);
      v[0] = quad.x, v[1] = quad.y, v[2] = quad.z, v[3] = quad.w;
    } else {
      v[0] = *from;
    }
  }
  __device__ __forceinline__ static void write(float* to, const float (&v)[kCount]) {
    if constexpr (kWhole) {
      *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
    } else {
      *to = v[0];
    }
  }

  __device__ __forceinline__ void load(const Update& op, int64_t i) {
    read(op.grad + i, grad);
    read(op.value + i, value);
    read(op.moment1 + i, moment1);
    read(op.moment2 + i, moment2);
  }
  __device__ __forceinline__ void update(const AdamWStep& step) {
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      adamw_update(step, grad[k], value[k], moment1[k], moment2[k]);
    }
  }
  __device__ __forceinline__ void store(const Update& op, int64_t i) const {
    write(op.value + i, value);
    write(op.moment1 + i, moment1);
    write(op.moment2 + i, moment2);
    if (!op.copy) return;
    if constexpr (kWhole) {
      *reinterpret_cast<uint2*>(op.copy + i) =
          make_uint2(pack2(value[0], value[1]), pack2(value[2], value[3]));
    } else {
      op.copy[i] = __float2bfloat16_rn(value[0]);
    }
  }
};

// One thread's work, and not to be inlined: its powers and cosine in fp64 would take registers from
// all others.
__device__ __noinline__ void make_step(const Update& op, AdamWStep* step) {
  *step = adamw_step(op.options, op.state->step, *op.squared_norm);
}

// Two quads a thread at a time, so that eight loads are under way.
template <bool kWhole>
__global__ void __launch_bounds__(kThreads, 3) adamw_kernel(const __grid_constant__ Update op) {
  wait_for_inputs();
  constexpr int kCount = Elements<kWhole>::kCount, kAtOnce = 2;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads * kCount;
  const int64_t end = op.count / kCount * kCount;
  int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kCount;
  Elements<kWhole> elements[kAtOnce];
  const auto load = [&] {
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      if (i + k * stride < end) elements[k].load(op, i + k * stride);
    }
  };
  load();
  if (op.state->stopped || !is_finite(*op.squared_norm) || !is_finite(op.loss->sum)) return;
  __shared__ AdamWStep shared_step;
  if (threadIdx.x == kThreads - 1) make_step(op, &shared_step);
  __syncthreads();
  const AdamWStep step = shared_step;
  while (i < end) {
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      if (i + k * stride >= end) continue;
      elements[k].update(step);
      elements[k].store(op, i + k * stride);
    }
    i += kAtOnce * stride;
    load();
  }
  // What is left of a quad.
  if (kWhole && blockIdx.x == 0 && threadIdx.x < op.count - end) {
    Elements<false> element;
    element.load(op, end + threadIdx.x);
    element.update(step);
    element.store(op, end + threadIdx.x);
  }
}

// ---- End of a step ---------------------------------------------------------------------------

__global__ void finish_step_kernel(const LossSum* loss, const double* squared_norm, int64_t batches,
                                   StepState* state, StepResult* results, int64_t capacity) {
  wait_for_inputs();
  finish_step(*loss, *squared_norm, batches, *state, results, capacity);
  __threadfence_system();  // results are the host's memory
}

}  // namespace

void CudaOps::squared_norm(const Mat& grad, double* out) {
  const Range range(device_, "squared_norm");
  join();  // the last gradients
  const int64_t count = grad.size();
  const int64_t quads = begins_on_16(grad.data) ? count / kQuad : 0;
  const auto blocks = static_cast<int>(std::clamp<int64_t>(ceil_div(count, kThreads * kQuad), 1,
                                                           int64_t{8} * gpu_.multiprocessors()));
  double* parts = gpu_.scratch<double>(blocks);
  launch(gpu_, "squared_norm", squares_kernel, static_cast<unsigned>(blocks), kThreads, 0,
         grad.data, quads, count, parts);
  launch(gpu_, "squared_norm", sum_squares_kernel, 1, kThreads, 0, parts, blocks, out);
}

void CudaOps::adamw(const Parameters& parameters, const AdamW& options, const StepState* state,
                    const double* squared_norm, const LossSum* loss) {
  const Range range(device_, "adamw");
  const Act& act = parameters.act;
  bf16* copy = act.element == sizeof(bf16) ? data<bf16>(act) : nullptr;
  const Update op{parameters.value.size(),
                  parameters.grad.data,
                  parameters.value.data,
                  parameters.moment1.data,
                  parameters.moment2.data,
                  copy,
                  options,
                  state,
                  squared_norm,
                  loss};
  const bool vectored = begins_on_16(op.grad) && begins_on_16(op.value) &&
                        begins_on_16(op.moment1) && begins_on_16(op.moment2) && begins_on_16(copy);
  const auto blocks = static_cast<unsigned>(std::clamp<int64_t>(
      ceil_div(op.count, kThreads * kQuad), 1, int64_t{3} * gpu_.multiprocessors()));
  launch(gpu_, "adamw", vectored ? adamw_kernel<true> : adamw_kernel<false>, blocks, kThreads, 0,
         op);
}

void CudaOps::finish_step(const LossSum* loss, const double* squared_norm, int64_t batches,
                          StepState* state, StepResult* results, int64_t capacity) {
  const Range range(device_, "finish_step");
  launch(gpu_, "finish_step", finish_step_kernel, 1, 1, 0, loss, squared_norm, batches, state,
         results, capacity);
}

}  // namespace gf::cuda
