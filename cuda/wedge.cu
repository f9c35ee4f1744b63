#include "wedge.cuh"

#include <algorithm>
#include <bit>
#include <numeric>

namespace gf::cuda {
namespace {

// Wedges of rows of any r: a warp takes a row, which lies in shared memory with what is made of it.

constexpr int kMaxWarps = 4;
constexpr size_t kDefaultShared = size_t{48} << 10;

// Rows of shared memory that a warp has.
enum Place { kU, kW, kY, kE = kY + 2, kDv, kPlaces };

__device__ __forceinline__ int lane() {
  return static_cast<int>(threadIdx.x) % kWarp;
}

__device__ __forceinline__ SharedRow shared_row(int place, int r) {
  extern __shared__ __align__(16) float shared[];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  return {shared + static_cast<int64_t>(warp * kPlaces + place) * r, r};
}

// Of this warp.
__device__ __forceinline__ int own_row() {
  return static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / kWarp);
}

// Where each row's coordinates begin, its head's behind those of the heads before.
template <class T>
struct Coordinates {
  T* data;
  int64_t ld;

  __device__ __forceinline__ T* of(int token, int head, int r) const {
    return data + token * ld + static_cast<int64_t>(head) * (r * (r - 1) / 2);
  }
};

// p of a row, whose u and w are in place.
template <class T>
__device__ __forceinline__ void put_wedge(int r, T* to) {
  const float *u = shared_row(kU, r).v, *w = shared_row(kW, r).v;
  for (int i = 0; i < r; to += r - ++i) {
    for (int j = i + 1 + lane(); j < r; j += kWarp) {
      to[j - i - 1] = from_float<T>(fmaf(u[i], w[j], -u[j] * w[i]));
    }
  }
}

// P w | Pᵀ u of such a row.
template <class T>
__device__ __forceinline__ void contract(int r, const T* dp) {
  const float *u = shared_row(kU, r).v, *w = shared_row(kW, r).v;
  float* y = shared_row(kY, r).v;
  for (int i = lane(); i < r; i += kWarp) {
    float du = 0, dw = 0;
    for (int j = 0; j < r; ++j) {
      const int low = min(i, j), high = max(i, j);
      if (low == high) continue;
      const float x = to_float(dp[low * (2 * r - low - 1) / 2 + high - low - 1]);
      const float P = i < j ? x : -x;
      du = fmaf(P, w[j], du);
      dw = fmaf(-P, u[j], dw);
    }
    y[i] = du;
    y[r + i] = dw;
  }
}

template <bool kLearned, class T>
__global__ void wedge_kernel(const T* z, int64_t ldz, const __grid_constant__ Offsets offsets,
                             const Coordinates<T> p) {
  wait_for_inputs();
  const int r = offsets.reduced, row = own_row();
  if (row >= offsets.rows) return;  // all of a warp
  const int token = row / offsets.heads, head = row % offsets.heads;
  const Past<T> past(z, ldz, offsets, token, head);
  SharedRow u = shared_row(kU, r), w = shared_row(kW, r), e = shared_row(kE, r);
  look_back<1, kLearned>(past, offsets, u, w, e);
  __syncwarp();
  put_wedge(r, p.of(token, head, r));
}

template <bool kLearned, class T>
__global__ void backward_kernel(const T* z, int64_t ldz, const __grid_constant__ Offsets offsets,
                                const Coordinates<const T> dp, const Coordinates<T> p,
                                const PairGradients to) {
  wait_for_inputs();
  const int r = offsets.reduced, row = own_row();
  if (row >= offsets.rows) return;  // all of a warp
  const int token = row / offsets.heads, head = row % offsets.heads;
  const Past<T> past(z, ldz, offsets, token, head);
  SharedRow u = shared_row(kU, r), w = shared_row(kW, r);
  SharedRow e[] = {shared_row(kE, r)}, dv[] = {shared_row(kDv, r)};
  look_back<1, kLearned>(past, offsets, u, w, e[0]);
  __syncwarp();
  put_wedge(r, p.of(token, head, r));
  contract(r, dp.of(token, head, r));
  __syncwarp();
  // What is in the places of u and w is wanted no more.
  pass_back<1, kLearned>(past, offsets, row, head * (offsets.rows / offsets.heads) + token, true,
                         shared_row(kY, r).v, to, u, e, dv, w);
}

// A thread takes eight coordinates of a row at a time, threadIdx.y is the row among the block's.
constexpr int kGatherThreads = 128;
constexpr int kGatherAtOnce = 6;  // loads on their way

// dv is read once: in bf16 at the study's shape (M = 4096, r = 32, six offsets) 1.6 MB, 0.5 µs. Of
// four heads of r = 16 and 12 offsets it is 6.3 MB at M = 4096, which the L2 cache still has, and
// 50 MB, 17 µs, at M = 32768.
template <bool kWhole, class T>
__global__ void __launch_bounds__(kGatherThreads, 6)
    gather_kernel(const __grid_constant__ Offsets offsets, const PairGradients from, T* dz,
                  int64_t ld) {
  wait_for_inputs();
  const int r = offsets.reduced, heads = offsets.heads;
  const int row = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  if (row >= offsets.rows) return;
  const int token = row / heads, head = row - token * heads;
  const int after = offsets.length - offsets.position(token);
  for (int j = static_cast<int>(threadIdx.x) * kVector; j < r; j += blockDim.x * kVector) {
    float sum[kVector];
    load<kWhole>(from.du + int64_t{row} * r + j, r - j, sum);
    for (int first = 0; first < offsets.count; first += kGatherAtOnce) {
      float v[kGatherAtOnce][kVector] = {};
#pragma unroll
      for (int i = 0; i < kGatherAtOnce; ++i) {
        const int k = first + i, offset = k < offsets.count ? offsets.at[k] : offsets.length;
        const int64_t by = int64_t{k} * offsets.rows + row + int64_t{offset} * heads;
        if (offset < after) load<kWhole>(static_cast<const T*>(from.dv) + by * r + j, r - j, v[i]);
      }
#pragma unroll
      for (int i = 0; i < kGatherAtOnce; ++i) {
#pragma unroll
        for (int at = 0; at < kVector; ++at) sum[at] += v[i][at];
      }
    }
    store<kWhole>(dz + token * ld + head * r + j, r - j, sum);
  }
}

constexpr int kSumThreads = 512;

// A block adds up one weight's da over the tokens. Of four heads and 12 offsets 48 blocks read 0.8
// MB at M = 4096 and 6.3 MB at M = 32768, 131 KB each, some 3 µs beside what follows.
__global__ void __launch_bounds__(kSumThreads)
    weights_kernel(const __grid_constant__ Offsets offsets, const float* da, float* weight) {
  wait_for_inputs();
  const int k = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  const int tokens = offsets.rows / offsets.heads;
  const float* from = da + (int64_t{k} * offsets.heads + head) * tokens;
  float sum = 0;
#pragma unroll 8
  for (int i = static_cast<int>(threadIdx.x); i < tokens; i += kSumThreads) sum += from[i];
  const double total = block_sum<kSumThreads>(sum);
  if (threadIdx.x != 0) return;
  weight[int64_t{head} * offsets.count + offsets.listed[k]] = static_cast<float>(total);
}

template <class... Parameters, class... Arguments>
void launch_rows(Gpu& gpu, const char* what, const Offsets& offsets, void (*kernel)(Parameters...),
                 Arguments&&... arguments) {
  const size_t warp_bytes = sizeof(float) * static_cast<size_t>(kPlaces * offsets.reduced);
  const int warps = static_cast<int>(std::clamp<size_t>(kDefaultShared / warp_bytes, 1, kMaxWarps));
  const size_t bytes = warp_bytes * static_cast<size_t>(warps);
  if (bytes > kDefaultShared) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(bytes)),
          what);
  }
  launch(gpu, what, kernel, static_cast<unsigned>(ceil_div(offsets.rows, warps)),
         static_cast<unsigned>(warps * kWarp), bytes, std::forward<Arguments>(arguments)...);
}

template <bool kWhole>
void launch_gather(Gpu& gpu, const Offsets& offsets, const PairGradients& from, const Act& dz) {
  const auto vectors = static_cast<unsigned>(ceil_div(offsets.reduced, kVector));
  const unsigned lanes = std::min(std::bit_ceil(vectors), unsigned{kWarp});
  const unsigned rows = kGatherThreads / lanes;
  with_element(dz, [&](auto element) {
    using T = decltype(element);
    launch(gpu, "wedge_gather", gather_kernel<kWhole, T>,
           static_cast<unsigned>(ceil_div(offsets.rows, rows)), dim3(lanes, rows), 0, offsets, from,
           data<T>(dz), dz.ld);
  });
}

}  // namespace

Offsets::Offsets(const Act& z, int64_t sequence_length, const Windows& windows)
    : rows(static_cast<int32_t>(z.rows * windows.heads)),
      length(static_cast<int32_t>(sequence_length)),
      heads(static_cast<int32_t>(windows.heads)),
      reduced(static_cast<int32_t>(z.cols / windows.heads)),
      count(static_cast<int32_t>(windows.offsets.size())),
      at{},
      listed{},
      weight(windows.is_learned() ? windows.weight.value.data : nullptr) {
  if (windows.offsets.size() > kMaxWindows) {
    throw_error(GF_ERROR_UNSUPPORTED, "a layer has %d windows, expected at most %d", count,
                kMaxWindows);
  }
  std::iota(listed, listed + count, uint8_t{0});
  std::stable_sort(listed, listed + count,
                   [&](uint8_t a, uint8_t b) { return windows.offsets[a] < windows.offsets[b]; });
  std::transform(listed, listed + count, at, [&](uint8_t k) { return windows.offsets[k]; });
}

void wedge(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& p) {
  if (wedge_lanes(gpu, z, offsets, p)) return;
  with_weights_and_element(offsets, z, [&](auto is_learned, auto element) {
    using T = decltype(element);
    launch_rows(gpu, "wedge", offsets, wedge_kernel<decltype(is_learned)::value, T>,
                data<const T>(z), z.ld, offsets, Coordinates<T>{data<T>(p), p.ld});
  });
}

void wedge_backward(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& dp, const Act& p,
                    const PairGradients& to) {
  if (wedge_lanes_backward(gpu, z, offsets, dp, p, to)) return;
  with_weights_and_element(offsets, z, [&](auto is_learned, auto element) {
    using T = decltype(element);
    launch_rows(gpu, "wedge_backward", offsets, backward_kernel<decltype(is_learned)::value, T>,
                data<const T>(z), z.ld, offsets, Coordinates<const T>{data<const T>(dp), dp.ld},
                Coordinates<T>{data<T>(p), p.ld}, to);
  });
}

void wedge_gather(Gpu& gpu, const Offsets& offsets, const PairGradients& from, const Act& dz) {
  if (is_vectored(dz) && offsets.reduced % kVector == 0) {
    launch_gather<true>(gpu, offsets, from, dz);
  } else {
    launch_gather<false>(gpu, offsets, from, dz);
  }
}

void wedge_weights(Gpu& gpu, const Offsets& offsets, const float* da, const Mat& weight) {
  launch(gpu, "wedge_weights", weights_kernel,
         dim3(static_cast<unsigned>(offsets.count), static_cast<unsigned>(offsets.heads)),
         kSumThreads, 0, offsets, da, weight.data);
}

}  // namespace gf::cuda
