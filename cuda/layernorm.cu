#include "cuda_ops.h"
#include "norm_row.cuh"

namespace gf::cuda {
namespace {

// At D = 256, activations in bf16. norm: 1.5 KB a row, 6.3 MB at M = 4096. add_norm: 3 KB a row,
// 12.6 MB, 3 us at 4.3 TB/s. norm_backward and add_norm_backward: 3.5 and 4 KB a row, 16.8 MB, 4
// us, and 0.5 MB of parts through the second cache. At M = 32768 eight times that: add_norm 23 us,
// its backward 31 us. About 250 and 310 instructions a row and warp, 75 of them dropout's random
// bits, are a third of what the multiprocessors issue in that time.

// What both directions read or write of a row. y, h and their gradients are T's.
struct Rows {
  int64_t rows, cols;
  Mat x, stats;
  const float* gain;
  Dropout dropout;
};

// ---- Forward ---------------------------------------------------------------------------------

struct Forward : Rows {
  const float* bias;
  Act y;
  Mat x_out;
  Act h;
};

// One row a team: as many blocks as there are rows for keep enough loads under way. kAdd: y is
// added, and x_out written.
template <class T, int kWarps, bool kAdd>
__global__ void __launch_bounds__(kRowThreads) norm_rows(Forward op) {
  wait_for_inputs();
  const Lane<kWarps> lane;
  const Place at(static_cast<int64_t>(blockIdx.x) * lane.teams + lane.team, op.rows, lane.column,
                 op.cols);
  const int64_t i = at.i, j = at.j;
  float x[kVector], gain[kVector], bias[kVector];
  load8(row_of(op.x, i) + j, x);
  if constexpr (kAdd) {
    float y[kVector], factor[kVector];
    load8(row_of<T>(op.y, i) + j, y);
    dropout8<true>(op.dropout, i * op.cols + j, factor);
#pragma unroll
    for (int k = 0; k < kVector; ++k) x[k] += y[k] * factor[k];
    if (at.has) store8(row_of(op.x_out, i) + j, x);
  }
  load8(op.gain + j, gain);
  load8(op.bias + j, bias);
  at.zero_if_none(x);
  const RowStats stats = row_stats<kWarps>(x, at.has, op.cols);
  if (!at.has) return;
  if (j == 0) write_stats(stats, row_of(op.stats, i));
#pragma unroll
  for (int k = 0; k < kVector; ++k) x[k] = normalised(x[k], stats) * gain[k] + bias[k];
  store8(row_of<T>(op.h, i) + j, x);
}

template <class T, bool kAdd>
__global__ void __launch_bounds__(kRowThreads) norm_any_rows(Forward op) {
  wait_for_inputs();
  for (int64_t i = blockIdx.x; i < op.rows; i += gridDim.x) {
    const float* x = row_of(op.x, i);
    float v[kVector], y[kVector], factor[kVector], gain[kVector], bias[kVector];
    if constexpr (kAdd) {
      float* x_out = row_of(op.x_out, i);
      for_columns(op.cols, [&](int64_t j, int64_t count) {
        load<false>(x + j, count, v);
        load<false>(row_of<T>(op.y, i) + j, count, y);
        dropout8<false>(op.dropout, i * op.cols + j, factor);
#pragma unroll
        for (int k = 0; k < kVector; ++k) v[k] += y[k] * factor[k];
        store<false>(x_out + j, count, v);
      });
      x = x_out;  // Every thread reads what it has written itself.
    }
    const RowStats stats = row_stats_of(op.cols, [&](int64_t j, int64_t count, auto& values) {
      load<false>(x + j, count, values);
    });
    if (threadIdx.x == 0) write_stats(stats, row_of(op.stats, i));
    for_columns(op.cols, [&](int64_t j, int64_t count) {
      load<false>(x + j, count, v);
      load<false>(op.gain + j, count, gain);
      load<false>(op.bias + j, count, bias);
#pragma unroll
      for (int k = 0; k < kVector; ++k) v[k] = normalised(v[k], stats) * gain[k] + bias[k];
      store<false>(row_of<T>(op.h, i) + j, count, v);
    });
  }
}

template <bool kAdd>
void forward(Gpu& gpu, const char* name, const Forward& op, bool vectored) {
  with_rows(
      op.h, vectored,
      [&](auto element) {
        launch(gpu, name, norm_any_rows<decltype(element), kAdd>, any_row_blocks(op.rows),
               kRowThreads, 0, op);
      },
      [&](auto element, auto warps) {
        launch(gpu, name, norm_rows<decltype(element), warps, kAdd>, row_blocks(op.rows, warps),
               kRowThreads, 0, op);
      });
}

// ---- Backward --------------------------------------------------------------------------------

// As many as leave each the registers of a row under way and of another one's inputs.
constexpr int kBackwardThreads = 512;

struct Backward : Rows {
  Act dh;
  Mat dx;
  Act dy;
  float* parts;  // [blocks, 2 cols]: of the gradients of gain and bias
};

// kDrop: dy is written. Where a row's inputs are used up the next one's are read, so that memory
// and arithmetic do not wait for each other.
template <class T, int kWarps, bool kDrop>
__global__ void __launch_bounds__(kBackwardThreads) norm_backward_rows(Backward op) {
  const Lane<kWarps> lane;
  ColumnSums<kWarps, 2> sums;
  wait_for_inputs();
  const bool has_columns = lane.column < op.cols;
  const int64_t j = min(static_cast<int64_t>(lane.column), op.cols - kVector);
  const LocalDropout dropout(kDrop ? op.dropout : Dropout());
  float gain[kVector];
  load8(op.gain + j, gain);
  Turns<kWarps> turns(lane, op.rows);
  const int64_t first = min(turns.row(), turns.rows - 1);
  NormInputs<T> inputs(op.dh, op.x, op.stats, first, j);
  Eight<float> next_dx(row_of(op.dx, first) + j);
  for (; !turns.is_over(); turns.next()) {
    const int64_t i = turns.row(), next = i + turns.stride;
    const bool has = has_columns && i < turns.rows, has_next = turns.has_next();
    float n[kVector], d[kVector], dx[kVector], factor[kVector];
    const float inverse = inputs.stats.inverse;
    inputs.unpack(has, d, n);
    if (has_next) inputs = NormInputs<T>(op.dh, op.x, op.stats, next, j);
    sums.add_gradients(0, d, n);
    float slopes[2] = {};
    add_to_slopes(gain, n, d, slopes);
    team_sum<kWarps>(slopes);
    norm_gradient(n, slopes, inverse, op.cols, d);
    next_dx.unpack(dx);
    if (has_next) next_dx = Eight<float>(row_of(op.dx, next) + j);
#pragma unroll
    for (int k = 0; k < kVector; ++k) dx[k] += d[k];
    if (has) store8(row_of(op.dx, i) + j, dx);
    if constexpr (kDrop) {
      dropout.factors(i * op.cols + j, factor);
#pragma unroll
      for (int k = 0; k < kVector; ++k) dx[k] *= factor[k];
      if (has) store8(row_of<T>(op.dy, i) + j, dx);
    }
  }
  sums.write(op.parts + blockIdx.x * 2 * op.cols, op.cols);
}

template <class T, bool kDrop>
__global__ void __launch_bounds__(kRowThreads) norm_backward_any_rows(Backward op) {
  wait_for_inputs();
  float* parts = op.parts + blockIdx.x * 2 * op.cols;
  for (int64_t i = blockIdx.x; i < op.rows; i += gridDim.x) {
    const PartsOfBlock sums{parts, op.cols, i == blockIdx.x};
    const RowStats stats = read_stats(row_of(op.stats, i));
    float n[kVector], d[kVector], gain[kVector], slopes[2] = {};
    const auto load_all = [&](int64_t j, int64_t count) {
      load<false>(row_of(op.x, i) + j, count, n);
      load<false>(row_of<T>(op.dh, i) + j, count, d);
      load<false>(op.gain + j, count, gain);
#pragma unroll
      for (int k = 0; k < kVector; ++k) n[k] = normalised(n[k], stats);
    };
    for_columns(op.cols, [&](int64_t j, int64_t count) {
      load_all(j, count);
      sums.add_gradients(0, j, count, d, n);
      add_to_slopes(gain, n, d, slopes);
    });
    team_sum<kRowWarps>(slopes);
    for_columns(op.cols, [&](int64_t j, int64_t count) {
      load_all(j, count);
#pragma unroll
      for (int k = 0; k < kVector; ++k) d[k] *= gain[k];
      norm_gradient(n, slopes, stats.inverse, op.cols, d);
      float dx[kVector], factor[kVector];
      load<false>(row_of(op.dx, i) + j, count, dx);
#pragma unroll
      for (int k = 0; k < kVector; ++k) dx[k] += d[k];
      store<false>(row_of(op.dx, i) + j, count, dx);
      if constexpr (kDrop) {
        dropout8<false>(op.dropout, i * op.cols + j, factor);
#pragma unroll
        for (int k = 0; k < kVector; ++k) dx[k] *= factor[k];
        store<false>(row_of<T>(op.dy, i) + j, count, dx);
      }
    });
  }
}

template <bool kDrop>
void backward(Gpu& gpu, const char* name, const Backward& op, const Norm& norm, bool vectored) {
  const SumTargets targets{{norm.gain.grad.data, norm.bias.grad.data}};
  with_rows(
      op.dh, vectored,
      [&](auto element) {
        SumsLaunch::any_rows(gpu, op.rows)
            .run(gpu, name, norm_backward_any_rows<decltype(element), kDrop>, op, 2, targets);
      },
      [&](auto element, auto warps) {
        SumsLaunch::teams(gpu, op.rows, warps, 2, kBackwardThreads)
            .run(gpu, name, norm_backward_rows<decltype(element), warps, kDrop>, op, 2, targets);
      });
}

}  // namespace

void CudaOps::norm(const Mat& x, const Norm& norm, const Mat& stats, const Act& h) {
  const Range range(device_, "norm");
  const Forward op{
      {x.rows, x.cols, x, stats, norm.gain.value.data, {}}, norm.bias.value.data, {}, {}, h};
  forward<false>(gpu_, "norm", op, is_vectored_norm(norm) && is_vectored(x) && is_vectored(h));
}

void CudaOps::norm_backward(const Act& dh, const Mat& x, const Mat& stats, const Norm& norm,
                            const Mat& dx) {
  const Range range(device_, "norm_backward");
  const Backward op{{x.rows, x.cols, x, stats, norm.gain.value.data, {}}, dh, dx, {}, nullptr};
  backward<false>(gpu_, "norm_backward", op, norm,
                  is_vectored_norm(norm) && is_vectored(dh) && is_vectored(x) && is_vectored(dx));
}

void CudaOps::add_norm(const Mat& x, const Act& y, const Dropout& dropout, const Norm& norm,
                       const Mat& x_out, const Mat& stats, const Act& h) {
  const Range range(device_, "add_norm");
  const Forward op{
      {x.rows, x.cols, x, stats, norm.gain.value.data, dropout}, norm.bias.value.data, y, x_out, h};
  forward<true>(gpu_, "add_norm", op,
                is_vectored_norm(norm) && is_vectored(x) && is_vectored(y) && is_vectored(x_out) &&
                    is_vectored(h));
}

void CudaOps::add_norm_backward(const Act& dh, const Mat& x_out, const Mat& stats,
                                const Dropout& dropout, const Norm& norm, const Mat& dx,
                                const Act& dy) {
  const Range range(device_, "add_norm_backward");
  const Backward op{
      {x_out.rows, x_out.cols, x_out, stats, norm.gain.value.data, dropout}, dh, dx, dy, nullptr};
  backward<true>(gpu_, "add_norm_backward", op, norm,
                 is_vectored_norm(norm) && is_vectored(dh) && is_vectored(x_out) &&
                     is_vectored(dx) && is_vectored(dy));
}

}  // namespace gf::cuda
