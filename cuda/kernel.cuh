#pragma once

// What kernels are written with: elements of both precisions, eight at a time, reductions of a
// fixed order, dropout, and the launch.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "gpu.h"
#include "math.h"
#include "ops.h"

namespace gf::cuda {

using bf16 = __nv_bfloat16;

inline constexpr int kWarp = 32;
inline constexpr int kVector = 8;  // elements that a thread takes at a time, where it can

// The shape of a cluster of blocks, a part of its kernel: from sm_90 on, and in the pass for the
// host.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define GF_CLUSTER(x, z) __cluster_dims__(x, 1, z)
#else
#define GF_CLUSTER(x, z)
#endif

// ---- Launch ----------------------------------------------------------------------------------

// Every kernel calls this before it touches memory: from sm_90 on a kernel may start while the one
// before it in the stream still runs (programmatic dependent launch), and here waits for its
// results; then the one behind it may start.
__device__ __forceinline__ void wait_for_inputs() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait; griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// `what` names the kernel in the text of an error.
template <class... Parameters, class... Arguments>
void launch(Gpu& gpu, const char* what, void (*kernel)(Parameters...), dim3 blocks, dim3 threads,
            size_t shared_bytes, Arguments&&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = gpu.stream();
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlap;
  config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), what);
}

// Calls body(T()) with the element type of an Act.
template <class Body>
void with_element(const Act& act, const Body& body) {
  if (act.element == sizeof(bf16)) {
    body(bf16());
  } else {
    body(float());
  }
}

template <class T>
T* data(const Act& act) {
  return reinterpret_cast<T*>(act.data);
}

// Whether rows begin on 16 bytes and are made of whole vectors. What does not is taken one element
// at a time.
inline bool is_vectored(const Mat& m) {
  return reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && m.ld % 4 == 0 && m.cols % kVector == 0;
}
inline bool is_vectored(const Act& a) {
  return reinterpret_cast<uintptr_t>(a.data) % 16 == 0 && a.ld * a.element % 16 == 0 &&
         a.cols % kVector == 0;
}

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// ---- Elements --------------------------------------------------------------------------------

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(bf16 x) {
  return __bfloat162float(x);
}
template <class T>
__device__ __forceinline__ T from_float(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return __float2bfloat16_rn(x);
  }
}

// Eight elements that begin on 16 bytes, as they lie in memory.
template <class T>
struct Eight;
template <>
struct Eight<float> {
  float4 low, high;

  Eight() = default;
  __device__ __forceinline__ explicit Eight(const float* from)
      : low(reinterpret_cast<const float4*>(from)[0]),
        high(reinterpret_cast<const float4*>(from)[1]) {}
  __device__ __forceinline__ void unpack(float (&v)[kVector]) const {
    v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
    v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
  }
};
template <>
struct Eight<bf16> {
  uint4 words;

  Eight() = default;
  __device__ __forceinline__ explicit Eight(const bf16* from)
      : words(*reinterpret_cast<const uint4*>(from)) {}
  __device__ __forceinline__ void unpack(float (&v)[kVector]) const {
    const uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[2 * i] = __uint_as_float(pairs[i] << 16);
      v[2 * i + 1] = __uint_as_float(pairs[i] & 0xFFFF0000u);
    }
  }
};
template <class T>
__device__ __forceinline__ void load8(const T* from, float (&v)[kVector]) {
  Eight<T>(from).unpack(v);
}
__device__ __forceinline__ void unpack(const uint4& words, float (&v)[kVector]) {
  Eight<bf16> eight;
  eight.words = words;
  eight.unpack(v);
}
__device__ __forceinline__ uint32_t pack2(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ __forceinline__ uint4 packed(const float (&v)[kVector]) {
  return make_uint4(pack2(v[0], v[1]), pack2(v[2], v[3]), pack2(v[4], v[5]), pack2(v[6], v[7]));
}
__device__ __forceinline__ void store8(float* to, const float (&v)[kVector]) {
  reinterpret_cast<float4*>(to)[0] = make_float4(v[0], v[1], v[2], v[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(v[4], v[5], v[6], v[7]);
}
__device__ __forceinline__ void store8(bf16* to, const float (&v)[kVector]) {
  *reinterpret_cast<uint4*>(to) = packed(v);
}

// The same for up to eight elements, wherever they begin; the others are 0 or not written.
template <bool kWhole, class T>
__device__ __forceinline__ void load(const T* from, int64_t count, float (&v)[kVector]) {
  if constexpr (kWhole) {
    load8(from, v);
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = i < count ? to_float(from[i]) : 0.0f;
  }
}
template <bool kWhole, class T>
__device__ __forceinline__ void store(T* to, int64_t count, const float (&v)[kVector]) {
  if constexpr (kWhole) {
    store8(to, v);
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      if (i < count) to[i] = from_float<T>(v[i]);
    }
  }
}

// ---- Exponentials ----------------------------------------------------------------------------

inline constexpr float kLog2e = 1.44269504f;

// 2^x to a relative error of 2^-22, far below the rounding of what it is for to bf16; what is below
// 2^-126 becomes 0.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// ---- Reductions ------------------------------------------------------------------------------

// The sum over a warp, in every lane.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, lane);
  return x;
}
__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, lane);
  return x;
}

// The sum over a block of kThreads, warp by warp; for all of its threads, once in a kernel.
template <int kThreads>
__device__ __forceinline__ double block_sum(double sum) {
  __shared__ double of_warps[kThreads / kWarp];
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = sum;
  __syncthreads();
  sum = 0;
  for (const double of_warp : of_warps) sum += of_warp;
  return sum;
}

// ---- Dropout ---------------------------------------------------------------------------------
// The rule stands in math.h.

// Factors of the elements first to first + 7; kWhole: first is a multiple of 8.
template <bool kWhole>
__device__ __forceinline__ void dropout8(const Dropout& dropout, int64_t first,
                                         float (&factor)[kVector]) {
  if (dropout.threshold == 0) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) factor[i] = 1.0f;
    return;
  }
  const uint64_t seed = dropout.state->seed, step = static_cast<uint64_t>(dropout.state->step);
  const float scale = dropout_scale(dropout.threshold);
  const int offset = kWhole ? 0 : static_cast<int>(first & 7);
  const uint64_t block = static_cast<uint64_t>(first) >> 3;
  const Bits4 low = random_bits(seed, step, dropout.site, block);
  Bits4 high = {};
  if (!kWhole && offset > 0) high = random_bits(seed, step, dropout.site, block + 1);
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const int word = i + offset;
    const uint32_t pair =
        kWhole ? low.v[i / 2] : (word < 8 ? low.v[word / 2] : high.v[(word - 8) / 2]);
    // Compared where it stands in the pair: the half below it does not count.
    const uint32_t bits = word & 1 ? pair : pair << 16;
    factor[i] = bits <= (dropout.threshold << 16) - 1 ? 0.0f : scale;
  }
}

// A dropout site whose seed and step are read once.
struct LocalDropout {
  uint32_t threshold, site;
  StepState state;

  __device__ explicit LocalDropout(const Dropout& from)
      : threshold(from.threshold), site(from.site) {
    if (threshold == 0) return;
    state.seed = from.state->seed;
    state.step = from.state->step;
  }
  // As dropout8.
  template <bool kWhole = true>
  __device__ __forceinline__ void factors(int64_t first, float (&factor)[kVector]) const {
    const Dropout here = {threshold, site, &state};
    dropout8<kWhole>(here, first, factor);
  }
};

// ---- Sums over rows --------------------------------------------------------------------------
// Vectors that are sums over all rows of a batch (biases, gains) are made in two steps of a fixed
// order: a kernel of at most kMaxParts blocks adds up rows and leaves one row of `parts` a block,
// and sum_parts adds those up.

inline constexpr int kMaxParts = 264;

// to[k][j] = sum over i of parts[i, k * cols + j], for the `vectors` targets k.
struct SumTargets {
  float* to[4];
};
void sum_parts(Gpu& gpu, const float* parts, int64_t count, int64_t vectors, int64_t cols,
               const SumTargets& targets);

}  // namespace gf::cuda
