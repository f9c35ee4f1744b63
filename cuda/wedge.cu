#include "wedge.cuh"

#include <algorithm>

namespace gf::cuda {
namespace {

// At r = 32 a warp takes eight tokens, four lanes each; at any other r, or where rows are not
// aligned, one token. What the tokens of a warp share lies in shared memory: for every token its
// rows u and w, which all lanes read, and in a SharedRow's case the workspace rows behind them.
//
// At the study's shape in bf16 (M = 4096, r = 32, six offsets) `wedge` reads 0.26 MB and writes 4.1
// MB, `wedge_contract` reads 4.3 MB and writes 1.0 MB, `wedge_gradient` reads 1.3 or 2.4 MB (rows
// of z 13 times, out of the caches) and writes 0.26 MB: 1 µs or less each, so that the launch and
// the latency of a chain of loads decide.

constexpr int kMaxWarps = 4;
constexpr size_t kDefaultShared = size_t{48} << 10;

template <class Row>
constexpr int kTokens = kWarp / Row::kLanes;

// The place of a warp's k-th row of floats.
__device__ __forceinline__ float* shared_row(int rows_per_warp, int k, int r) {
  extern __shared__ __align__(16) float shared[];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  return shared + static_cast<int64_t>(warp * rows_per_warp + k) * r;
}

template <class Row>
__device__ __forceinline__ Row make_row(int rows_per_warp, int k, int r) {
  if constexpr (std::is_same_v<Row, SharedRow>) {
    return {shared_row(rows_per_warp, k, r), r};
  } else {
    return {};
  }
}

__device__ __forceinline__ int first_token(int tokens) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = blockDim.x / kWarp;
  return (static_cast<int>(blockIdx.x) * warps + warp) * tokens;
}

// Rows of shared memory a warp of wedge_kernel and contract_kernel has: u, w of each token, e.
template <class Row>
constexpr int kWedgeRows = std::is_same_v<Row, SharedRow> ? 3 : 2 * kTokens<Row>;

// Calls body(row, u, w) for each token of this warp, with u and w in shared memory.
template <class Row, class T, class Body>
__device__ __forceinline__ void for_tokens(const T* z, int64_t ld, const Offsets& offsets,
                                           const Body& body) {
  constexpr int kRows = kWedgeRows<Row>;
  const int r = offsets.reduced, first = first_token(kTokens<Row>);
  const int token = static_cast<int>(threadIdx.x) % kWarp / Row::kLanes;
  Row u = make_row<Row>(kRows, 0, r), w = make_row<Row>(kRows, 1, r),
      e = make_row<Row>(kRows, 2, r);
  look_back(z, ld, offsets, min(first + token, offsets.rows - 1), u, w, e);
  if constexpr (!std::is_same_v<Row, SharedRow>) {
    u.store(shared_row(kRows, 2 * token, r));
    w.store(shared_row(kRows, 2 * token + 1, r));
  }
  __syncwarp();
  for (int i = 0; i < kTokens<Row> && first + i < offsets.rows; ++i) {
    body(first + i, shared_row(kRows, 2 * i, r), shared_row(kRows, 2 * i + 1, r));
  }
}

template <class Row, class T>
__global__ void wedge_kernel(const T* z, int64_t ldz, const __grid_constant__ Offsets offsets, T* p,
                             int64_t ldp) {
  wait_for_inputs();
  const int r = offsets.reduced, lane = static_cast<int>(threadIdx.x) % kWarp;
  for_tokens<Row>(z, ldz, offsets, [&](int row, const float* u, const float* w) {
    T* to = p + row * ldp;
    for (int i = 0; i < r; to += r - ++i) {
      for (int j = i + 1 + lane; j < r; j += kWarp) {
        to[j - i - 1] = from_float<T>(fmaf(u[i], w[j], -u[j] * w[i]));
      }
    }
  });
}

template <class Row, class T>
__global__ void contract_kernel(const T* z, int64_t ldz, const __grid_constant__ Offsets offsets,
                                const T* dp, int64_t lddp, float* y) {
  wait_for_inputs();
  const int r = offsets.reduced, lane = static_cast<int>(threadIdx.x) % kWarp;
  for_tokens<Row>(z, ldz, offsets, [&](int row, const float* u, const float* w) {
    const T* from = dp + row * lddp;
    float* to = y + int64_t{2} * row * r;
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
      to[i] = du;
      to[r + i] = dw;
    }
  });
}

// What a pair's u receives along itself; dw becomes dv, what v receives. Like e, dv / c is made in
// two steps: in the plane, say, it is 0, and c may be large. It is perpendicular to u, as dw is.
template <class Row>
__device__ __forceinline__ float owed(const Row& u, const Square& u_squared, const Pair& pair,
                                      const Row& e, Row& dw) {
  const float inverse =
      __fdividef(pair.is_floored ? 0.0f : 1.0f, pair.is_floored ? 1.0f : pair.squared);
  const float along_e = dot(dw, e) * inverse;
  add(-along_e, e, dw);
  add(-quotient(dot(dw, u), u_squared), u, dw);
  const float rest = dot(dw, e) * inverse;
  add(-rest, e, dw);
#pragma unroll
  for (int i = 0; i < dw.size(); ++i) dw[i] *= pair.c;
  return pair.c * (along_e + rest) * pair.squared;
}

// to += the parts of row `row` of y, of its first half (P w) or the second (Pᵀ u).
template <class Row>
__device__ __forceinline__ void add_parts(const float* y, int parts, const Offsets& offsets,
                                          int row, int half, Row& to, Row& workspace) {
  const int64_t r = offsets.reduced;
  for (int part = 0; part < parts; ++part) {
    workspace.load(y + ((int64_t{part} * offsets.rows + row) * 2 + half) * r);
    add(1.0f, workspace, to);
  }
}

// In a LaneRow's case the pairs of a token are shared out to four groups of lanes: without that a
// batch of 4096 tokens leaves a multiprocessor one warp a scheduler, and waits for each load.
template <class Row>
constexpr int kShares = std::is_same_v<Row, SharedRow> ? 1 : 4;
template <class Row>
constexpr int kGradientTokens = kTokens<Row> / kShares<Row>;
template <class Row>
constexpr int kGradientRows = std::is_same_v<Row, SharedRow> ? 4 : 0;

// A token receives as u from its own pairs, and as v from those of the tokens after it that look
// back at it: their pairs are made again here, which costs less than the memory to keep them in,
// and needs no atomics. The first `count` turns are as u, the others as v.
template <class Row, class T>
__global__ void gradient_kernel(const T* z, int64_t ldz, const __grid_constant__ Offsets offsets,
                                const float* y, int parts, T* dz, int64_t lddz) {
  wait_for_inputs();
  constexpr int kRows = kGradientRows<Row>;
  const int r = offsets.reduced, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int own = first_token(kGradientTokens<Row>) + lane / (Row::kLanes * kShares<Row>);
  const int share = lane / Row::kLanes % kShares<Row>;
  const int row = min(own, offsets.rows - 1), t = offsets.position(row);
  Row u = make_row<Row>(kRows, 0, r), e = make_row<Row>(kRows, 1, r),
      dw = make_row<Row>(kRows, 2, r), sum = make_row<Row>(kRows, 3, r);
  clear(sum);
  float along_u = 0;
  for (int first = 0; first < 2 * offsets.count; first += kShares<Row>) {
    const int turn = first + share;
    const bool is_u = turn < offsets.count, is_turn = turn < 2 * offsets.count;
    const int offset = offsets.at[is_u ? turn : is_turn ? turn - offsets.count : 0];
    const bool is_valid = is_u ? offset <= t : is_turn && offset < offsets.length - t;
    const int later = is_u || !is_valid ? 0 : offset, before = is_u && is_valid ? offset : 0;
    clear(dw);
    add_parts(y, parts, offsets, row + later, 1, dw, e);
    u.load(z + (row + later) * ldz);
    e.load(z + (row - before) * ldz);
    const Square u_squared = square(u);
    const Pair pair = look_at(u, u_squared, is_valid, offsets.valid(t + later), e);
    const float along = owed(u, u_squared, pair, e, dw);
    along_u += is_u ? along : 0.0f;
    add(is_u ? -pair.a : 1.0f, dw, sum);
  }
#pragma unroll
  for (int other = Row::kLanes; other < Row::kLanes * kShares<Row>; other *= 2) {
    along_u += __shfl_xor_sync(0xFFFFFFFFu, along_u, other);
#pragma unroll
    for (int i = 0; i < sum.size(); ++i) sum[i] += __shfl_xor_sync(0xFFFFFFFFu, sum[i], other);
  }
  u.load(z + row * ldz);
  add(-quotient(along_u, square(u)), u, sum);
  add_parts(y, parts, offsets, row, 0, sum, e);
  if (own < offsets.rows && share == 0) sum.store(dz + row * lddz);
}

template <class Body>
void with_row(bool is_aligned, const Offsets& offsets, const Body& body) {
  if (is_aligned && offsets.reduced == LaneRow::kLanes * kVector) {
    body(LaneRow());
  } else {
    body(SharedRow());
  }
}

template <class... Parameters, class... Arguments>
void launch_rows(Gpu& gpu, const char* what, const Offsets& offsets, int rows_per_warp,
                 int tokens_per_warp, void (*kernel)(Parameters...), Arguments&&... arguments) {
  const size_t warp_bytes = sizeof(float) * static_cast<size_t>(rows_per_warp * offsets.reduced);
  const int warps =
      warp_bytes == 0
          ? kMaxWarps
          : static_cast<int>(std::clamp<size_t>(kDefaultShared / warp_bytes, 1, kMaxWarps));
  const size_t bytes = warp_bytes * static_cast<size_t>(warps);
  if (bytes > kDefaultShared) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(bytes)),
          what);
  }
  launch(gpu, what, kernel,
         static_cast<unsigned>(ceil_div(offsets.rows, int64_t{warps} * tokens_per_warp)),
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
      launch_rows(gpu, "wedge", offsets, kWedgeRows<Row>, kTokens<Row>, wedge_kernel<Row, T>,
                  data<const T>(z), z.ld, offsets, data<T>(p), p.ld);
    });
  });
}

void wedge_contract(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& dp, float* y) {
  with_element(z, [&](auto element) {
    using T = decltype(element);
    with_row(is_vectored(z), offsets, [&](auto row) {
      using Row = decltype(row);
      launch_rows(gpu, "wedge_contract", offsets, kWedgeRows<Row>, kTokens<Row>,
                  contract_kernel<Row, T>, data<const T>(z), z.ld, offsets, data<const T>(dp),
                  dp.ld, y);
    });
  });
}

void wedge_gradient(Gpu& gpu, const Act& z, const Offsets& offsets, const float* y, int parts,
                    const Act& dz) {
  with_element(z, [&](auto element) {
    using T = decltype(element);
    with_row(is_vectored(z) && is_vectored(dz), offsets, [&](auto row) {
      using Row = decltype(row);
      launch_rows(gpu, "wedge_gradient", offsets, kGradientRows<Row>, kGradientTokens<Row>,
                  gradient_kernel<Row, T>, data<const T>(z), z.ld, offsets, y, parts, data<T>(dz),
                  dz.ld);
    });
  });
}

}  // namespace gf::cuda
