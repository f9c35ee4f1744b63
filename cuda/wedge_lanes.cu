#include <cuda_pipeline_primitives.h>

#include <algorithm>

#include "wedge.cuh"

namespace gf::cuda {
namespace {

// Wedges of rows of r = 16 or 32 coordinates, 32 rows a block of four warps.
//
// First four threads share a row and look back: four lanes, or two times two that take every other
// pair. Then a lane is a row, with all of u and w in its registers, and a warp makes a part of its
// coordinates, or of P w or Pᵀ u. Rows of p and dp lie one behind the other in shared memory,
// chunks of eight coordinates, an odd number of 16 bytes a row in the case that counts (15 of r =
// 16 in bf16): neither the lanes of a warp nor those that carry chunks to or from memory meet a
// bank twice.
//
// Four heads of r = 16, 12 offsets, bf16: `wedge` reads 0.5 MB at M = 4096 (4.2 MB at 32768),
// writes 3.9 MB (31 MB), 1.5 µs (12 µs) at 3.0 TB/s, and issues some 2.4 M instructions of warps
// (19 M), 2.5 µs (20 µs) at four a cycle. `wedge_backward` reads 4.5 MB (36 MB), writes 12 MB (96
// MB), 5.5 µs (44 µs), and issues some 6.2 M (50 M), 6.7 µs (54 µs).

constexpr int kRows = kWarp;  // of a block
constexpr int kSharing = 4;   // threads of a row
constexpr int kThreads = kRows * kSharing;
constexpr int kParts = kThreads / kWarp;  // of the coordinates

template <int kReduced>
using Lanes = LaneRow<kReduced / kVector>;
template <int kReduced>
constexpr int kShares = kSharing / Lanes<kReduced>::kLanes;  // of a row's pairs
template <int kReduced>
constexpr int kChunks = kReduced*(kReduced - 1) / 2 / kVector;  // of a row
template <int kReduced>
constexpr int kBlocks = kReduced == 16 ? 4 : 2;  // at least so many a multiprocessor

template <int kReduced, class T>
struct Shared {
  T p[kRows][kChunks<kReduced> * kVector];  // or dp
  float rows[kRows][4 * kReduced + 4];      // u | w | P w | Pᵀ u, and 16 bytes
};

template <int kReduced, class T>
__device__ __forceinline__ Shared<kReduced, T>& shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return *reinterpret_cast<Shared<kReduced, T>*>(memory);
}

__device__ __forceinline__ int warp() {
  return static_cast<int>(threadIdx.x) / kWarp;
}
__device__ __forceinline__ int lane() {
  return static_cast<int>(threadIdx.x) % kWarp;
}

// Of the chunks of a row, cut into so many parts, calls body with the first coordinate of each in
// one of them as a constant. The part is the same in all of a warp.
template <int kReduced, int kCount, class Body>
__device__ __forceinline__ void for_part(int part, const Body& body) {
  constexpr int kMost = (kChunks<kReduced> + kCount - 1) / kCount;
  unrolled<kCount>([&](auto number) {
    constexpr int kBegin = decltype(number)::value * kMost;
    if (part != number) return;
    unrolled<std::min(kMost, kChunks<kReduced> - kBegin)>([&](auto i) {
      body(std::integral_constant<int, (kBegin + decltype(i)::value) * kVector>());
    });
  });
}

// ---- Between memory and shared memory ----------------------------------------------------------

// By all threads: body(place in p or dp, number among the block's) for each chunk of its rows. The
// chunks of a token's heads lie together.
template <int kReduced, class Body>
__device__ __forceinline__ void for_chunks(const Offsets& offsets, int first, int64_t ld,
                                           const Body& body) {
  const int of_token = offsets.heads * kChunks<kReduced>;
  const int chunks = min(kRows, offsets.rows - first) * kChunks<kReduced>;
  const int behind = first % offsets.heads * kChunks<kReduced> + static_cast<int>(threadIdx.x);
  int token = first / offsets.heads + behind / of_token, chunk = behind % of_token;
  for (int i = static_cast<int>(threadIdx.x); i < chunks; i += kThreads) {
    body(token * ld + chunk * kVector, i);
    token += kThreads / of_token;
    chunk += kThreads % of_token;
    if (chunk >= of_token) chunk -= of_token, ++token;
  }
}

// Begins to load rows of dp, which have arrived after __pipeline_wait_prior(0).
template <int kReduced, class T>
__device__ __forceinline__ void load_rows(const T* dp, int64_t ld, const Offsets& offsets,
                                          int first, Shared<kReduced, T>& shared) {
  constexpr int kPerCopy = 16 / sizeof(T);
  for_chunks<kReduced>(offsets, first, ld, [&](int64_t from, int i) {
#pragma unroll
    for (int k = 0; k < kVector; k += kPerCopy) {
      __pipeline_memcpy_async(&shared.p[0][i * kVector + k], dp + from + k, 16);
    }
  });
  __pipeline_commit();
}

template <int kReduced, class T>
__device__ __forceinline__ void store_rows(const Shared<kReduced, T>& shared,
                                           const Offsets& offsets, int first, T* p, int64_t ld) {
  for_chunks<kReduced>(offsets, first, ld, [&](int64_t to, int i) {
    *reinterpret_cast<Eight<T>*>(p + to) =
        *reinterpret_cast<const Eight<T>*>(&shared.p[0][i * kVector]);
  });
}

// ---- Rows --------------------------------------------------------------------------------------

// The row of this thread, among the block's and the matrix's; past the last one that.
template <int kReduced, class T>
struct Own {
  int place, row, token, head;
  Past<T> past;

  __device__ __forceinline__ Own(const T* z, int64_t ld, const Offsets& offsets, int first)
      : place(static_cast<int>(threadIdx.x) / kSharing),
        row(min(first + place, offsets.rows - 1)),
        token(row / offsets.heads),
        head(row - token * offsets.heads),
        past(z, ld, offsets, token, head) {}
};

// u | w of the block's rows.
template <bool kLearned, int kReduced, class T>
__device__ __forceinline__ void look_back(const T* z, int64_t ld, const Offsets& offsets, int first,
                                          Shared<kReduced, T>& shared) {
  const Own<kReduced, T> own(z, ld, offsets, first);
  Lanes<kReduced> u, w, e;
  look_back<kShares<kReduced>, kLearned>(own.past, offsets, u, w, e);
  u.store(shared.rows[own.place]);
  w.store(shared.rows[own.place] + kReduced);
}

// p of the block's rows, a part of its chunks by each warp.
template <int kReduced, class T>
__device__ __forceinline__ void make_wedges(Shared<kReduced, T>& shared) {
  float u[kReduced], w[kReduced];
  load_row(shared.rows[lane()], u);
  load_row(shared.rows[lane()] + kReduced, w);
  for_part<kReduced, kParts>(warp(), [&](auto at) {
    constexpr int kFirst = decltype(at)::value;
    float v[kVector];
    wedge_chunk<kFirst>(u, w, v);
    store8(shared.p[lane()] + kFirst, v);
  });
}

// Every other warp makes P w, the others P u, two of each with a half of the chunks.
constexpr int kHalves = kParts / 2;
__device__ __forceinline__ bool is_of_w() {
  return warp() % 2 == 0;
}
__device__ __forceinline__ int half() {
  return warp() / 2;
}

// y = what this warp's chunks of dp make of P w or P u.
template <int kReduced, class T>
__device__ __forceinline__ void contract(const Shared<kReduced, T>& shared, float (&y)[kReduced]) {
  float x[kReduced];
  load_row(shared.rows[lane()] + (is_of_w() ? kReduced : 0), x);
#pragma unroll
  for (int i = 0; i < kReduced; ++i) y[i] = 0;
  for_part<kReduced, kHalves>(half(), [&](auto at) {
    constexpr int kFirst = decltype(at)::value;
    float v[kVector];
    load8(shared.p[lane()] + kFirst, v);
    contract_chunk<kFirst>(v, x, y);
  });
}

// P w | Pᵀ u of the block's rows: the sum of both halves. Pᵀ u = -P u.
template <int kReduced, class T>
__device__ __forceinline__ void add_up(const float (&y)[kReduced], Shared<kReduced, T>& shared) {
  const float sign = is_of_w() ? 1.0f : -1.0f;
  auto* to = reinterpret_cast<float4*>(shared.rows[lane()] + (is_of_w() ? 2 : 3) * kReduced);
#pragma unroll
  for (int now = 0; now < kHalves; ++now) {
    if (now == half()) {
#pragma unroll
      for (int i = 0; i < kReduced / 4; ++i) {
        const float4 sum = now == 0 ? make_float4(0, 0, 0, 0) : to[i];
        to[i] = make_float4(fmaf(sign, y[4 * i], sum.x), fmaf(sign, y[4 * i + 1], sum.y),
                            fmaf(sign, y[4 * i + 2], sum.z), fmaf(sign, y[4 * i + 3], sum.w));
      }
    }
    __syncthreads();
  }
}

// ---- Kernels -----------------------------------------------------------------------------------

template <int kReduced, bool kLearned, class T>
__global__ void __launch_bounds__(kThreads, kBlocks<kReduced>)
    lanes_kernel(const T* z, int64_t ldz, const __grid_constant__ Offsets offsets, T* p,
                 int64_t ldp) {
  wait_for_inputs();
  auto& shared = shared_memory<kReduced, T>();
  const int first = static_cast<int>(blockIdx.x) * kRows;
  look_back<kLearned>(z, ldz, offsets, first, shared);
  __syncthreads();
  make_wedges(shared);
  __syncthreads();
  store_rows(shared, offsets, first, p, ldp);
}

template <int kReduced, bool kLearned, class T>
__global__ void __launch_bounds__(kThreads, kBlocks<kReduced>)
    lanes_backward_kernel(const T* z, int64_t ldz, const __grid_constant__ Offsets offsets,
                          const T* dp, int64_t lddp, T* p, int64_t ldp, const PairGradients to) {
  wait_for_inputs();
  auto& shared = shared_memory<kReduced, T>();
  const int first = static_cast<int>(blockIdx.x) * kRows;
  load_rows(dp, lddp, offsets, first, shared);
  look_back<kLearned>(z, ldz, offsets, first, shared);
  __pipeline_wait_prior(0);
  __syncthreads();
  float y[kReduced];
  contract(shared, y);
  add_up(y, shared);
  make_wedges(shared);  // dp has been read
  __syncthreads();
  store_rows(shared, offsets, first, p, ldp);
  const Own<kReduced, T> own(z, ldz, offsets, first);
  Lanes<kReduced> u, e[Lanes<kReduced>::kAtOnce], dv[Lanes<kReduced>::kAtOnce], du;
  pass_back<kShares<kReduced>, kLearned>(
      own.past, offsets, own.row, own.head * (offsets.rows / offsets.heads) + own.token,
      first + own.place < offsets.rows, shared.rows[own.place] + 2 * kReduced, to, u, e, dv, du);
}

// Calls body with r as a constant, if it is one of these and all rows are aligned, whether weights
// are learned, and a value of the element of z.
template <class Body>
bool with_instance(const Offsets& offsets, const Act& z, bool is_aligned, const Body& body) {
  const auto with_reduced = [&](auto reduced) {
    with_weights_and_element(
        offsets, z, [&](auto is_learned, auto element) { body(reduced, is_learned, element); });
    return true;
  };
  if (!is_aligned) return false;
  if (offsets.reduced == 16) return with_reduced(std::integral_constant<int, 16>());
  return offsets.reduced == 32 && with_reduced(std::integral_constant<int, 32>());
}

template <int kReduced, class T, class... Parameters, class... Arguments>
void launch_lanes(Gpu& gpu, const char* what, const Offsets& offsets, void (*kernel)(Parameters...),
                  Arguments&&... arguments) {
  constexpr size_t kBytes = sizeof(Shared<kReduced, T>);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(kBytes)),
        what);
  launch(gpu, what, kernel, static_cast<unsigned>(ceil_div(offsets.rows, kRows)), kThreads, kBytes,
         std::forward<Arguments>(arguments)...);
}

}  // namespace

bool wedge_lanes(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& p) {
  const bool is_aligned = is_vectored(z) && is_vectored(p);
  return with_instance(offsets, z, is_aligned, [&](auto reduced, auto is_learned, auto element) {
    using T = decltype(element);
    constexpr int kReduced = decltype(reduced)::value;
    constexpr bool kLearned = decltype(is_learned)::value;
    launch_lanes<kReduced, T>(gpu, "wedge", offsets, lanes_kernel<kReduced, kLearned, T>,
                              data<const T>(z), z.ld, offsets, data<T>(p), p.ld);
  });
}

bool wedge_lanes_backward(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& dp,
                          const Act& p, const PairGradients& to) {
  const bool is_aligned = is_vectored(z) && is_vectored(dp) && is_vectored(p);
  return with_instance(offsets, z, is_aligned, [&](auto reduced, auto is_learned, auto element) {
    using T = decltype(element);
    constexpr int kReduced = decltype(reduced)::value;
    constexpr bool kLearned = decltype(is_learned)::value;
    launch_lanes<kReduced, T>(gpu, "wedge_backward", offsets,
                              lanes_backward_kernel<kReduced, kLearned, T>, data<const T>(z), z.ld,
                              offsets, data<const T>(dp), dp.ld, data<T>(p), p.ld, to);
  });
}

}  // namespace gf::cuda
