#pragma once

#include <cmath>
#include <cstdint>

#include "math.h"

namespace gf {

// LayerNorm of one row, for use inside a GF_KERNEL.

// What a row of stats holds: the row's mean and 1 / sqrt(var + epsilon).
struct RowStats {
  float mean;
  float inverse;
};

inline RowStats read_stats(const float* stats) {
  return {stats[0], stats[1]};
}

inline void write_stats(const RowStats& row, float* stats) {
  stats[0] = row.mean;
  stats[1] = row.inverse;
}

// The variance is that about the mean: E[x²] - mean² would cancel where the mean is large.
GF_INLINE RowStats row_stats(const float* x, int64_t count) {
  const float inverse_count = 1.0f / static_cast<float>(count);
  float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < count; ++j) sum += x[j];
  const float mean = sum * inverse_count;
#pragma omp simd reduction(+ : squares)
  for (int64_t j = 0; j < count; ++j) squares += (x[j] - mean) * (x[j] - mean);
  return {mean, 1.0f / std::sqrt(squares * inverse_count + kLayerNormEpsilon)};
}

GF_INLINE float normalised(float x, const RowStats& stats) {
  return (x - stats.mean) * stats.inverse;
}

// Adds this row's share to dgain and dbias and calls sink(j, gradient of x[j]), which may overwrite
// dh[j] and x[j].
template <class Sink>
GF_INLINE void norm_backward_row(const float* dh, const float* x, const RowStats& stats,
                                 const float* gain, int64_t count, float* dgain, float* dbias,
                                 const Sink& sink) {
  float mean = 0, slope = 0;  // of the normalised row's gradient
#pragma omp simd reduction(+ : mean, slope)
  for (int64_t j = 0; j < count; ++j) {
    const float n = normalised(x[j], stats);
    dgain[j] += dh[j] * n;
    dbias[j] += dh[j];
    mean += dh[j] * gain[j];
    slope += dh[j] * gain[j] * n;
  }
  mean /= static_cast<float>(count);
  slope /= static_cast<float>(count);
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) {
    const float n = normalised(x[j], stats);
    sink(j, (dh[j] * gain[j] - mean - n * slope) * stats.inverse);
  }
}

}  // namespace gf
