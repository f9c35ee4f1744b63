#pragma once

// LayerNorm of one row: what layernorm.cu and gate.cu share.
//
// A row of whole vectors and of at most kMaxColumns columns is held by a team of 1, 2 or 4 warps,
// eight columns by each lane, and is read and written once. Any other row is taken by a block that
// reads it again for every pass over it.

#include <algorithm>
#include <cstdlib>
#include <type_traits>

#include "kernel.cuh"

namespace gf::cuda {

inline constexpr int kWarpColumns = kWarp * kVector;
inline constexpr int kMaxColumns = 4 * kWarpColumns;
inline constexpr int kRowWarps = 8;  // of a block, but where sums over rows are made
inline constexpr int kRowThreads = kRowWarps * kWarp;

// Rows and the distances of rows are below 2^32, so that one instruction multiplies them.
__device__ __forceinline__ uint64_t offset_of(int64_t i, int64_t ld) {
  return wide_product(static_cast<uint32_t>(i), static_cast<uint32_t>(ld));
}
__device__ __forceinline__ float* row_of(const Mat& m, int64_t i) {
  return m.data + offset_of(i, m.ld);
}
template <class T>
__device__ __forceinline__ T* row_of(const Act& a, int64_t i) {
  return reinterpret_cast<T*>(a.data) + offset_of(i, a.ld);
}

// ---- Sums over a row -------------------------------------------------------------------------

// Each of `sums` over the kWarps warps of a team, in every lane. With more than one warp all
// threads of the block must come here together.
template <int kWarps, int kCount>
__device__ __forceinline__ void team_sum(float (&sums)[kCount]) {
#pragma unroll
  for (int k = 0; k < kCount; ++k) sums[k] = warp_sum(sums[k]);
  if constexpr (kWarps > 1) {
    __shared__ float of_warps[kCount][kWarp];
    const int warp = threadIdx.x / kWarp, first = warp / kWarps * kWarps;
    __syncthreads();  // Whoever reads the sums before these is done.
    if (threadIdx.x % kWarp == 0) {
#pragma unroll
      for (int k = 0; k < kCount; ++k) of_warps[k][warp] = sums[k];
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      sums[k] = 0;
#pragma unroll
      for (int i = 0; i < kWarps; ++i) sums[k] += of_warps[k][first + i];
    }
  }
}

// ---- One row ---------------------------------------------------------------------------------

// What a row of stats holds: the row's mean and 1 / sqrt(var + epsilon).
struct RowStats {
  float mean = 0;
  float inverse = 0;
};

__device__ __forceinline__ RowStats read_stats(const float* stats) {
  return {stats[0], stats[1]};
}
__device__ __forceinline__ void write_stats(const RowStats& row, float* stats) {
  stats[0] = row.mean;
  stats[1] = row.inverse;
}

__device__ __forceinline__ float normalised(float x, const RowStats& stats) {
  return (x - stats.mean) * stats.inverse;
}

__device__ __forceinline__ float sum8(const float (&x)[kVector]) {
  return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}

// Sum of (x - mean)² over the first `count` of x.
__device__ __forceinline__ float squares8(const float (&x)[kVector], float mean, int64_t count) {
  float squares[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) squares[i] = i < count ? (x[i] - mean) * (x[i] - mean) : 0.0f;
  return sum8(squares);
}

// The variance is that about the mean: E[x²] - mean² would cancel where the mean is large.
__device__ __forceinline__ RowStats stats_of(float mean, float squares, float inverse_count) {
  return {mean, 1.0f / sqrtf(squares * inverse_count + kLayerNormEpsilon)};
}

// x: this lane's part of the row, 0 where it `has` none.
template <int kWarps>
__device__ __forceinline__ RowStats row_stats(const float (&x)[kVector], bool has, int64_t cols) {
  const float inverse_count = reciprocal(static_cast<float>(cols));
  float sum[1] = {sum8(x)};
  team_sum<kWarps>(sum);
  const float mean = sum[0] * inverse_count;
  float squares[1] = {has ? squares8(x, mean, kVector) : 0.0f};
  team_sum<kWarps>(squares);
  return stats_of(mean, squares[0], inverse_count);
}

// Turns d, the gradient of h, into that of the normalised row n, and adds to sums what the gradient
// of x needs of the whole row: the sums of d and of d n.
__device__ __forceinline__ void add_to_slopes(const float (&gain)[kVector],
                                              const float (&n)[kVector], float (&d)[kVector],
                                              float (&sums)[2]) {
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    d[i] *= gain[i];
    sums[0] += d[i];
    sums[1] += d[i] * n[i];
  }
}

// Turns d, the gradient of the normalised row n, into that of x; sums are those over the row. What
// is left of d is scaled last: before that it may cancel, with few columns to the last bit.
__device__ __forceinline__ void norm_gradient(const float (&n)[kVector], const float (&sums)[2],
                                              float inverse, int64_t cols, float (&d)[kVector]) {
  const float inverse_count = reciprocal(static_cast<float>(cols));
  const float mean = sums[0] * inverse_count, slope = sums[1] * inverse_count;
#pragma unroll
  for (int i = 0; i < kVector; ++i) d[i] = (d[i] - mean - n[i] * slope) * inverse;
}

// ---- Rows held by teams of kWarps warps ------------------------------------------------------

// Where a lane stands: in which team of its block and at which column of the team's row.
template <int kWarps>
struct Lane {
  int teams = static_cast<int>(blockDim.x) / (kWarp * kWarps);
  int team = static_cast<int>(threadIdx.x) / (kWarp * kWarps);
  int column = static_cast<int>(threadIdx.x) % (kWarp * kWarps) * kVector;
};

// The rows that the teams of a grid take in turn. All threads of a block go around equally often,
// as teams of several warps have to, which meet in team_sum: the last rows may lie past the end.
template <int kWarps>
struct Turns {
  int first, stride, rows;  // of the block's first team
  int team;

  __device__ Turns(const Lane<kWarps>& lane, int64_t rows_)
      : first(static_cast<int>(blockIdx.x) * lane.teams),
        stride(static_cast<int>(gridDim.x) * lane.teams),
        rows(static_cast<int>(rows_)),
        team(lane.team) {}

  __device__ bool is_over() const { return first >= rows; }
  __device__ int row() const { return first + team; }
  __device__ bool has_next() const { return row() + stride < rows; }
  __device__ void next() { first += stride; }
};

// The eight elements that a lane takes: those of row i from column j on. A lane that has none reads
// some others, counts them as 0 and does not write: without a branch around the loads dropout's
// random bits are drawn while they are under way.
struct Place {
  int64_t i, j;
  bool has;

  __device__ Place(int64_t row, int64_t rows, int64_t column, int64_t cols)
      : i(min(row, rows - 1)), j(min(column, cols - kVector)), has(row < rows && column < cols) {}

  __device__ void zero_if_none(float (&v)[kVector]) const {
#pragma unroll
    for (int k = 0; k < kVector; ++k) v[k] = has ? v[k] : 0.0f;
  }
};

// What the gradient through a norm reads of a row, as it lies in memory.
template <class T>
struct NormInputs {
  Eight<T> dh;
  Eight<float> x;
  RowStats stats;

  __device__ __forceinline__ NormInputs(const Act& dh_, const Mat& x_, const Mat& stats_, int64_t i,
                                        int64_t j)
      : dh(row_of<T>(dh_, i) + j), x(row_of(x_, i) + j), stats(read_stats(row_of(stats_, i))) {}
  // d: dh, 0 where the lane `has` none; n: the normalised row.
  __device__ __forceinline__ void unpack(bool has, float (&d)[kVector], float (&n)[kVector]) const {
    dh.unpack(d);
    x.unpack(n);
#pragma unroll
    for (int k = 0; k < kVector; ++k) {
      d[k] = has ? d[k] : 0.0f;
      n[k] = normalised(n[k], stats);
    }
  }
};

// Sums over the rows of a block of kCount vectors, in dynamic shared memory, for the registers are
// wanted by rows under way: every warp adds to vectors of its own, and write() adds those up.
template <int kWarps, int kCount>
class ColumnSums {
 public:
  // Before wait_for_inputs(): it touches nothing but the block's own memory.
  __device__ ColumnSums() {
#pragma unroll
    for (int k = 0; k < kCount; ++k) mine(k)[0] = mine(k)[kWarp] = float4{};
  }

  // Adds a row's share to the gradients of a norm's gain, vector k, and bias, vector k + 1; d is
  // the gradient of h, n the normalised row.
  __device__ void add_gradients(int k, const float (&d)[kVector], const float (&n)[kVector]) {
    float dgain[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i) dgain[i] = d[i] * n[i];
    add(k, dgain);
    add(k + 1, d);
  }

  // to[k, j] for all columns j; for all threads of the block.
  __device__ void write(float* to, int64_t cols) const {
    __syncthreads();
    const int teams = Lane<kWarps>().teams;
    for (unsigned i = threadIdx.x; i < kCount * kWarps * kWarpColumns; i += blockDim.x) {
      const unsigned slot = i % kWarpColumns, warp = i / kWarpColumns % kWarps;
      const unsigned k = i / (kWarpColumns * kWarps);
      constexpr unsigned kHalf = kWarpColumns / 2;
      const unsigned column =
          warp * kWarpColumns + slot % kHalf / 4 * kVector + slot / kHalf * 4 + slot % 4;
      if (column >= cols) continue;
      float sum = 0;
#pragma unroll 8
      for (int team = 0; team < teams; ++team) {
        sum += memory()[((team * kWarps + warp) * kCount + k) * kWarpColumns + slot];
      }
      to[k * cols + column] = sum;
    }
  }

 private:
  // A lane's vector lies in two halves, each next to its neighbour's, so that no two lanes meet in
  // a bank.
  __device__ static void add(int k, const float (&v)[kVector]) {
    float4* to = mine(k);
    const float4 a = to[0], b = to[kWarp];
    to[0] = make_float4(a.x + v[0], a.y + v[1], a.z + v[2], a.w + v[3]);
    to[kWarp] = make_float4(b.x + v[4], b.y + v[5], b.z + v[6], b.w + v[7]);
  }
  __device__ static float* memory() {
    extern __shared__ float4 column_sums[];
    return reinterpret_cast<float*>(column_sums);
  }
  __device__ static float4* mine(int k) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    return reinterpret_cast<float4*>(memory() + (warp * kCount + k) * kWarpColumns) + lane;
  }
};

// ---- Rows of any kind, one a block of kRowThreads --------------------------------------------

// Calls body(column, count) for the parts of a row that this thread takes, eight columns or fewer.
template <class Body>
__device__ __forceinline__ void for_columns(int64_t cols, const Body& body) {
  for (int64_t j = threadIdx.x * kVector; j < cols; j += kRowThreads * kVector) {
    body(j, std::min<int64_t>(kVector, cols - j));
  }
}

// values(column, count, v): elements of the row, 0 from count on.
template <class Values>
__device__ __forceinline__ RowStats row_stats_of(int64_t cols, const Values& values) {
  const float inverse_count = reciprocal(static_cast<float>(cols));
  float v[kVector], sum[1] = {}, squares[1] = {};
  for_columns(cols, [&](int64_t j, int64_t count) {
    values(j, count, v);
    sum[0] += sum8(v);
  });
  team_sum<kRowWarps>(sum);
  const float mean = sum[0] * inverse_count;
  for_columns(cols, [&](int64_t j, int64_t count) {
    values(j, count, v);
    squares[0] += squares8(v, mean, count);
  });
  team_sum<kRowWarps>(squares);
  return stats_of(mean, squares[0], inverse_count);
}

// What ColumnSums is to teams: this block's row of the parts itself, begun with its first row.
struct PartsOfBlock {
  float* parts;
  int64_t cols;
  bool begin;

  __device__ void add_gradients(int k, int64_t column, int64_t count, const float (&d)[kVector],
                                const float (&n)[kVector]) const {
    float *dgain = parts + k * cols + column, *dbias = dgain + cols;
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      if (i >= count) continue;
      dgain[i] = d[i] * n[i] + (begin ? 0.0f : dgain[i]);
      dbias[i] = d[i] + (begin ? 0.0f : dbias[i]);
    }
  }
};

// ---- Launch ----------------------------------------------------------------------------------

inline bool is_vectored_norm(const Norm& norm) {
  return norm.gain.value.cols <= kMaxColumns && is_vectored(norm.gain.value) &&
         is_vectored(norm.bias.value);
}

// Rows without sums over them: of any kind, `any_rows` takes them, else `rows` with `warps` to
// each.
inline unsigned any_row_blocks(int64_t rows) {
  return static_cast<unsigned>(std::min<int64_t>(rows, 4096));
}
inline unsigned row_blocks(int64_t rows, int warps) {
  return static_cast<unsigned>(ceil_div(rows * warps, kRowWarps));
}

// Calls body(integral constant) with the warps that hold a row of `cols` columns.
template <class Body>
void with_warps(int64_t cols, const Body& body) {
  if (cols <= kWarpColumns) {
    body(std::integral_constant<int, 1>());
  } else if (cols <= 2 * kWarpColumns) {
    body(std::integral_constant<int, 2>());
  } else {
    body(std::integral_constant<int, 4>());
  }
}

// Calls any_rows(T()) for rows of any kind, else team_rows(T(), integral constant) with the warps
// that hold a row; T is the element type of `act`.
template <class AnyRows, class TeamRows>
void with_rows(const Act& act, bool vectored, const AnyRows& any_rows, const TeamRows& team_rows) {
  with_element(act, [&](auto element) {
    if (!vectored) return any_rows(element);
    with_warps(act.cols, [&](auto warps) { team_rows(element, warps); });
  });
}

// Runs a kernel that leaves parts of sums over rows, and adds those up. A multiprocessor has one
// block, of as many warps as it may have: the fewer parts there are the sooner they are added up.
struct SumsLaunch {
  unsigned blocks;
  unsigned threads;
  size_t shared_bytes;

  // Of teams of `warps_a_row` warps with ColumnSums of `vectors` vectors, in blocks of `most`
  // threads where shared memory suffices.
  static SumsLaunch teams(const Gpu& gpu, int64_t rows, int warps_a_row, int vectors, int most) {
    const int64_t bytes_a_warp = int64_t{vectors} * kWarpColumns * int64_t{sizeof(float)};
    const auto room = static_cast<int64_t>(gpu.properties().sharedMemPerBlockOptin) - 1024;
    static const char* threads = std::getenv("GF_ROW_THREADS");
    int64_t warps = (threads ? std::min(most, std::atoi(threads)) : most) / kWarp;
    while (warps > 4 && warps * bytes_a_warp > room) warps -= 4;  // whole teams
    return {blocks_of(gpu, ceil_div(rows * warps_a_row, warps)),
            static_cast<unsigned>(warps * kWarp), static_cast<size_t>(warps * bytes_a_warp)};
  }
  static SumsLaunch any_rows(const Gpu& gpu, int64_t rows) {
    return {blocks_of(gpu, rows), kRowThreads, 0};
  }

  template <class Operands>
  void run(Gpu& gpu, const char* name, void (*kernel)(Operands), Operands op, int64_t vectors,
           const SumTargets& targets) const {
    // A kernel must be told of more than 48 KB.
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          name);
    op.parts = gpu.kept<float>(blocks * vectors * op.cols);
    launch(gpu, name, kernel, blocks, threads, shared_bytes, op);
    gpu.beside([&] { sum_parts(gpu, op.parts, blocks, vectors, op.cols, targets); });
  }

 private:
  static unsigned blocks_of(const Gpu& gpu, int64_t wanted) {
    return static_cast<unsigned>(
        std::min<int64_t>(wanted, std::min(gpu.multiprocessors(), kMaxParts)));
  }
};

}  // namespace gf::cuda
