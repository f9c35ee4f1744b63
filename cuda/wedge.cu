#include "wedge.cuh"

#include <algorithm>

namespace gf::cuda {
namespace {

// At r = 32 a warp takes eight tokens, four lanes each; at any other r, or where rows are not
// aligned, one token. What the tokens of a warp share lies in shared memory: for every token its
// rows u, w and y, which all lanes read, and in a SharedRow's case the workspace rows behind them.
//
// At the study's shape in bf16 (M = 4096, r = 32, six offsets) `wedge` reads 0.26 MB and writes 4.1
// MB, `wedge_backward` reads 4.3 MB and writes 3.7 MB, `wedge_gather` reads 3.7 MB and writes 0.26
// MB: 1 µs or less each, so that the launch and the latency of a chain of loads decide.

constexpr int kMaxWarps = 4;
constexpr size_t kDefaultShared = size_t{48} << 10;

template <class Row>
constexpr int kTokens = kWarp / Row::kLanes;

constexpr int kTokenRows = 4;  // u | w | y, which is two

// Rows of shared memory a warp has: those of its tokens, and e and dv of a SharedRow.
template <class Row>
constexpr int kRows = std::is_same_v<Row, SharedRow> ? kTokenRows + 2 : kTokenRows* kTokens<Row>;

// The place of a warp's k-th row of floats.
template <class Row>
__device__ __forceinline__ float* shared_row(int k, int r) {
  extern __shared__ __align__(16) float shared[];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  return shared + static_cast<int64_t>(warp * kRows<Row> + k) * r;
}

template <class Row>
__device__ __forceinline__ Row make_row(int k, int r) {
  if constexpr (std::is_same_v<Row, SharedRow>) {
    return {shared_row<Row>(k, r), r};
  } else {
    return {};
  }
}

template <class Row>
__device__ __forceinline__ int first_token() {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = blockDim.x / kWarp;
  return (static_cast<int>(blockIdx.x) * warps + warp) * kTokens<Row>;
}

// The token of this thread among those of its warp.
template <class Row>
__device__ __forceinline__ int own_token() {
  return static_cast<int>(threadIdx.x) % kWarp / Row::kLanes;
}

// Calls body(row, u | w | y) for each token of this warp, with u and w in place.
template <class Row, class T, class Body>
__device__ __forceinline__ void for_tokens(const T* z, int64_t ld, const Offsets& offsets,
                                           const Body& body) {
  const int r = offsets.reduced, first = first_token<Row>(), token = own_token<Row>();
  Row u = make_row<Row>(0, r), w = make_row<Row>(1, r), e = make_row<Row>(kTokenRows, r);
  look_back<1>(z, ld, offsets, min(first + token, offsets.rows - 1), u, w, e);
  if constexpr (!std::is_same_v<Row, SharedRow>) {
    u.store(shared_row<Row>(kTokenRows * token, r));
    w.store(shared_row<Row>(kTokenRows * token + 1, r));
  }
  __syncwarp();
  for (int i = 0; i < kTokens<Row> && first + i < offsets.rows; ++i) {
    body(first + i, shared_row<Row>(kTokenRows * i, r));
  }
}

template <class Row, class T>
__global__ void wedge_kernel(const T* z, int64_t ldz, const __grid_constant__ Offsets offsets, T* p,
                             int64_t ldp) {
  wait_for_inputs();
  const int r = offsets.reduced, lane = static_cast<int>(threadIdx.x) % kWarp;
  for_tokens<Row>(z, ldz, offsets, [&](int row, const float* u) {
    const float* w = u + r;
    T* to = p + row * ldp;
    for (int i = 0; i < r; to += r - ++i) {
      for (int j = i + 1 + lane; j < r; j += kWarp) {
        to[j - i - 1] = from_float<T>(fmaf(u[i], w[j], -u[j] * w[i]));
      }
    }
  });
}

template <class Row, class T>
__global__ void backward_kernel(const T* z, int64_t ldz, const __grid_constant__ Offsets offsets,
                                const T* dp, int64_t lddp, const PairGradients to) {
  wait_for_inputs();
  const int r = offsets.reduced, lane = static_cast<int>(threadIdx.x) % kWarp;
  for_tokens<Row>(z, ldz, offsets, [&](int row, float* u) {
    const float* w = u + r;
    float* y = u + 2 * r;
    const T* from = dp + row * lddp;
    for (int i = lane; i < r; i += kWarp) {
      float du = 0, dw = 0;
      for (int j = 0; j < r; ++j) {
        const int low = min(i, j), high = max(i, j);
        if (low == high) continue;
        const float x = to_float(from[low * (2 * r - low - 1) / 2 + high - low - 1]);
        const float P = i < j ? x : -x;
        du = fmaf(P, w[j], du);
        dw = fmaf(-P, u[j], dw);
      }
      y[i] = du;
      y[r + i] = dw;
    }
  });
  __syncwarp();
  const int token = own_token<Row>(), row = first_token<Row>() + token;
  Row u = make_row<Row>(0, r), du = make_row<Row>(1, r);
  Row e[Row::kAtOnce] = {make_row<Row>(kTokenRows, r)};
  Row dv[Row::kAtOnce] = {make_row<Row>(kTokenRows + 1, r)};
  pass_back<1>(z, ldz, offsets, min(row, offsets.rows - 1), row < offsets.rows,
               shared_row<Row>(kTokenRows * token + 2, r), to, u, e, dv, du);
}

constexpr int kGatherRows = 8;  // of a block, a warp each

template <class T>
__global__ void __launch_bounds__(kGatherRows* kWarp)
    gather_kernel(const __grid_constant__ Offsets offsets, const PairGradients from, T* dz,
                  int64_t ld) {
  wait_for_inputs();
  const int r = offsets.reduced, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int row = static_cast<int>(blockIdx.x) * kGatherRows + threadIdx.x / kWarp;
  if (row >= offsets.rows) return;
  const int after = offsets.length - offsets.position(row);
  for (int j = lane; j < r; j += kWarp) {
    const int64_t at = int64_t{row} * r + j;
    float sum = from.du[at];
#pragma unroll 6
    for (int k = 0; k < offsets.count; ++k) {
      const int offset = offsets.at[k];
      const float* dv = from.dv + (int64_t{k} * offsets.rows + offset) * r;
      sum += offset < after ? dv[at] : 0.0f;
    }
    dz[row * ld + j] = from_float<T>(sum);
  }
}

template <class Body>
void with_row(bool is_aligned, const Offsets& offsets, const Body& body) {
  if (is_aligned && offsets.reduced == LaneRow::kLanes * kVector) {
    body(LaneRow());
  } else {
    body(SharedRow());
  }
}

template <class Row, class... Parameters, class... Arguments>
void launch_rows(Gpu& gpu, const char* what, const Offsets& offsets, void (*kernel)(Parameters...),
                 Arguments&&... arguments) {
  const size_t warp_bytes = sizeof(float) * static_cast<size_t>(kRows<Row> * offsets.reduced);
  const int warps = static_cast<int>(std::clamp<size_t>(kDefaultShared / warp_bytes, 1, kMaxWarps));
  const size_t bytes = warp_bytes * static_cast<size_t>(warps);
  if (bytes > kDefaultShared) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(bytes)),
          what);
  }
  launch(gpu, what, kernel,
         static_cast<unsigned>(ceil_div(offsets.rows, int64_t{warps} * kTokens<Row>)),
         static_cast<unsigned>(warps * kWarp), bytes, std::forward<Arguments>(arguments)...);
}

}  // namespace

Offsets::Offsets(const Act& z, int64_t sequence_length, std::span<const int32_t> windows)
    : rows(static_cast<int32_t>(z.rows)),
      length(static_cast<int32_t>(sequence_length)),
      reduced(static_cast<int32_t>(z.cols)),
      count(static_cast<int32_t>(windows.size())),
      at{} {
  if (windows.size() > kMaxWindows) {
    throw_error(GF_ERROR_UNSUPPORTED, "a layer has %d windows, expected at most %d", count,
                kMaxWindows);
  }
  std::copy(windows.begin(), windows.end(), at);
  std::sort(at, at + count);
}

void wedge(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& p) {
  with_element(z, [&](auto element) {
    using T = decltype(element);
    with_row(is_vectored(z), offsets, [&](auto row) {
      using Row = decltype(row);
      launch_rows<Row>(gpu, "wedge", offsets, wedge_kernel<Row, T>, data<const T>(z), z.ld, offsets,
                       data<T>(p), p.ld);
    });
  });
}

void wedge_backward(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& dp,
                    const PairGradients& to) {
  with_element(z, [&](auto element) {
    using T = decltype(element);
    with_row(is_vectored(z), offsets, [&](auto row) {
      using Row = decltype(row);
      launch_rows<Row>(gpu, "wedge_backward", offsets, backward_kernel<Row, T>, data<const T>(z),
                       z.ld, offsets, data<const T>(dp), dp.ld, to);
    });
  });
}

void wedge_gather(Gpu& gpu, const Offsets& offsets, const PairGradients& from, const Act& dz) {
  with_element(dz, [&](auto element) {
    using T = decltype(element);
    launch(gpu, "wedge_gather", gather_kernel<T>,
           static_cast<unsigned>(ceil_div(offsets.rows, kGatherRows)), kGatherRows * kWarp, 0,
           offsets, from, data<T>(dz), dz.ld);
  });
}

}  // namespace gf::cuda
