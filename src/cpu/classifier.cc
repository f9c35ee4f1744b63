#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/cpu_ops.h"
#include "cpu/dropout.h"
#include "cpu/kernel.h"
#include "cpu/view.h"

namespace gf {
namespace {

// At B = 32, T = 28, D = 256 on one core: 0.9 MB of h each way, 0.05 ms in all; a thousandth of a
// step.

GF_KERNEL void pool_row(const Mat& h, const Dropout& dropout, int64_t element,
                        float* __restrict pooled) {
  std::fill_n(pooled, h.cols, 0.0f);
  for (int64_t t = 0; t < h.rows; ++t) {
    const float* __restrict row = h.row(t);
    for (int64_t j = 0; j < h.cols; ++j) pooled[j] += row[j];
  }
  const float share = 1.0f / static_cast<float>(h.rows);
  dropout_span(dropout, element, h.cols,
               [=](int64_t j, float factor) { pooled[j] *= share * factor; });
}

GF_KERNEL float dot(const float* a, const float* b, int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < count; ++j) sum += a[j] * b[j];
  return sum;
}

// dh = gradient of the mean over its first `length` rows, through dropout; 0 behind them.
GF_KERNEL void spread_row(const float* dlogits, const Mat& weight, const Dropout& dropout,
                          int64_t element, int64_t length, const Mat& dh) {
  float* __restrict first = dh.row(0);
  std::fill_n(first, dh.cols, 0.0f);
  for (int64_t c = 0; c < weight.rows; ++c) {
    const float* __restrict row = weight.row(c);
    const float d = dlogits[c];
    for (int64_t j = 0; j < dh.cols; ++j) first[j] += d * row[j];
  }
  const float share = 1.0f / static_cast<float>(length);
  dropout_span(dropout, element, dh.cols,
               [=](int64_t j, float factor) { first[j] *= share * factor; });
  for (int64_t t = 1; t < length; ++t) std::copy_n(first, dh.cols, dh.row(t));
  for (int64_t t = length; t < dh.rows; ++t) std::fill_n(dh.row(t), dh.cols, 0.0f);
}

GF_KERNEL void add_scaled(const float* __restrict from, float factor, int64_t count,
                          float* __restrict to) {
  for (int64_t j = 0; j < count; ++j) to[j] += factor * from[j];
}

double log_sum_exp(const float* logits, int64_t classes) {
  const double max = *std::max_element(logits, logits + classes);
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(logits[c] - max);
  return max + std::log(sum);
}

double loss_of(const float* logits, int64_t classes, int32_t label) {
  return log_sum_exp(logits, classes) - logits[label];
}

// scale (softmax - one-hot of the label), by rows.
std::vector<float> gradient_of(const Mat& logits, const int32_t* labels, double scale) {
  std::vector<float> gradient(static_cast<size_t>(logits.size()));
  for (int64_t b = 0; b < logits.rows; ++b) {
    const double whole = log_sum_exp(logits.row(b), logits.cols);
    for (int64_t c = 0; c < logits.cols; ++c) {
      const double share = std::exp(logits.row(b)[c] - whole) - (c == labels[b] ? 1 : 0);
      gradient[static_cast<size_t>(b * logits.cols + c)] = static_cast<float>(scale * share);
    }
  }
  return gradient;
}

}  // namespace

void CpuOps::classify(const Act& h, const Batch& batch, const Dropout& dropout, const Linear& layer,
                      const Mat& pooled, const Mat& logits) {
  const Range range(device_, "classify");
  pool_.run(batch.sequences, [&](int64_t b) {
    const Mat states = f32(h).row_range(b * batch.length, batch.lengths[b]);
    pool_row(states, dropout, b * h.cols, pooled.row(b));
    for (int64_t c = 0; c < logits.cols; ++c) {
      logits.row(b)[c] =
          dot(pooled.row(b), layer.weight.value.row(c), h.cols) + layer.bias.value.data[c];
    }
  });
}

void CpuOps::class_loss(const Mat& logits, const Batch& batch, LossSum* loss, int64_t* confusion) {
  const Range range(device_, "class_loss");
  for (int64_t b = 0; b < batch.sequences; ++b) {
    const float* row = logits.row(b);
    const int64_t predicted = std::max_element(row, row + logits.cols) - row;
    loss->sum += loss_of(row, logits.cols, batch.labels[b]);
    ++confusion[batch.labels[b] * logits.cols + predicted];
  }
  loss->count += batch.sequences;
}

void CpuOps::classify_backward(const Mat& pooled, const Mat& logits, const Batch& batch,
                               const Dropout& dropout, const Linear& layer, LossSum* loss,
                               const Act& dh) {
  const Range range(device_, "classify_backward");
  const int64_t B = batch.sequences, C = logits.cols, D = pooled.cols;
  const std::vector<float> dlogits =
      gradient_of(logits, batch.labels, 1.0 / static_cast<double>(B));
  *loss = {0, B};
  for (int64_t b = 0; b < B; ++b) loss->sum += loss_of(logits.row(b), C, batch.labels[b]);

  pool_.run(C, [&](int64_t c) {
    float* sum = layer.weight.grad.row(c);
    std::fill_n(sum, D, 0.0f);
    layer.bias.grad.data[c] = 0;
    for (int64_t b = 0; b < B; ++b) {
      const float d = dlogits[static_cast<size_t>(b * C + c)];
      add_scaled(pooled.row(b), d, D, sum);
      layer.bias.grad.data[c] += d;
    }
  });
  pool_.run(B, [&](int64_t b) {
    spread_row(dlogits.data() + b * C, layer.weight.value, dropout, b * D, batch.lengths[b],
               f32(dh).row_range(b * batch.length, batch.length));
  });
}

}  // namespace gf
