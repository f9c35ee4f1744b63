#include "cuda_ops.h"
#include "norm_row.cuh"

namespace gf::cuda {
namespace {

// At D = 256, activations in bf16. Forward: 4 KB a row, 16.8 MB at M = 4096, 4 us at 4.3 TB/s.
// Backward: 6.5 KB a row, 27 MB, 6.3 us, less what the second cache holds, and 0.5 MB of parts. At
// M = 32768 eight times that: 31 us and 50 us. A row takes a warp 460 and 590 instructions,
// dropout's random bits 75 of them: 1.8 and 2.3 us at M = 4096 and four a cycle, which are to hide
// behind the bytes.

// What both directions read.
struct Gate {
  int64_t rows, cols;
  Act hg, gate;
  const float *inner_gain, *outer_gain;
  Dropout dropout;
  Mat x_out, inner_stats, outer_stats;
};

// A lane's part of the blend of h and g: alpha = sigmoid(gate), share = alpha (h - g), m = g +
// share.
struct Blend {
  float alpha[kVector], share[kVector], g[kVector];

  // The row's elements, eight of them or `count`.
  template <bool kWhole, class T>
  __device__ __forceinline__ void read(const Gate& op, int64_t i, int64_t j, int64_t count) {
    const T* hg = row_of<T>(op.hg, i) + j;
    load<kWhole>(row_of<T>(op.gate, i) + j, count, alpha);
    load<kWhole>(hg, count, share);
    load<kWhole>(hg + op.cols, count, g);
  }
  // From the gate and h, which stand in alpha and share.
  __device__ __forceinline__ void open() {
#pragma unroll
    for (int k = 0; k < kVector; ++k) {
      alpha[k] = sigmoid(alpha[k]);
      share[k] = alpha[k] * (share[k] - g[k]);
    }
  }
  __device__ __forceinline__ float m(int k) const {
    return g[k] + share[k];
  }
};

// The same as it lies in memory.
template <class T>
struct BlendInputs {
  Eight<T> gate, h, g;

  BlendInputs() = default;
  __device__ __forceinline__ BlendInputs(const Gate& op, int64_t i, int64_t j)
      : gate(row_of<T>(op.gate, i) + j),
        h(row_of<T>(op.hg, i) + j),
        g(row_of<T>(op.hg, i) + j + op.cols) {}
  __device__ __forceinline__ void unpack(Blend& blend) const {
    gate.unpack(blend.alpha);
    h.unpack(blend.share);
    g.unpack(blend.g);
  }
};

// ---- Forward ---------------------------------------------------------------------------------

constexpr int kForwardBlocks = 2;  // on a multiprocessor

struct Forward : Gate {
  const float *inner_bias, *outer_bias;
  Mat x;
  Act h_out;
};

// v = normalised v * gain + bias.
template <bool kWhole>
__device__ __forceinline__ void scale(float (&v)[kVector], const RowStats& stats, const float* gain,
                                      const float* bias, int64_t count) {
  float a[kVector], b[kVector];
  load<kWhole>(gain, count, a);
  load<kWhole>(bias, count, b);
#pragma unroll
  for (int k = 0; k < kVector; ++k) v[k] = normalised(v[k], stats) * a[k] + b[k];
}

// Where a row's inputs are used up the next one's are read, so that memory and arithmetic take
// turns at no time.
template <class T, int kWarps>
__global__ void __launch_bounds__(kRowThreads, kForwardBlocks) gate_rows(Forward op) {
  wait_for_inputs();
  const Lane<kWarps> lane;
  const bool has_columns = lane.column < op.cols;
  const int64_t j = min(static_cast<int64_t>(lane.column), op.cols - kVector);
  const LocalDropout dropout(op.dropout);
  Turns<kWarps> turns(lane, op.rows);
  const int64_t first = min(turns.row(), turns.rows - 1);
  BlendInputs<T> inputs(op, first, j);
  Eight<float> next_x(row_of(op.x, first) + j);
  for (; !turns.is_over(); turns.next()) {
    const int64_t i = turns.row(), next = i + turns.stride;
    const bool has = has_columns && i < turns.rows, has_next = turns.has_next();
    float x[kVector], m[kVector], factor[kVector];
    Blend blend;
    inputs.unpack(blend);
    if (has_next) inputs = BlendInputs<T>(op, next, j);
    blend.open();
#pragma unroll
    for (int k = 0; k < kVector; ++k) m[k] = has ? blend.m(k) : 0.0f;
    const RowStats inner = row_stats<kWarps>(m, has, op.cols);
    scale<true>(m, inner, op.inner_gain + j, op.inner_bias + j, kVector);
    dropout.factors(i * op.cols + j, factor);
    next_x.unpack(x);
    if (has_next) next_x = Eight<float>(row_of(op.x, next) + j);
#pragma unroll
    for (int k = 0; k < kVector; ++k) x[k] = has ? x[k] + m[k] * factor[k] : 0.0f;
    if (has) store8(row_of(op.x_out, i) + j, x);
    const RowStats outer = row_stats<kWarps>(x, has, op.cols);
    if (!has) continue;
    if (j == 0) {
      write_stats(inner, row_of(op.inner_stats, i));
      write_stats(outer, row_of(op.outer_stats, i));
    }
    scale<true>(x, outer, op.outer_gain + j, op.outer_bias + j, kVector);
    store8(row_of<T>(op.h_out, i) + j, x);
  }
}

template <class T>
__global__ void __launch_bounds__(kRowThreads) gate_any_rows(Forward op) {
  wait_for_inputs();
  for (int64_t i = blockIdx.x; i < op.rows; i += gridDim.x) {
    const float* x = row_of(op.x, i);
    float* x_out = row_of(op.x_out, i);
    Blend blend;
    const RowStats inner = row_stats_of(op.cols, [&](int64_t j, int64_t count, auto& m) {
      blend.read<false, T>(op, i, j, count);
      blend.open();
#pragma unroll
      for (int k = 0; k < kVector; ++k) m[k] = blend.m(k);
    });
    float v[kVector], m[kVector], factor[kVector];
    for_columns(op.cols, [&](int64_t j, int64_t count) {
      blend.read<false, T>(op, i, j, count);
      blend.open();
#pragma unroll
      for (int k = 0; k < kVector; ++k) m[k] = blend.m(k);
      scale<false>(m, inner, op.inner_gain + j, op.inner_bias + j, count);
      dropout8<false>(op.dropout, i * op.cols + j, factor);
      load<false>(x + j, count, v);
#pragma unroll
      for (int k = 0; k < kVector; ++k) v[k] += m[k] * factor[k];
      store<false>(x_out + j, count, v);
    });
    // Every thread reads what it has written itself.
    const RowStats outer = row_stats_of(op.cols, [&](int64_t j, int64_t count, auto& values) {
      load<false>(x_out + j, count, values);
    });
    for_columns(op.cols, [&](int64_t j, int64_t count) {
      load<false>(x_out + j, count, v);
      scale<false>(v, outer, op.outer_gain + j, op.outer_bias + j, count);
      store<false>(row_of<T>(op.h_out, i) + j, count, v);
    });
    if (threadIdx.x == 0) {
      write_stats(inner, row_of(op.inner_stats, i));
      write_stats(outer, row_of(op.outer_stats, i));
    }
  }
}

// ---- Backward --------------------------------------------------------------------------------

// As many as leave each the registers of a row under way and of another one's inputs.
constexpr int kBackwardThreads = 512;

struct Backward : Gate {
  Act dh_out;
  Mat dx;
  Act dhg, dgate;
  float* parts;  // [blocks, 4 cols]: gradients of the inner gain and bias, the outer gain and bias
};

// Writes the gradients of h, g and the gate, from d, that of m.
template <bool kWhole, class T>
__device__ __forceinline__ void write_gradients(const Backward& op, int64_t i, int64_t j,
                                                int64_t count, const Blend& blend,
                                                const float (&d)[kVector]) {
  float dh[kVector], dg[kVector], dgate[kVector];
#pragma unroll
  for (int k = 0; k < kVector; ++k) {
    const float alpha = blend.alpha[k];
    dh[k] = d[k] * alpha;
    dg[k] = fmaf(-d[k], alpha, d[k]);  // d (1 - alpha), also where that is small
    dgate[k] = dg[k] * blend.share[k];
  }
  T* dhg = row_of<T>(op.dhg, i) + j;
  store<kWhole>(dhg, count, dh);
  store<kWhole>(dhg + op.cols, count, dg);
  store<kWhole>(row_of<T>(op.dgate, i) + j, count, dgate);
}

// Inputs of the next row are read as in gate_rows.
template <class T, int kWarps>
__global__ void __launch_bounds__(kBackwardThreads) gate_backward_rows(Backward op) {
  const Lane<kWarps> lane;
  ColumnSums<kWarps, 4> sums;
  wait_for_inputs();
  const bool has_columns = lane.column < op.cols;
  const int64_t j = min(static_cast<int64_t>(lane.column), op.cols - kVector);
  const LocalDropout dropout(op.dropout);
  Turns<kWarps> turns(lane, op.rows);
  const int64_t first = min(turns.row(), turns.rows - 1);
  NormInputs<T> outer(op.dh_out, op.x_out, op.outer_stats, first, j);
  Eight<float> next_dx(row_of(op.dx, first) + j);
  RowStats next_inner = read_stats(row_of(op.inner_stats, first));
  BlendInputs<T> inputs(op, first, j);
  for (; !turns.is_over(); turns.next()) {
    const int64_t i = turns.row(), next = i + turns.stride;
    const bool has = has_columns && i < turns.rows, has_next = turns.has_next();
    float n[kVector], d[kVector], dx[kVector], gain[kVector];
    const RowStats inner = next_inner;
    const float outer_inverse = outer.stats.inverse;
    outer.unpack(has, d, n);
    if (has_next) {
      outer = NormInputs<T>(op.dh_out, op.x_out, op.outer_stats, next, j);
      next_inner = read_stats(row_of(op.inner_stats, next));
    }
    sums.add_gradients(2, d, n);
    load8(op.outer_gain + j, gain);
    float slopes[2] = {};
    add_to_slopes(gain, n, d, slopes);
    team_sum<kWarps>(slopes);
    norm_gradient(n, slopes, outer_inverse, op.cols, d);
    next_dx.unpack(dx);
    if (has_next) next_dx = Eight<float>(row_of(op.dx, next) + j);
#pragma unroll
    for (int k = 0; k < kVector; ++k) dx[k] += d[k];
    if (has) store8(row_of(op.dx, i) + j, dx);

    Blend blend;
    inputs.unpack(blend);
    if (has_next) inputs = BlendInputs<T>(op, next, j);
    blend.open();
    dropout.factors(i * op.cols + j, d);
#pragma unroll
    for (int k = 0; k < kVector; ++k) {
      d[k] = has ? d[k] * dx[k] : 0.0f;
      n[k] = normalised(blend.m(k), inner);
    }
    sums.add_gradients(0, d, n);
    load8(op.inner_gain + j, gain);
    slopes[0] = slopes[1] = 0;
    add_to_slopes(gain, n, d, slopes);
    team_sum<kWarps>(slopes);
    norm_gradient(n, slopes, inner.inverse, op.cols, d);
    if (has) write_gradients<true, T>(op, i, j, kVector, blend, d);
  }
  sums.write(op.parts + blockIdx.x * 4 * op.cols, op.cols);
}

template <class T>
__global__ void __launch_bounds__(kRowThreads) gate_backward_any_rows(Backward op) {
  wait_for_inputs();
  float* parts = op.parts + blockIdx.x * 4 * op.cols;
  for (int64_t i = blockIdx.x; i < op.rows; i += gridDim.x) {
    const PartsOfBlock sums{parts, op.cols, i == blockIdx.x};
    const RowStats outer = read_stats(row_of(op.outer_stats, i));
    const RowStats inner = read_stats(row_of(op.inner_stats, i));
    float n[kVector], d[kVector], dx[kVector], gain[kVector];
    float outer_slopes[2] = {}, inner_slopes[2] = {};
    Blend blend;
    const auto read_outer = [&](int64_t j, int64_t count) {
      load<false>(row_of<T>(op.dh_out, i) + j, count, d);
      load<false>(row_of(op.x_out, i) + j, count, n);
      load<false>(op.outer_gain + j, count, gain);
#pragma unroll
      for (int k = 0; k < kVector; ++k) n[k] = normalised(n[k], outer);
    };
    const auto read_inner = [&](int64_t j, int64_t count) {  // once dx is complete
      load<false>(row_of(op.dx, i) + j, count, dx);
      load<false>(op.inner_gain + j, count, gain);
      dropout8<false>(op.dropout, i * op.cols + j, d);
      blend.read<false, T>(op, i, j, count);
      blend.open();
#pragma unroll
      for (int k = 0; k < kVector; ++k) {
        d[k] *= dx[k];
        n[k] = normalised(blend.m(k), inner);
      }
    };
    for_columns(op.cols, [&](int64_t j, int64_t count) {
      read_outer(j, count);
      sums.add_gradients(2, j, count, d, n);
      add_to_slopes(gain, n, d, outer_slopes);
    });
    team_sum<kRowWarps>(outer_slopes);
    for_columns(op.cols, [&](int64_t j, int64_t count) {
      read_outer(j, count);
#pragma unroll
      for (int k = 0; k < kVector; ++k) d[k] *= gain[k];
      norm_gradient(n, outer_slopes, outer.inverse, op.cols, d);
      load<false>(row_of(op.dx, i) + j, count, dx);
#pragma unroll
      for (int k = 0; k < kVector; ++k) dx[k] += d[k];
      store<false>(row_of(op.dx, i) + j, count, dx);
      read_inner(j, count);
      sums.add_gradients(0, j, count, d, n);
      add_to_slopes(gain, n, d, inner_slopes);
    });
    team_sum<kRowWarps>(inner_slopes);
    for_columns(op.cols, [&](int64_t j, int64_t count) {
      read_inner(j, count);
#pragma unroll
      for (int k = 0; k < kVector; ++k) d[k] *= gain[k];
      norm_gradient(n, inner_slopes, inner.inverse, op.cols, d);
      write_gradients<false, T>(op, i, j, count, blend, d);
    });
  }
}

// ---- Launch ----------------------------------------------------------------------------------

bool is_vectored_gate(const Gate& op, const Norm& inner, const Norm& outer) {
  return is_vectored_norm(inner) && is_vectored_norm(outer) && is_vectored(op.hg) &&
         is_vectored(op.gate) && is_vectored(op.x_out);
}

}  // namespace

void CudaOps::gate_add_norm(const Mat& x, const Act& hg, const Act& gate, const Norm& inner,
                            const Dropout& dropout, const Norm& outer, const Mat& x_out,
                            const Mat& inner_stats, const Mat& outer_stats, const Act& h_out) {
  const Range range(device_, "gate_add_norm");
  const Gate both{
      x.rows,  x.cols, hg,          gate,       inner.gain.value.data, outer.gain.value.data,
      dropout, x_out,  inner_stats, outer_stats};
  const Forward op{both, inner.bias.value.data, outer.bias.value.data, x, h_out};
  const bool vectored = is_vectored_gate(op, inner, outer) && is_vectored(x) && is_vectored(h_out);
  const auto most = static_cast<unsigned>(kForwardBlocks * gpu_.multiprocessors());
  with_rows(
      h_out, vectored,
      [&](auto element) {
        launch(gpu_, "gate_add_norm", gate_any_rows<decltype(element)>, any_row_blocks(op.rows),
               kRowThreads, 0, op);
      },
      [&](auto element, auto warps) {
        launch(gpu_, "gate_add_norm", gate_rows<decltype(element), warps>,
               std::min(row_blocks(op.rows, warps), most), kRowThreads, 0, op);
      });
}

void CudaOps::gate_add_norm_backward(const Act& dh_out, const Mat& x_out, const Act& hg,
                                     const Act& gate, const Mat& inner_stats,
                                     const Mat& outer_stats, const Norm& inner,
                                     const Dropout& dropout, const Norm& outer, const Mat& dx,
                                     const Act& dhg, const Act& dgate) {
  const char* name = "gate_add_norm_backward";
  const Range range(device_, name);
  const Gate both{
      dx.rows, dx.cols, hg,          gate,       inner.gain.value.data, outer.gain.value.data,
      dropout, x_out,   inner_stats, outer_stats};
  const Backward op{both, dh_out, dx, dhg, dgate, nullptr};
  const bool vectored = is_vectored_gate(op, inner, outer) && is_vectored(dh_out) &&
                        is_vectored(dx) && is_vectored(dhg) && is_vectored(dgate);
  const SumTargets targets{
      {inner.gain.grad.data, inner.bias.grad.data, outer.gain.grad.data, outer.bias.grad.data}};
  with_rows(
      dh_out, vectored,
      [&](auto element) {
        SumsLaunch::any_rows(gpu_, op.rows)
            .run(gpu_, name, gate_backward_any_rows<decltype(element)>, op, 4, targets);
      },
      [&](auto element, auto warps) {
        SumsLaunch::teams(gpu_, op.rows, warps, 4, kBackwardThreads)
            .run(gpu_, name, gate_backward_rows<decltype(element), warps>, op, 4, targets);
      });
}

}  // namespace gf::cuda
