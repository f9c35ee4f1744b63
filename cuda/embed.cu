#include <algorithm>

#include "cuda_ops.h"
#include "kernel.cuh"

namespace gf::cuda {
namespace {

// At D = 256. Forward: 2 KB a row, 8.4 MB at M = 4096, 2 us at 4.3 TB/s; 67 MB, 16 us, at M =
// 32768.
//
// Backward: dx is read twice, once by position and once by id, and a row of the gradient is read
// and written for every id that occurs: 4.2 + 4.2 + 2.5 MB at M = 4096, 2.5 us, of which most lies
// in the second cache; 33 + 33 + 12 MB, 18 us, at M = 32768. In three kernels, predicted 11 and 30
// us:
//
// 1. Rows are sorted by id, in their order within one. A radix sort of the toolkit takes three
//    passes over keys and rows, a dozen launches and more time than all that is left to do. Here a
//    block owns 256 ids, reads all ids twice, 128 KB from the second cache at M = 32768, and
//    counts: first how many rows have which of its ids, and how many have lower ones, which gives
//    every row its place; then once more to put the rows there. Blocks do not meet, nothing is
//    atomic but counts in shared memory. Other blocks of the same kernel sum dx by position
//    meanwhile.
// 2. A warp adds up a run of at most 8 rows of one id. An id with no more rows is complete, others,
//    of which a batch has some with thousands, leave a part a run.
// 3. A block adds up the parts of one id.

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kWarpColumns = kWarp * kVector;
constexpr uint32_t kAllLanes = 0xFFFFFFFF;

struct Embedding {
  const int32_t* ids;
  int64_t rows, length, cols;
  Mat tokens, positions;  // values or gradients
  Mat x;                  // or dx
  Dropout dropout;
};

// ---- Forward ---------------------------------------------------------------------------------

// A warp a row.
template <bool kWhole>
__global__ void __launch_bounds__(kThreads) embed_kernel(Embedding op) {
  wait_for_inputs();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (i >= op.rows) return;
  const float* token = op.tokens.data + op.ids[i] * op.tokens.ld;
  const float* position = op.positions.data + i % op.length * op.positions.ld;
  float* x = op.x.data + i * op.x.ld;
  for (int64_t j = threadIdx.x % kWarp * kVector; j < op.cols; j += kWarpColumns) {
    float a[kVector], b[kVector], factor[kVector];
    load<kWhole>(token + j, op.cols - j, a);
    load<kWhole>(position + j, op.cols - j, b);
    dropout8<kWhole>(op.dropout, i * op.cols + j, factor);
#pragma unroll
    for (int k = 0; k < kVector; ++k) a[k] = (a[k] + b[k]) * factor[k];
    store<kWhole>(x + j, op.cols - j, a);
  }
}

// ---- Backward --------------------------------------------------------------------------------

__device__ __forceinline__ void add(float (&sum)[kVector], const float (&v)[kVector]) {
#pragma unroll
  for (int k = 0; k < kVector; ++k) sum[k] += v[k];
}

// Adds to sum dropout'(dx) of the rows row_of(0) to row_of(count - 1), in this order, from column j
// on; nothing where j is past the last column. kRows are under way at a time.
template <bool kWhole, int kRows, class RowOf>
__device__ __forceinline__ void add_rows(const Embedding& op, const LocalDropout& dropout,
                                         int count, int64_t j, const RowOf& row_of,
                                         float (&sum)[kVector]) {
  constexpr int kAtOnce = kWhole ? kRows : 1;
  for (int first = 0; first < count; first += kAtOnce) {
    int64_t rows[kAtOnce];
    float v[kAtOnce][kVector] = {};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      rows[k] = row_of(min(first + k, count - 1));
      if (first + k < count && j < op.cols) {
        load<kWhole>(op.x.data + rows[k] * op.x.ld + j, op.cols - j, v[k]);
      }
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      float factor[kVector];
      dropout.factors<kWhole>(rows[k] * op.cols + j, factor);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[i] += v[k][i] * factor[i];
    }
  }
}

// The sums of the warps of a block, in the lanes of warp 0, in the order of the warps.
template <int kCount>
__device__ __forceinline__ void sum_over_warps(float (&sum)[kVector]) {
  __shared__ float4 sums[kCount][2][kWarp];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  __syncthreads();  // Whoever reads the sums before these is done.
  sums[warp][0][lane] = make_float4(sum[0], sum[1], sum[2], sum[3]);
  sums[warp][1][lane] = make_float4(sum[4], sum[5], sum[6], sum[7]);
  __syncthreads();
  if (warp != 0) return;
#pragma unroll
  for (int i = 1; i < kCount; ++i) {
    const float4 a = sums[i][0][lane], b = sums[i][1][lane];
    add(sum, {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w});
  }
}

// positions.grad[t], by a block of kSortWarps warps, each of which takes every so manieth sequence.
constexpr int kSortWarps = 16;
constexpr int kSortThreads = kSortWarps * kWarp;

template <bool kWhole>
__device__ __forceinline__ void sum_by_position(const Embedding& op, int64_t t) {
  const int warp = threadIdx.x / kWarp;
  float* to = op.positions.data + t * op.positions.ld;
  const LocalDropout dropout(op.dropout);
  const int64_t sequences = t < op.length ? op.rows / op.length : 0;
  const auto count = static_cast<int>((sequences - warp + kSortWarps - 1) / kSortWarps);
  for (int64_t first = 0; first < op.cols; first += kWarpColumns) {
    const int64_t j = first + threadIdx.x % kWarp * kVector;
    float sum[kVector] = {};
    add_rows<kWhole, 2>(
        op, dropout, count, j, [&](int k) { return (warp + k * kSortWarps) * op.length + t; }, sum);
    sum_over_warps<kSortWarps>(sum);
    if (warp == 0 && j < op.cols) store<kWhole>(to + j, op.cols - j, sum);
  }
}

// A row of a batch in the order of ids.
struct alignas(16) Entry {
  int32_t row;
  int32_t id;
  int32_t place;  // among the rows with this id
  int32_t count;  // of them
};

constexpr int kBin = 256;  // ids that a block sorts
constexpr int kAhead = 8;  // loads of ids under way

// Calls body(row, id) for this warp's part of the rows in their order, 32 at a time, all lanes
// together; the id is -1 where there is no row.
template <class Body>
__device__ __forceinline__ void for_ids(const Embedding& op, const Body& body) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t share = (op.rows + kSortThreads - 1) / kSortThreads * kWarp;
  const int64_t end = min(op.rows, (warp + 1) * share);
  for (int64_t first = warp * share; first < end; first += kAhead * kWarp) {
    int32_t id[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      const int64_t i = first + k * kWarp + lane;
      id[k] = i < end ? op.ids[i] : -1;
    }
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      if (first + k * kWarp < end) body(first + k * kWarp + lane, id[k]);
    }
  }
}

// The places of the rows whose id is one of kBin from `low` on. counts[w][d] becomes the number of
// rows with id low + d that stand before warp w's part.
__device__ __forceinline__ void sort_bin(const Embedding& op, int32_t low, Entry* entries) {
  __shared__ int32_t counts[kSortWarps][kBin];
  __shared__ int32_t begins[kBin], totals[kBin], of_warps[kSortWarps], lower[kSortWarps];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int d = lane; d < kBin; d += kWarp) counts[warp][d] = 0;
  __syncwarp();
  int32_t below = 0;
  for_ids(op, [&](int64_t, int32_t id) {
    if (id < 0) return;
    below += id < low;
    if (id >= low && id < low + kBin) atomicAdd(&counts[warp][id - low], 1);
  });
  below = __reduce_add_sync(kAllLanes, below);
  if (lane == 0) lower[warp] = below;
  __syncthreads();

  // Thread d of the first kBin takes id low + d: its rows, then where they begin.
  int32_t total = 0, through = 0;
  if (threadIdx.x < kBin) {
    for (int w = 0; w < kSortWarps; ++w) {
      const int32_t count = counts[w][threadIdx.x];
      counts[w][threadIdx.x] = total;
      total += count;
    }
    through = total;
#pragma unroll
    for (int step = 1; step < kWarp; step *= 2) {
      const int32_t before = __shfl_up_sync(kAllLanes, through, step);
      if (lane >= step) through += before;
    }
    if (lane == kWarp - 1) of_warps[warp] = through;
  }
  __syncthreads();
  if (threadIdx.x < kBin) {
    int32_t begin = through - total;
    for (int w = 0; w < warp; ++w) begin += of_warps[w];
    for (int w = 0; w < kSortWarps; ++w) begin += lower[w];
    begins[threadIdx.x] = begin;
    totals[threadIdx.x] = total;
  }
  __syncthreads();

  for_ids(op, [&](int64_t row, int32_t id) {
    const bool here = id >= low && id < low + kBin;
    if (!__any_sync(kAllLanes, here)) return;
    const uint32_t same = __match_any_sync(kAllLanes, here ? id : -1);
    const int before = __popc(same & ((1u << lane) - 1));
    const int d = here ? id - low : 0;
    const int32_t place = counts[warp][d] + before;
    __syncwarp();
    if (here) {
      entries[begins[d] + place] = {static_cast<int32_t>(row), id, place, totals[d]};
      if (before == 0) counts[warp][d] += __popc(same);
    }
    __syncwarp();
  });
}

// Blocks below `bins` sort, the others sum by position.
template <bool kWhole>
__global__ void __launch_bounds__(kSortThreads, 2)
    sort_kernel(Embedding op, unsigned bins, Entry* entries) {
  wait_for_inputs();
  if (blockIdx.x < bins) {
    sort_bin(op, static_cast<int32_t>(blockIdx.x) * kBin, entries);
  } else {
    sum_by_position<kWhole>(op, blockIdx.x - bins);
  }
}

constexpr int kRun = 8;  // rows that a warp adds up

// Where the part of the run that begins at entry p lies. Among kRun entries that follow each other
// at most one begins a run that is not its id's first, and at most one begins an id of more than
// kRun rows.
__device__ __forceinline__ float* part_of(float* parts, int64_t width, int64_t p, bool first) {
  return parts + (p / kRun * 2 + first) * width;
}

__device__ __forceinline__ float* token_gradient(const Embedding& op, int32_t id, int64_t j) {
  return op.tokens.data + id * op.tokens.ld + j;
}

constexpr int kWindow = 16;  // entries of a block of sum_runs: about a run a warp

// The warps of a block take the runs that begin in its window of the entries in turn.
template <bool kWhole>
__global__ void __launch_bounds__(kThreads)
    sum_runs_kernel(Embedding op, const Entry* entries, float* parts, int64_t width) {
  wait_for_inputs();
  static_assert(kWindow + kRun <= kWarp);
  const int lane = threadIdx.x % kWarp;
  const int64_t window = static_cast<int64_t>(blockIdx.x) * kWindow;
  const LocalDropout dropout(op.dropout);
  const Entry entry = entries[min(window + lane, op.rows - 1)];
  const bool begins = lane < kWindow && window + lane < op.rows && entry.place % kRun == 0;
  uint32_t runs = __ballot_sync(kAllLanes, begins);
  const auto skip = [&](int count) {
    for (int i = 0; i < count; ++i) runs &= runs - 1;
  };
  for (skip(threadIdx.x / kWarp); runs != 0; skip(kWarps)) {
    const int begin = __ffs(static_cast<int>(runs)) - 1;
    const int32_t id = __shfl_sync(kAllLanes, entry.id, begin);
    const int place = __shfl_sync(kAllLanes, entry.place, begin);
    const int count = __shfl_sync(kAllLanes, entry.count, begin);
    const auto row_of = [&](int k) -> int64_t {
      return __shfl_sync(kAllLanes, entry.row, begin + k);
    };
    for (int64_t first = 0; first < op.cols; first += kWarpColumns) {
      const int64_t j = first + lane * kVector;
      float sum[kVector] = {};
      const bool complete = count <= kRun, has = j < op.cols;
      if (complete && has) load<kWhole>(token_gradient(op, id, j), op.cols - j, sum);
      add_rows<kWhole, 4>(op, dropout, min(kRun, count - place), j, row_of, sum);
      if (complete && has) store<kWhole>(token_gradient(op, id, j), op.cols - j, sum);
      if (!complete && has) store8(part_of(parts, width, window + begin, place == 0) + j, sum);
    }
  }
}

// A block takes the ids that begin in its window of kWarp entries, of those with more than a run.
template <bool kWhole>
__global__ void __launch_bounds__(kThreads)
    sum_parts_kernel(Embedding op, const Entry* entries, float* parts, int64_t width) {
  wait_for_inputs();
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t window = static_cast<int64_t>(blockIdx.x) * kWarp;
  const Entry entry = entries[min(window + lane, op.rows - 1)];
  const bool begins = window + lane < op.rows && entry.place == 0 && entry.count > kRun;
  for (uint32_t ids = __ballot_sync(kAllLanes, begins); ids != 0; ids &= ids - 1) {
    const int begin = __ffs(static_cast<int>(ids)) - 1;
    const int32_t id = __shfl_sync(kAllLanes, entry.id, begin);
    const int64_t runs = (__shfl_sync(kAllLanes, entry.count, begin) + kRun - 1) / kRun;
    for (int64_t first = 0; first < op.cols; first += kWarpColumns) {
      const int64_t j = first + lane * kVector;
      float sum[kVector] = {};
      if (warp == 0 && j < op.cols) load<kWhole>(token_gradient(op, id, j), op.cols - j, sum);
      if (j < op.cols) {
#pragma unroll 4
        for (int64_t run = warp; run < runs; run += kWarps) {
          float v[kVector];
          load8(part_of(parts, width, window + begin + run * kRun, run == 0) + j, v);
          add(sum, v);
        }
      }
      sum_over_warps<kWarps>(sum);
      if (warp == 0 && j < op.cols) store<kWhole>(token_gradient(op, id, j), op.cols - j, sum);
    }
  }
}

template <bool kWhole>
void backward(Gpu& gpu, const Embedding& op) {
  const int64_t runs = ceil_div(op.rows, kRun), width = ceil_div(op.cols, kVector) * kVector;
  float* parts = gpu.scratch<float>(runs * 2 * width + op.rows * 4);
  Entry* entries = reinterpret_cast<Entry*>(parts + runs * 2 * width);
  const auto bins = static_cast<unsigned>(ceil_div(op.tokens.rows, kBin));
  launch(gpu, "embed_backward", sort_kernel<kWhole>,
         bins + static_cast<unsigned>(op.positions.rows), kSortThreads, 0, op, bins, entries);
  launch(gpu, "embed_backward", sum_runs_kernel<kWhole>,
         static_cast<unsigned>(ceil_div(op.rows, kWindow)), kThreads, 0, op, entries, parts, width);
  launch(gpu, "embed_backward", sum_parts_kernel<kWhole>,
         static_cast<unsigned>(ceil_div(op.rows, kWarp)), kThreads, 0, op, entries, parts, width);
}

}  // namespace

void CudaOps::embed(const Batch& batch, const Param& tokens, const Param& positions,
                    const Dropout& dropout, const Mat& x) {
  const Range range(device_, "embed");
  const Embedding op{batch.ids, batch.rows(), batch.length, x.cols, tokens.value, positions.value,
                     x,         dropout};
  const bool whole = is_vectored(op.tokens) && is_vectored(op.positions) && is_vectored(x);
  launch(gpu_, "embed", whole ? embed_kernel<true> : embed_kernel<false>,
         static_cast<unsigned>(ceil_div(op.rows, kWarps)), kThreads, 0, op);
}

void CudaOps::embed_backward(const Batch& batch, const Mat& dx, const Dropout& dropout,
                             const Param& tokens, const Param& positions) {
  const Range range(device_, "embed_backward");
  const Embedding op{batch.ids,   batch.rows(),   batch.length, dx.cols,
                     tokens.grad, positions.grad, dx,           dropout};
  if (is_vectored(op.tokens) && is_vectored(op.positions) && is_vectored(dx)) {
    backward<true>(gpu_, op);
  } else {
    backward<false>(gpu_, op);
  }
}

}  // namespace gf::cuda
