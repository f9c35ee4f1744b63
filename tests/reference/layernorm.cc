#include "reference/layernorm.h"

namespace reference {
namespace {

// Mean and 1 / sqrt(var + 1e-5) by row.
Matrix stats_of(const Matrix& x) {
  Matrix stats(x.rows, 2);
  for (int64_t i = 0; i < x.rows; ++i) {
    double mean = 0, variance = 0;
    for (int64_t j = 0; j < x.cols; ++j) mean += x(i, j) / static_cast<double>(x.cols);
    for (int64_t j = 0; j < x.cols; ++j) {
      variance += (x(i, j) - mean) * (x(i, j) - mean) / static_cast<double>(x.cols);
    }
    stats(i, 0) = mean;
    stats(i, 1) = 1 / std::sqrt(variance + 1e-5);
  }
  return stats;
}

}  // namespace

Norm norm(const Matrix& x, const Matrix& gain, const Matrix& bias) {
  Norm result{x, stats_of(x)};
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) {
      const double n = (x(i, j) - result.stats(i, 0)) * result.stats(i, 1);
      result.h(i, j) = n * gain(0, j) + bias(0, j);
    }
  }
  return result;
}

NormGradients norm_backward(const Matrix& dh, const Matrix& x, const Matrix& gain) {
  const Matrix stats = stats_of(x);
  NormGradients d{Matrix(1, x.cols), Matrix(1, x.cols), Matrix(x.rows, x.cols)};
  for (int64_t i = 0; i < x.rows; ++i) {
    std::vector<double> n, dn;
    double mean_dn = 0, mean_n_dn = 0;
    for (int64_t j = 0; j < x.cols; ++j) {
      n.push_back((x(i, j) - stats(i, 0)) * stats(i, 1));
      dn.push_back(dh(i, j) * gain(0, j));
      d.gain(0, j) += dh(i, j) * n.back();
      d.bias(0, j) += dh(i, j);
      mean_dn += dn.back() / static_cast<double>(x.cols);
      mean_n_dn += n.back() * dn.back() / static_cast<double>(x.cols);
    }
    for (int64_t j = 0; j < x.cols; ++j) {
      const auto k = static_cast<size_t>(j);
      d.x(i, j) = (dn[k] - mean_dn - n[k] * mean_n_dn) * stats(i, 1);
    }
  }
  return d;
}

}  // namespace reference
