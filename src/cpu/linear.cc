#include <algorithm>

#include "cpu/cpu_ops.h"
#include "cpu/gemm.h"
#include "cpu/kernel.h"
#include "cpu/linear.h"

namespace gf {
namespace {

constexpr int64_t kSumColumns = 64;

// Sums of up to kSumColumns columns. Runs of rows are summed first: a single chain over thousands
// of rows would lose digits.
GF_KERNEL void sum_columns(const Mat& mat, float* sums) {
  constexpr int64_t kRun = 64;
  float total[kSumColumns] = {};
  for (int64_t first = 0; first < mat.rows; first += kRun) {
    float run[kSumColumns] = {};
    for (int64_t i = first; i < std::min(first + kRun, mat.rows); ++i) {
      const float* row = mat.row(i);
      for (int64_t j = 0; j < mat.cols; ++j) run[j] += row[j];
    }
    for (int64_t j = 0; j < kSumColumns; ++j) total[j] += run[j];
  }
  std::copy_n(total, mat.cols, sums);
}

}  // namespace

void parameter_gradients(ThreadPool& pool, const Mat& dy, const Mat& x, const Linear& layer) {
  gemm(pool, transposed(dy), x, 0.0f, layer.weight.grad);
  pool.run((dy.cols + kSumColumns - 1) / kSumColumns, [&](int64_t part) {
    const int64_t col = part * kSumColumns, cols = std::min(kSumColumns, dy.cols - col);
    sum_columns(block(dy, 0, dy.rows, col, cols), layer.bias.grad.data + col);
  });
}

void CpuOps::linear(const Act& x, const Linear& layer, const Act& y) {
  const Range range(device_, "linear");
  gemm_bias(pool_, f32(x), transposed(layer.weight.value), layer.bias.value.data, f32(y),
            [](const Tile&) {});
}

void CpuOps::linear_backward(const Act& dy_act, const Act& x, const Linear& layer, const Act& dx,
                             bool accumulate) {
  const Range range(device_, "linear_backward");
  const Mat dy = f32(dy_act);
  parameter_gradients(pool_, dy, f32(x), layer);
  gemm(pool_, dy, layer.weight.value, accumulate ? 1.0f : 0.0f, f32(dx));
}

}  // namespace gf
