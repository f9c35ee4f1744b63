#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/cpu_ops.h"
#include "cpu/gemm.h"
#include "cpu/kernel.h"

namespace gf {
namespace {

// The vocabulary is taken in chunks, each with its slice of every product, so that logits and their
// gradient are worked on while they are in the cache.
constexpr int64_t kChunk = 1024;

int64_t chunks_of(int64_t vocabulary) {
  return (vocabulary + kChunk - 1) / kChunk;
}

// Largest logit of a row and the sum of e^(logit - max).
struct SoftmaxSum {
  float max;
  double sum;
};

// As wide as the vocabulary: a panel may be wider.
Mat panel_of(const Act& panel, int64_t vocabulary) {
  return block(f32(panel), 0, panel.rows, 0, vocabulary);
}

// The id that a row of the batch predicts; -1 for a sequence's last row.
int64_t target_of(const Batch& batch, int64_t row) {
  return row % batch.length + 1 < batch.length ? batch.ids[row + 1] : -1;
}

GF_KERNEL void softmax_sums(const Mat& logits, SoftmaxSum* sums) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const float* row = logits.row(i);
    float max = row[0], sum = 0;
#pragma omp simd reduction(max : max)
    for (int64_t j = 0; j < logits.cols; ++j) max = row[j] > max ? row[j] : max;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < logits.cols; ++j) sum += fast_exp(row[j] - max);
    sums[i] = {max, sum};
  }
}

// logits = h tokens^T and the sums of their rows.
std::vector<SoftmaxSum> softmax_of(ThreadPool& pool, const Mat& h, const Mat& tokens,
                                   const Mat& logits) {
  const int64_t chunks = chunks_of(tokens.rows);
  std::vector<SoftmaxSum> parts(static_cast<size_t>(chunks * h.rows));
  pool.run(chunks, [&](int64_t chunk) {
    const int64_t first = chunk * kChunk, count = std::min(kChunk, tokens.rows - first);
    const Mat part = block(logits, 0, h.rows, first, count);
    gemm(1.0f, h, transposed(tokens.row_range(first, count)), 0.0f, part);
    softmax_sums(part, parts.data() + chunk * h.rows);
  });

  std::vector<SoftmaxSum> sums(parts.begin(), parts.begin() + h.rows);
  for (size_t i = 0; i < sums.size(); ++i) {
    for (size_t part = i + sums.size(); part < parts.size(); part += sums.size()) {
      const float max = std::max(sums[i].max, parts[part].max);
      sums[i].sum = sums[i].sum * std::exp(static_cast<double>(sums[i].max) - max) +
                    parts[part].sum * std::exp(static_cast<double>(parts[part].max) - max);
      sums[i].max = max;
    }
  }
  return sums;
}

// Adds the losses of the panel's rows, of which the first is row `first` of the batch.
void add_losses(const Batch& batch, int64_t first, const Mat& logits,
                const std::vector<SoftmaxSum>& sums, LossSum* loss) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const int64_t target = target_of(batch, first + i);
    if (target < 0) continue;
    const SoftmaxSum& row = sums[static_cast<size_t>(i)];
    loss->sum += row.max + std::log(row.sum) - logits.row(i)[target];
    ++loss->count;
  }
}

GF_KERNEL void softmax_row(float max, float factor, int64_t count, float* row) {
  for (int64_t j = 0; j < count; ++j) row[j] = fast_exp(row[j] - max) * factor;
}

// A chunk's logits become their gradient: scale (softmax - one-hot of the target).
void to_gradient(const Batch& batch, int64_t first, int64_t first_id, double scale,
                 const std::vector<SoftmaxSum>& sums, const Mat& logits) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const int64_t target = target_of(batch, first + i);
    const SoftmaxSum& row = sums[static_cast<size_t>(i)];
    const double factor = target < 0 ? 0.0 : scale / row.sum;
    softmax_row(row.max, static_cast<float>(factor), logits.cols, logits.row(i));
    if (target >= first_id && target < first_id + logits.cols) {
      logits.row(i)[target - first_id] -= static_cast<float>(scale);
    }
  }
}

// out = the sum of `count` matrices of its shape that lie one after the other.
GF_KERNEL void sum_parts(const float* parts, int64_t count, int64_t stride, int64_t length,
                         float* __restrict out) {
  std::copy_n(parts, length, out);
  for (int64_t part = 1; part < count; ++part) {
    const float* __restrict from = parts + part * stride;
    for (int64_t j = 0; j < length; ++j) out[j] += from[j];
  }
}

}  // namespace

void CpuOps::logits(const Act& h, const Param& tokens, const Mat& logits) {
  const Range range(device_, "logits");
  gemm(pool_, f32(h), transposed(tokens.value), 0.0f, logits);
}

void CpuOps::lm_loss(const Act& h_act, const Param& tokens, const Batch& batch,
                     const Act& panel_act, LossSum* loss) {
  const Range range(device_, "lm_loss");
  const Mat h = f32(h_act), panel = panel_of(panel_act, tokens.value.rows);
  for (int64_t first = 0; first < h.rows; first += panel.rows) {
    const int64_t count = std::min(panel.rows, h.rows - first);
    const Mat logits = panel.first_rows(count);
    const auto sums = softmax_of(pool_, h.row_range(first, count), tokens.value, logits);
    add_losses(batch, first, logits, sums, loss);
  }
}

void CpuOps::lm_loss_backward(const Act& h_act, const Param& tokens, const Batch& batch,
                              const Act& panel_act, LossSum* loss, const Act& dh_act) {
  const Range range(device_, "lm_loss_backward");
  const Mat h = f32(h_act), dh = f32(dh_act), panel = panel_of(panel_act, tokens.value.rows);
  const int64_t vocabulary = tokens.value.rows, chunks = chunks_of(vocabulary);
  const double predicted = static_cast<double>(batch.sequences * (batch.length - 1));
  const double scale = predicted > 0 ? 1.0 / predicted : 0.0;
  *loss = {};
  partials_.resize(static_cast<size_t>(chunks * std::min(panel.rows, h.rows) * h.cols));

  for (int64_t first = 0; first < h.rows; first += panel.rows) {
    const int64_t rows = std::min(panel.rows, h.rows - first), size = rows * h.cols;
    const Mat logits = panel.first_rows(rows), h_rows = h.row_range(first, rows);
    const auto sums = softmax_of(pool_, h_rows, tokens.value, logits);
    add_losses(batch, first, logits, sums, loss);

    pool_.run(chunks, [&](int64_t chunk) {
      const int64_t id = chunk * kChunk, ids = std::min(kChunk, vocabulary - id);
      const Mat dlogits = block(logits, 0, rows, id, ids);
      to_gradient(batch, first, id, scale, sums, dlogits);
      gemm(1.0f, transposed(dlogits), h_rows, first == 0 ? 0.0f : 1.0f,
           tokens.grad.row_range(id, ids));
      gemm(1.0f, dlogits, tokens.value.row_range(id, ids), 0.0f,
           {partials_.data() + chunk * size, rows, h.cols, h.cols});
    });
    pool_.run(rows, [&](int64_t i) {
      sum_parts(partials_.data() + i * h.cols, chunks, size, h.cols, dh.row(first + i));
    });
  }
}

}  // namespace gf
