#include "cpu/cpu_ops.h"
#include "cpu/dropout.h"
#include "cpu/kernel.h"
#include "cpu/norm_row.h"
#include "cpu/row_parts.h"
#include "cpu/view.h"

namespace gf {
namespace {

// At M = 1024, D = 256 on one core: add_norm 4.2 MB, 0.04 ms at the speed of a copy, measured 0.16
// ms; backward 5.2 MB, 0.05 ms, measured 0.17 ms. The difference is dropout's random bits.

GF_INLINE void norm_row(const float* x, const Norm& norm, int64_t count, float* stats, float* h) {
  const RowStats row = row_stats(x, count);
  const float *gain = norm.gain.value.data, *bias = norm.bias.value.data;
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) h[j] = normalised(x[j], row) * gain[j] + bias[j];
  write_stats(row, stats);
}

GF_KERNEL void norm_rows(const Mat& x, const Norm& norm, int64_t first, int64_t end,
                         const Mat& stats, const Mat& h) {
  for (int64_t i = first; i < end; ++i) norm_row(x.row(i), norm, x.cols, stats.row(i), h.row(i));
}

GF_KERNEL void norm_backward_rows(const Mat& dh, const Mat& x, const Mat& stats, const Norm& norm,
                                  int64_t first, int64_t end, const Mat& dx, float* dgain,
                                  float* dbias) {
  for (int64_t i = first; i < end; ++i) {
    float* dx_row = dx.row(i);
    norm_backward_row(dh.row(i), x.row(i), read_stats(stats.row(i)), norm.gain.value.data, x.cols,
                      dgain, dbias, [=](int64_t j, float d) { dx_row[j] += d; });
  }
}

GF_KERNEL void add_rows(const Mat& x, const Mat& y, const Dropout& dropout, int64_t first,
                        int64_t end, const Mat& x_out) {
  for (int64_t i = first; i < end; ++i) {
    const float *from = x.row(i), *y_row = y.row(i);
    float* to = x_out.row(i);
    dropout_span(dropout, i * x.cols, x.cols,
                 [=](int64_t j, float factor) { to[j] = from[j] + y_row[j] * factor; });
  }
}

GF_KERNEL void drop_rows(const Mat& dx, const Dropout& dropout, int64_t first, int64_t end,
                         const Mat& dy) {
  for (int64_t i = first; i < end; ++i) {
    const float* from = dx.row(i);
    float* to = dy.row(i);
    dropout_span(dropout, i * dx.cols, dx.cols,
                 [=](int64_t j, float factor) { to[j] = from[j] * factor; });
  }
}

}  // namespace

void CpuOps::norm(const Mat& x, const Norm& norm, const Mat& stats, const Act& h) {
  const Range range(device_, "norm");
  for_row_parts(pool_, x.rows, [&](int64_t, int64_t first, int64_t end) {
    norm_rows(x, norm, first, end, stats, f32(h));
  });
}

void CpuOps::norm_backward(const Act& dh, const Mat& x, const Mat& stats, const Norm& norm,
                           const Mat& dx) {
  const Range range(device_, "norm_backward");
  const ColumnSums sums(partials_, x.rows, 2, x.cols);
  for_row_parts(pool_, x.rows, [&](int64_t part, int64_t first, int64_t end) {
    norm_backward_rows(f32(dh), x, stats, norm, first, end, dx, sums.of_part(part, 0),
                       sums.of_part(part, 1));
  });
  sums.write(0, norm.gain.grad);
  sums.write(1, norm.bias.grad);
}

void CpuOps::add_norm(const Mat& x, const Act& y, const Dropout& dropout, const Norm& norm,
                      const Mat& x_out, const Mat& stats, const Act& h) {
  const Range range(device_, "add_norm");
  for_row_parts(pool_, x.rows, [&](int64_t, int64_t first, int64_t end) {
    add_rows(x, f32(y), dropout, first, end, x_out);
    norm_rows(x_out, norm, first, end, stats, f32(h));
  });
}

void CpuOps::add_norm_backward(const Act& dh, const Mat& x_out, const Mat& stats,
                               const Dropout& dropout, const Norm& norm, const Mat& dx,
                               const Act& dy) {
  const Range range(device_, "add_norm_backward");
  const ColumnSums sums(partials_, dx.rows, 2, dx.cols);
  for_row_parts(pool_, dx.rows, [&](int64_t part, int64_t first, int64_t end) {
    norm_backward_rows(f32(dh), x_out, stats, norm, first, end, dx, sums.of_part(part, 0),
                       sums.of_part(part, 1));
    drop_rows(dx, dropout, first, end, f32(dy));
  });
  sums.write(0, norm.gain.grad);
  sums.write(1, norm.bias.grad);
}

}  // namespace gf
