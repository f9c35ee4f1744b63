#include "cpu/cpu_ops.h"
#include "cpu/dropout.h"
#include "cpu/gemm.h"
#include "cpu/kernel.h"
#include "cpu/linear.h"
#include "cpu/row_parts.h"

namespace gf {
namespace {

// a = dropout(gelu(u)) for part of a row; `first` is the number of its first element.
GF_KERNEL void gelu_row(const float* __restrict u, const Dropout& dropout, int64_t first,
                        int64_t count, float* __restrict a) {
  dropout_span(dropout, first, count, [=](int64_t i, float factor) { a[i] = gelu(u[i]) * factor; });
}

// du holds da; du = dropout'(da) * gelu'(u), and u becomes a = dropout(gelu(u)).
GF_KERNEL void gelu_backward_row(float* __restrict u, const Dropout& dropout, int64_t first,
                                 int64_t count, float* __restrict du) {
  dropout_span(dropout, first, count, [=](int64_t i, float factor) {
    const Normal n = normal(u[i]);
    du[i] *= gelu_derivative(u[i], n) * factor;
    u[i] = gelu(u[i], n) * factor;
  });
}

}  // namespace

void CpuOps::linear_gelu(const Act& x, const Linear& layer, const Dropout& dropout,
                         const Act& u_act, const Act& a_act) {
  const Range range(device_, "linear_gelu");
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

void CpuOps::gelu_linear_backward(const Act& dy, const Act& u_act, const Dropout& dropout,
                                  const Linear& layer, const Act& du_act) {
  const Range range(device_, "gelu_linear_backward");
  const Mat u = f32(u_act), du = f32(du_act);
  gemm(pool_, f32(dy), layer.weight.value, 0.0f, du);
  for_row_parts(pool_, u.rows, [&](int64_t, int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      gelu_backward_row(u.row(i), dropout, i * u.cols, u.cols, du.row(i));
    }
  });
  parameter_gradients(pool_, f32(dy), u, layer);
}

}  // namespace gf
