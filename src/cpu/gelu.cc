#include <algorithm>

#include "cpu/cpu_ops.h"
#include "cpu/dropout.h"
#include "cpu/gemm.h"
#include "cpu/kernel.h"

namespace gf {
namespace {

// a = dropout(gelu(u)) for part of a row; `first` is the number of its first element.
GF_KERNEL void gelu_row(const float* __restrict u, const Dropout& dropout, int64_t first,
                        int64_t count, float* __restrict a) {
  dropout_span(dropout, first, count, [=](int64_t i, float factor) { a[i] = gelu(u[i]) * factor; });
}

GF_KERNEL void gelu_backward_row(const float* __restrict u, const Dropout& dropout, int64_t first,
                                 int64_t count, float* __restrict da) {
  dropout_span(dropout, first, count,
               [=](int64_t i, float factor) { da[i] *= gelu_derivative(u[i]) * factor; });
}

}  // namespace

void CpuOps::linear_gelu(const Act& x, const Linear& layer, const Dropout& dropout,
                         const Act& u_act, const Act& a_act) {
  const Mat u = f32(u_act), a = f32(a_act);
  gemm_bias(pool_, f32(x), transposed(layer.weight.value), layer.bias.value.data, u,
            [&](const Tile& tile) {
              for (int64_t i = 0; i < tile.mat.rows; ++i) {
                const int64_t row = tile.row + i;
                gelu_row(tile.mat.row(i), dropout, row * u.cols + tile.col, tile.mat.cols,
                         a.row(row) + tile.col);
              }
            });
}

void CpuOps::linear_gelu_backward(const Act& da_act, const Act& u_act, const Act& x,
                                  const Linear& layer, const Dropout& dropout, const Act& dx) {
  constexpr int64_t kRows = 16;
  const Mat da = f32(da_act), u = f32(u_act);
  pool_.run((u.rows + kRows - 1) / kRows, [&](int64_t part) {
    for (int64_t i = part * kRows; i < std::min(u.rows, (part + 1) * kRows); ++i) {
      gelu_backward_row(u.row(i), dropout, i * u.cols, u.cols, da.row(i));
    }
  });
  linear_backward(da_act, x, layer, dx, false);
}

}  // namespace gf
