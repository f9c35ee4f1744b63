#include <algorithm>
#include <cmath>
#include <memory>

#include "cpu/cpu_ops.h"
#include "cpu/gemm.h"
#include "cpu/kernel.h"

namespace gf {
namespace {

// Queries are taken in blocks against all keys up to the last of them, so that scores need
// kQueries * T floats and most of what lies above the diagonal is never computed.
constexpr int64_t kQueries = 64;

// One head of one sequence.
struct Head {
  Mat q, k, v;
};

// The columns of one head in each third of qkv (or of its gradient).
Head head_of(const Mat& qkv, int64_t sequence, int64_t length, int64_t head, int64_t heads) {
  const int64_t width = qkv.cols / 3, size = width / heads;
  const auto third = [&](int64_t i) {
    return block(qkv, sequence * length, length, i * width + head * size, size);
  };
  return {third(0), third(1), third(2)};
}

std::unique_ptr<float[]> scratch(int64_t floats) {
  return std::make_unique_for_overwrite<float[]>(static_cast<size_t>(floats));
}

// Scores become probabilities; row i is query first + i and sees the keys up to itself.
// Writes log-sum-exp i to lse[i * lse_stride].
GF_KERNEL void causal_softmax(const Mat& scores, int64_t first, float* lse, int64_t lse_stride) {
  for (int64_t i = 0; i < scores.rows; ++i) {
    float* __restrict row = scores.row(i);
    const int64_t seen = first + i + 1;
    float max = row[0], sum = 0;
#pragma omp simd reduction(max : max)
    for (int64_t j = 0; j < seen; ++j) max = row[j] > max ? row[j] : max;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < seen; ++j) {
      row[j] = fast_exp(row[j] - max);
      sum += row[j];
    }
    const float inverse = 1.0f / sum;
    for (int64_t j = 0; j < seen; ++j) row[j] *= inverse;
    std::fill(row + seen, row + scores.cols, 0.0f);
    lse[i * lse_stride] = max + std::log(sum);
  }
}

// Scores become probabilities p = e^(score - lse), and dp becomes p (dp - dout · out), which is the
// gradient of the scores.
GF_KERNEL void causal_softmax_backward(const Mat& scores, const Mat& dp, int64_t first,
                                       const float* lse, int64_t lse_stride, const Mat& dout,
                                       const Mat& out) {
  for (int64_t i = 0; i < scores.rows; ++i) {
    float* __restrict p = scores.row(i);
    float* __restrict ds = dp.row(i);
    const float *dout_row = dout.row(i), *out_row = out.row(i);
    const int64_t seen = first + i + 1;
    float mean = 0;
#pragma omp simd reduction(+ : mean)
    for (int64_t j = 0; j < out.cols; ++j) mean += dout_row[j] * out_row[j];
    const float row_lse = lse[i * lse_stride];
    for (int64_t j = 0; j < seen; ++j) {
      p[j] = fast_exp(p[j] - row_lse);
      ds[j] = p[j] * (ds[j] - mean);
    }
    std::fill(p + seen, p + scores.cols, 0.0f);
    std::fill(ds + seen, ds + scores.cols, 0.0f);
  }
}

}  // namespace

void CpuOps::attention(const Act& qkv, int64_t sequences, int64_t length, int64_t heads,
                       const Act& out_act, const Mat& lse) {
  const Range range(device_, "attention");
  const Mat out = f32(out_act);
  const int64_t size = out.cols / heads, blocks = (length + kQueries - 1) / kQueries;
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  pool_.run(sequences * heads * blocks, [&](int64_t part) {
    const int64_t sequence = part / (heads * blocks), h = part / blocks % heads;
    const int64_t first = part % blocks * kQueries, rows = std::min(kQueries, length - first);
    const int64_t keys = first + rows, row = sequence * length + first;
    const Head head = head_of(f32(qkv), sequence, length, h, heads);

    const auto memory = scratch(rows * keys);
    const Mat scores{memory.get(), rows, keys, keys};
    gemm(scale, head.q.row_range(first, rows), transposed(head.k.first_rows(keys)), 0.0f, scores);
    causal_softmax(scores, first, lse.row(row) + h, lse.ld);
    gemm(1.0f, scores, head.v.first_rows(keys), 0.0f, block(out, row, rows, h * size, size));
  });
}

void CpuOps::attention_backward(const Act& dout_act, const Act& qkv, const Act& out_act,
                                const Mat& lse, int64_t sequences, int64_t length, int64_t heads,
                                const Act& dqkv) {
  const Range range(device_, "attention_backward");
  const Mat out = f32(out_act), dout = f32(dout_act);
  const int64_t size = out.cols / heads, blocks = (length + kQueries - 1) / kQueries;
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  pool_.run(sequences * heads, [&](int64_t part) {
    const int64_t sequence = part / heads, h = part % heads;
    const Head head = head_of(f32(qkv), sequence, length, h, heads);
    const Head grad = head_of(f32(dqkv), sequence, length, h, heads);
    const auto memory = scratch(2 * kQueries * length);

    // The last queries see every key, so they write dk and dv and the others add to them.
    for (int64_t b = blocks - 1; b >= 0; --b) {
      const int64_t first = b * kQueries, rows = std::min(kQueries, length - first);
      const int64_t keys = first + rows, row = sequence * length + first;
      const float beta = b == blocks - 1 ? 0.0f : 1.0f;
      const Mat q = head.q.row_range(first, rows);
      const Mat k = head.k.first_rows(keys), v = head.v.first_rows(keys);
      const Mat out_block = block(out, row, rows, h * size, size);
      const Mat dout_block = block(dout, row, rows, h * size, size);

      const Mat p{memory.get(), rows, keys, keys};
      const Mat ds{memory.get() + rows * keys, rows, keys, keys};
      gemm(scale, q, transposed(k), 0.0f, p);
      gemm(1.0f, dout_block, transposed(v), 0.0f, ds);
      causal_softmax_backward(p, ds, first, lse.row(row) + h, lse.ld, dout_block, out_block);
      gemm(scale, ds, k, 0.0f, grad.q.row_range(first, rows));
      gemm(scale, transposed(ds), q, beta, grad.k.first_rows(keys));
      gemm(1.0f, transposed(p), dout_block, beta, grad.v.first_rows(keys));
    }
  });
}

}  // namespace gf
