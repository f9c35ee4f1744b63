#include "kernel.cuh"

namespace gf::cuda {
namespace {

constexpr int kColumns = 32, kLanes = 8;

// A block adds up 32 columns; its 8 rows of threads take every eighth part each.
__global__ void sum_parts_kernel(const float* parts, int64_t count, int64_t vectors, int64_t cols,
                                 SumTargets targets) {
  wait_for_inputs();
  __shared__ float sums[kLanes][kColumns];
  const int64_t width = vectors * cols;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  float sum = 0;
  if (column < width) {
    for (int64_t i = threadIdx.y; i < count; i += kLanes) sum += parts[i * width + column];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  for (int i = 1; i < kLanes; ++i) sum += sums[i][threadIdx.x];
  targets.to[column / cols][column % cols] = sum;
}

}  // namespace

void sum_parts(Gpu& gpu, const float* parts, int64_t count, int64_t vectors, int64_t cols,
               const SumTargets& targets) {
  launch(gpu, "sum_parts", sum_parts_kernel,
         static_cast<unsigned>(ceil_div(vectors * cols, kColumns)), dim3(kColumns, kLanes), 0,
         parts, count, vectors, cols, targets);
}

}  // namespace gf::cuda
