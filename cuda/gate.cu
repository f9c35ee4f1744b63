#include "cuda_ops.h"
#include "norm_row.cuh"

namespace gf::cuda {
namespace {

// At D = 256, activations in bf16. Forward: 4 KB a row, 16.8 MB at M = 4096, 4 us at 4.3 TB/s.
// Backward: 6.5 KB a row, 27 MB, 6.3 us, less what the second cache holds, and 1 MB of parts. At M
// = 32768 eight times that: 31 us and 50 us. The sigmoid takes about 240 instructions a row and
// warp, dropout's random bits 100, all else of the backward pass 450.

// What both directions read.
struct Gate {
  int64_t rows, cols;
  Act hg, gate;
  const float *inner_gain, *outer_gain;
  Dropout dropout;
  Mat x_out, inner_stats, outer_stats;
};

// A lane's part of the blend of h and g: alpha = sigmoid(gate), m = g + alpha (h - g).
struct Blend {
  float alpha[kVector], h[kVector], g[kVector];

  // The row's elements, eight of them or `count`.
  template <bool kWhole, class T>
  __device__ __forceinline__ void read(const Gate& op, int64_t i, int64_t j, int64_t count) {
    const T* hg = row_of<T>(op.hg, i) + j;
    load<kWhole>(row_of<T>(op.gate, i) + j, count, alpha);
    load<kWhole>(hg, count, h);
    load<kWhole>(hg + op.cols, count, g);
  }
  __device__ __forceinline__ void open() {
#pragma unroll
    for (int k = 0; k < kVector; ++k) alpha[k] = sigmoid(alpha[k]);
  }
  __device__ __forceinline__ float m(int k) const {
    return g[k] + alpha[k] * (h[k] - g[k]);
  }
};

// ---- Forward ---------------------------------------------------------------------------------

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

template <class T, int kWarps>
__global__ void __launch_bounds__(kRowThreads) gate_rows(Forward op) {
  wait_for_inputs();
  const Lane<kWarps> lane;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * lane.teams + lane.team;
  const int64_t j = lane.column;
  const bool has = i < op.rows && j < op.cols;
  float x[kVector] = {}, m[kVector] = {}, factor[kVector];
  Blend blend = {};
  if (has) {
    blend.read<true, T>(op, i, j, kVector);
    load8(row_of(op.x, i) + j, x);
  }
  dropout8<true>(op.dropout, i * op.cols + j, factor);
  blend.open();
#pragma unroll
  for (int k = 0; k < kVector; ++k) m[k] = blend.m(k);
  const RowStats inner = row_stats<kWarps>(m, has, op.cols);
  if (has) {
    scale<true>(m, inner, op.inner_gain + j, op.inner_bias + j, kVector);
#pragma unroll
    for (int k = 0; k < kVector; ++k) x[k] += m[k] * factor[k];
    store8(row_of(op.x_out, i) + j, x);
  }
  const RowStats outer = row_stats<kWarps>(x, has, op.cols);
  if (!has) return;
  if (j == 0) {
    write_stats(inner, row_of(op.inner_stats, i));
    write_stats(outer, row_of(op.outer_stats, i));
  }
  scale<true>(x, outer, op.outer_gain + j, op.outer_bias + j, kVector);
  store8(row_of<T>(op.h_out, i) + j, x);
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

constexpr int kBackwardThreads = 768;  // 80 registers each: a row needs them

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
    dg[k] = d[k] * (1.0f - alpha);
    dgate[k] = d[k] * (blend.h[k] - blend.g[k]) * alpha * (1.0f - alpha);
  }
  T* dhg = row_of<T>(op.dhg, i) + j;
  store<kWhole>(dhg, count, dh);
  store<kWhole>(dhg + op.cols, count, dg);
  store<kWhole>(row_of<T>(op.dgate, i) + j, count, dgate);
}

template <class T, int kWarps>
__global__ void __launch_bounds__(kBackwardThreads) gate_backward_rows(Backward op) {
  wait_for_inputs();
  const Lane<kWarps> lane;
  const int64_t j = lane.column;
  ColumnSums<kWarps, 4> sums;
  // All threads of a block go around equally often: teams of several warps meet in team_sum.
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * lane.teams; first < op.rows;
       first += static_cast<int64_t>(gridDim.x) * lane.teams) {
    const int64_t i = first + lane.team;
    const bool has = i < op.rows && j < op.cols;
    float n[kVector] = {}, d[kVector] = {}, dx[kVector] = {}, gain[kVector] = {};
    RowStats inner, outer;
    Blend blend = {};
    if (has) {
      load8(row_of<T>(op.dh_out, i) + j, d);
      load8(row_of(op.x_out, i) + j, n);
      load8(row_of(op.dx, i) + j, dx);
      load8(op.outer_gain + j, gain);
      outer = read_stats(row_of(op.outer_stats, i));
      inner = read_stats(row_of(op.inner_stats, i));
      blend.read<true, T>(op, i, j, kVector);
    }
#pragma unroll
    for (int k = 0; k < kVector; ++k) n[k] = normalised(n[k], outer);
    sums.add_gradients(2, d, n);
    float slopes[2] = {};
    add_to_slopes(gain, n, d, slopes);
    team_sum<kWarps>(slopes);
    norm_gradient(n, slopes, outer.inverse, op.cols, d);
#pragma unroll
    for (int k = 0; k < kVector; ++k) dx[k] += d[k];
    if (has) store8(row_of(op.dx, i) + j, dx);

    dropout8<true>(op.dropout, i * op.cols + j, d);
    blend.open();
#pragma unroll
    for (int k = 0; k < kVector; ++k) {
      d[k] *= dx[k];
      n[k] = normalised(blend.m(k), inner);
    }
    sums.add_gradients(0, d, n);
    if (has) load8(op.inner_gain + j, gain);
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
  with_element(h_out, [&](auto element) {
    using T = decltype(element);
    if (!vectored) {
      launch(gpu_, "gate_add_norm", gate_any_rows<T>, any_row_blocks(op.rows), kRowThreads, 0, op);
      return;
    }
    with_warps(op.cols, [&](auto warps) {
      constexpr int kWarps = warps;
      launch(gpu_, "gate_add_norm", gate_rows<T, kWarps>, row_blocks(op.rows, kWarps), kRowThreads,
             0, op);
    });
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
  with_element(dh_out, [&](auto element) {
    using T = decltype(element);
    if (!vectored) {
      SumsLaunch::any_rows(gpu_, op.rows)
          .run(gpu_, name, gate_backward_any_rows<T>, op, 4, targets);
      return;
    }
    with_warps(op.cols, [&](auto warps) {
      constexpr int kWarps = warps;
      SumsLaunch::teams(gpu_, op.rows, kWarps, 4, kBackwardThreads)
          .run(gpu_, name, gate_backward_rows<T, kWarps>, op, 4, targets);
    });
  });
}

}  // namespace gf::cuda
