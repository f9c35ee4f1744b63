#include <algorithm>
#include <numeric>
#include <vector>

#include "cpu/cpu_ops.h"
#include "cpu/dropout.h"
#include "cpu/kernel.h"
#include "cpu/row_parts.h"

namespace gf {
namespace {

// At M = 1024, D = 256 on one core: forward 2.1 MB, 0.02 ms at the speed of a copy, measured 0.12
// ms; backward 3.1 MB, 0.03 ms, measured 0.25 ms, since dropout's random bits are drawn twice.

GF_KERNEL void embed_rows(const Batch& batch, const Mat& tokens, const Mat& positions,
                          const Dropout& dropout, int64_t first, int64_t end, const Mat& x) {
  for (int64_t i = first; i < end; ++i) {
    const float* token = tokens.row(batch.ids[i]);
    const float* position = positions.row(i % batch.length);
    float* to = x.row(i);
    dropout_span(dropout, i * x.cols, x.cols,
                 [=](int64_t j, float factor) { to[j] = (token[j] + position[j]) * factor; });
  }
}

// sum += dropout'(row i of dx).
GF_KERNEL void add_row(const Mat& dx, int64_t i, const Dropout& dropout, float* sum) {
  const float* from = dx.row(i);
  dropout_span(dropout, i * dx.cols, dx.cols,
               [=](int64_t j, float factor) { sum[j] += from[j] * factor; });
}

// The rows of a batch grouped by id, in their order within a group.
struct RowsById {
  std::vector<int64_t> rows;
  std::vector<int64_t> begins;  // of the groups in rows, and the end of the last
};

RowsById rows_by_id(const Batch& batch) {
  RowsById by_id{std::vector<int64_t>(static_cast<size_t>(batch.rows())), {}};
  std::iota(by_id.rows.begin(), by_id.rows.end(), int64_t{0});
  std::stable_sort(by_id.rows.begin(), by_id.rows.end(),
                   [&](int64_t a, int64_t b) { return batch.ids[a] < batch.ids[b]; });
  for (size_t k = 0; k < by_id.rows.size(); ++k) {
    if (k == 0 || batch.ids[by_id.rows[k]] != batch.ids[by_id.rows[k - 1]]) {
      by_id.begins.push_back(static_cast<int64_t>(k));
    }
  }
  by_id.begins.push_back(batch.rows());
  return by_id;
}

}  // namespace

void CpuOps::embed(const Batch& batch, const Param& tokens, const Param& positions,
                   const Dropout& dropout, const Mat& x) {
  const Range range(device_, "embed");
  for_row_parts(pool_, x.rows, [&](int64_t, int64_t first, int64_t end) {
    embed_rows(batch, tokens.value, positions.value, dropout, first, end, x);
  });
}

void CpuOps::embed_backward(const Batch& batch, const Mat& dx, const Dropout& dropout,
                            const Param& tokens, const Param& positions) {
  const Range range(device_, "embed_backward");
  pool_.run(positions.grad.rows, [&](int64_t t) {
    float* sum = positions.grad.row(t);
    std::fill_n(sum, dx.cols, 0.0f);
    if (t >= batch.length) return;
    for (int64_t i = t; i < dx.rows; i += batch.length) add_row(dx, i, dropout, sum);
  });

  // A scatter in which no two threads meet: a group, and with it a row of the gradient, is one
  // part's alone.
  const auto [rows, begins] = rows_by_id(batch);
  for_row_parts(pool_, std::ssize(begins) - 1, [&](int64_t, int64_t first, int64_t end) {
    for (int64_t k = begins[first]; k < begins[end]; ++k) {
      add_row(dx, rows[k], dropout, tokens.grad.row(batch.ids[rows[k]]));
    }
  });
}

}  // namespace gf
