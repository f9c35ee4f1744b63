#include "column_sums.h"

#include <cooperative_groups.h>

#include <algorithm>

#include "kernel.cuh"

namespace gf::cuda {
namespace {

constexpr int kThreads = 256, kColumns = 32;
constexpr int kVectors = kColumns / kVector;  // threads that share a row
constexpr int kLanes = kThreads / kVectors;   // rows that a block takes at a time
constexpr int kUnrolled = 8;
constexpr int kGroups = kThreads / kColumns;
constexpr int kCluster = 8;  // the most blocks of a cluster that every GPU grants

template <class T>
struct Rows {
  const T* data;
  int64_t rows, cols, ld;
};

// total[j] = sum of the block's rows of column j of its slab: rows part * kLanes + lane, and every
// parts * kLanes-th after it. Bytes: the matrix once.
template <bool kWhole, class T>
__device__ void sum_slab(const Rows<T>& m, int part, int parts, float (&total)[kColumns]) {
  __shared__ float lanes[kLanes][kColumns];
  __shared__ float groups[kGroups][kColumns];
  const int vector = threadIdx.x % kVectors, lane = threadIdx.x / kVectors;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kColumns + vector * kVector;
  const int64_t step = static_cast<int64_t>(parts) * kLanes;
  float sum[kVector] = {};
  if (first < m.cols) {
    // Whole batches of rows first, all of whose loads are on their way before the first is added.
    int64_t i = static_cast<int64_t>(part) * kLanes + lane;
    for (; i + (kUnrolled - 1) * step < m.rows; i += kUnrolled * step) {
      float v[kUnrolled][kVector];
#pragma unroll
      for (int k = 0; k < kUnrolled; ++k) {
        load<kWhole>(m.data + (i + k * step) * m.ld + first, m.cols - first, v[k]);
      }
#pragma unroll
      for (int k = 0; k < kUnrolled; ++k) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) sum[j] += v[k][j];
      }
    }
    for (; i < m.rows; i += step) {
      float v[kVector];
      load<kWhole>(m.data + i * m.ld + first, m.cols - first, v);
#pragma unroll
      for (int j = 0; j < kVector; ++j) sum[j] += v[j];
    }
  }
#pragma unroll
  for (int j = 0; j < kVector; ++j) lanes[lane][vector * kVector + j] = sum[j];
  __syncthreads();

  const int column = threadIdx.x % kColumns, group = threadIdx.x / kColumns;
  float of_group = 0;
  for (int i = 0; i < kLanes / kGroups; ++i)
    of_group += lanes[group * (kLanes / kGroups) + i][column];
  groups[group][column] = of_group;
  __syncthreads();
  if (threadIdx.x >= kColumns) return;
  float of_block = 0;
  for (int i = 0; i < kGroups; ++i) of_block += groups[i][column];
  total[column] = of_block;
}

// A cluster sums a slab of 32 columns; its first block adds up what the eight have found, in their
// order, out of their shared memory: one launch and no round trip. dy of 4096 x 256 in bf16 is 2
// MB: 0.5 us of traffic, so the launch is what it costs.
template <bool kWhole, class T>
__global__ void GF_CLUSTER(1, kCluster) __launch_bounds__(kThreads)
    column_sums_cluster(Rows<T> m, float* sums) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  wait_for_inputs();
  __shared__ float total[kColumns];
  const auto cluster = cooperative_groups::this_cluster();
  sum_slab<kWhole>(m, static_cast<int>(cluster.block_rank()), kCluster, total);
  cluster.sync();
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  if (cluster.block_rank() == 0 && threadIdx.x < kColumns && column < m.cols) {
    float sum = 0;
    for (int i = 0; i < kCluster; ++i) sum += cluster.map_shared_rank(total, i)[threadIdx.x];
    sums[column] = sum;
  }
  cluster.sync();  // nobody leaves while its shared memory is read
#endif
}

template <bool kWhole, class T>
__global__ void __launch_bounds__(kThreads) column_sums_part(Rows<T> m, float* parts) {
  wait_for_inputs();
  __shared__ float total[kColumns];
  sum_slab<kWhole>(m, static_cast<int>(blockIdx.y), static_cast<int>(gridDim.y), total);
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  // A thread of the first warp reads back what it has written itself.
  if (threadIdx.x < kColumns && column < m.cols)
    parts[blockIdx.y * m.cols + column] = total[threadIdx.x];
}

// Asked of the code that was loaded and not of the GPU: a newer GPU may run what was compiled for
// an older architecture, where the kernel is empty.
template <class Kernel>
bool knows_clusters(Kernel kernel) {
  cudaFuncAttributes attributes = {};
  check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
  return attributes.ptxVersion >= 90;
}

template <bool kWhole, class T>
void column_sums_of(Gpu& gpu, const Act& m, float* sums) {
  const Rows<T> rows = {data<T>(m), m.rows, m.cols, m.ld};
  const unsigned slabs = static_cast<unsigned>(ceil_div(m.cols, kColumns));
  const auto cluster_kernel = column_sums_cluster<kWhole, T>;
  if (knows_clusters(cluster_kernel)) {
    launch(gpu, "column_sums", cluster_kernel, dim3(slabs, 1, kCluster), kThreads, 0, rows, sums);
    return;
  }
  const int64_t parts = std::clamp<int64_t>(m.rows / (kLanes * kUnrolled), 1, kMaxParts);
  float* of_parts = gpu.scratch<float>(parts * m.cols);
  launch(gpu, "column_sums", column_sums_part<kWhole, T>, dim3(slabs, static_cast<unsigned>(parts)),
         kThreads, 0, rows, of_parts);
  sum_parts(gpu, of_parts, parts, 1, m.cols, {{sums}});
}

}  // namespace

void column_sums(Gpu& gpu, const Act& m, float* sums) {
  with_element(m, [&](auto element) {
    using T = decltype(element);
    if (is_vectored(m)) {
      column_sums_of<true, T>(gpu, m, sums);
    } else {
      column_sums_of<false, T>(gpu, m, sums);
    }
  });
}

}  // namespace gf::cuda
