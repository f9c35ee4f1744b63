#include "cpu/cpu_ops.h"
#include "cpu/dropout.h"
#include "cpu/kernel.h"
#include "cpu/norm_row.h"
#include "cpu/row_parts.h"
#include "cpu/view.h"

namespace gf {
namespace {

// A row is taken through the whole operation while it is in the first cache. At M = 1024, D = 256
// on one core: forward 6.3 MB, 0.06 ms at the speed of a copy, measured 0.30 ms; backward 10.5 MB,
// 0.11 ms, measured 0.39 ms. The difference is the sigmoid and dropout's random bits.

// What both directions read.
struct Gate {
  Mat h, g, gate;
  Norm inner, outer;
  Dropout dropout;
  Mat x_out, inner_stats, outer_stats;
};

GF_INLINE float blend(float alpha, float h, float g) {
  return g + alpha * (h - g);
}

GF_KERNEL void forward_rows(const Gate& op, const Mat& x, int64_t first, int64_t end,
                            const Mat& h_out) {
  const int64_t count = x.cols;
  const float *gain = op.inner.gain.value.data, *bias = op.inner.bias.value.data;
  const float *outer_gain = op.outer.gain.value.data, *outer_bias = op.outer.bias.value.data;
  for (int64_t i = first; i < end; ++i) {
    const float *h = op.h.row(i), *g = op.g.row(i), *gate = op.gate.row(i), *from = x.row(i);
    float *to = op.x_out.row(i), *out = h_out.row(i);

    float* m = out;  // until the row is complete
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) m[j] = blend(sigmoid(gate[j]), h[j], g[j]);
    const RowStats inner = row_stats(m, count);
    write_stats(inner, op.inner_stats.row(i));
    dropout_span(op.dropout, i * count, count, [=](int64_t j, float factor) {
      to[j] = from[j] + (normalised(m[j], inner) * gain[j] + bias[j]) * factor;
    });

    const RowStats outer = row_stats(to, count);
    write_stats(outer, op.outer_stats.row(i));
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) {
      out[j] = normalised(to[j], outer) * outer_gain[j] + outer_bias[j];
    }
  }
}

// Gradients of the four vectors of the two norms.
struct NormGradients {
  float *inner_gain, *inner_bias, *outer_gain, *outer_bias;
};

GF_KERNEL void backward_rows(const Gate& op, const Mat& dh_out, int64_t first, int64_t end,
                             const Mat& dx, const Mat& dh, const Mat& dg, const Mat& dgate,
                             const NormGradients& grads) {
  const int64_t count = dx.cols;
  for (int64_t i = first; i < end; ++i) {
    float *dx_row = dx.row(i), *dh_row = dh.row(i), *dg_row = dg.row(i), *dgate_row = dgate.row(i);
    norm_backward_row(dh_out.row(i), op.x_out.row(i), read_stats(op.outer_stats.row(i)),
                      op.outer.gain.value.data, count, grads.outer_gain, grads.outer_bias,
                      [=](int64_t j, float d) { dx_row[j] += d; });

    // The row's m, and the gradient of its inner norm, stand where the last loop leaves results.
    const float *h = op.h.row(i), *g = op.g.row(i), *gate = op.gate.row(i);
    float *m = dgate_row, *dy = dg_row;
    dropout_span(op.dropout, i * count, count, [=](int64_t j, float factor) {
      m[j] = blend(sigmoid(gate[j]), h[j], g[j]);
      dy[j] = dx_row[j] * factor;
    });
    norm_backward_row(dy, m, read_stats(op.inner_stats.row(i)), op.inner.gain.value.data, count,
                      grads.inner_gain, grads.inner_bias, [=](int64_t j, float dm) {
                        const float alpha = sigmoid(gate[j]);
                        dh_row[j] = dm * alpha;
                        dg_row[j] = dm * (1.0f - alpha);
                        dgate_row[j] = dm * (h[j] - g[j]) * alpha * (1.0f - alpha);
                      });
  }
}

}  // namespace

void CpuOps::gate_add_norm(const Mat& x, const Act& hg_act, const Act& gate, const Norm& inner,
                           const Dropout& dropout, const Norm& outer, const Mat& x_out,
                           const Mat& inner_stats, const Mat& outer_stats, const Act& h_out) {
  const Range range(device_, "gate_add_norm");
  const Mat hg = f32(hg_act);
  const Gate op{block(hg, 0, x.rows, 0, x.cols),
                block(hg, 0, x.rows, x.cols, x.cols),
                f32(gate),
                inner,
                outer,
                dropout,
                x_out,
                inner_stats,
                outer_stats};
  for_row_parts(pool_, x.rows, [&](int64_t, int64_t first, int64_t end) {
    forward_rows(op, x, first, end, f32(h_out));
  });
}

void CpuOps::gate_add_norm_backward(const Act& dh_out, const Mat& x_out, const Act& hg_act,
                                    const Act& gate, const Mat& inner_stats, const Mat& outer_stats,
                                    const Norm& inner, const Dropout& dropout, const Norm& outer,
                                    const Mat& dx, const Act& dhg_act, const Act& dgate) {
  const Range range(device_, "gate_add_norm_backward");
  const int64_t rows = dx.rows, cols = dx.cols;
  const Mat hg = f32(hg_act), dhg = f32(dhg_act);
  const Gate op{block(hg, 0, rows, 0, cols),
                block(hg, 0, rows, cols, cols),
                f32(gate),
                inner,
                outer,
                dropout,
                x_out,
                inner_stats,
                outer_stats};
  const ColumnSums sums(partials_, rows, 4, cols);
  for_row_parts(pool_, rows, [&](int64_t part, int64_t first, int64_t end) {
    backward_rows(op, f32(dh_out), first, end, dx, block(dhg, 0, rows, 0, cols),
                  block(dhg, 0, rows, cols, cols), f32(dgate),
                  {sums.of_part(part, 0), sums.of_part(part, 1), sums.of_part(part, 2),
                   sums.of_part(part, 3)});
  });
  sums.write(0, inner.gain.grad);
  sums.write(1, inner.bias.grad);
  sums.write(2, outer.gain.grad);
  sums.write(3, outer.bias.grad);
}

}  // namespace gf
