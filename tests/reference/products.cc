#include "reference/products.h"

#include <numbers>

namespace reference {

Matrix linear(const Matrix& x, const Matrix& weight, const Matrix& bias) {
  Matrix y(x.rows, weight.rows);
  for_rows(y.rows, [&](int64_t i) {
    for (int64_t j = 0; j < y.cols; ++j) {
      double sum = bias(0, j);
      for (int64_t k = 0; k < x.cols; ++k) sum += x(i, k) * weight(j, k);
      y(i, j) = sum;
    }
  });
  return y;
}

LinearGradients linear_backward(const Matrix& dy, const Matrix& x, const Matrix& weight) {
  LinearGradients d{Matrix(weight.rows, weight.cols), Matrix(1, weight.rows),
                    Matrix(x.rows, x.cols)};
  for_rows(dy.rows, [&](int64_t i) {
    for (int64_t j = 0; j < dy.cols; ++j) {
      for (int64_t k = 0; k < x.cols; ++k) d.x(i, k) += dy(i, j) * weight(j, k);
    }
  });
  for_rows(dy.cols, [&](int64_t j) {
    for (int64_t i = 0; i < dy.rows; ++i) {
      d.bias(0, j) += dy(i, j);
      for (int64_t k = 0; k < x.cols; ++k) d.weight(j, k) += dy(i, j) * x(i, k);
    }
  });
  return d;
}

namespace {

double distribution(double x) {
  return 0.5 * std::erfc(-x / std::numbers::sqrt2);
}

double density(double x) {
  return std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
}

}  // namespace

Matrix gelu(const Matrix& u, const Matrix& factors) {
  Matrix a = factors;
  for (size_t i = 0; i < u.values.size(); ++i) {
    a.values[i] *= u.values[i] * distribution(u.values[i]);
  }
  return a;
}

Matrix gelu_backward(const Matrix& da, const Matrix& u, const Matrix& factors) {
  Matrix du = da;
  for (size_t i = 0; i < u.values.size(); ++i) {
    const double x = u.values[i];
    du.values[i] *= factors.values[i] * (distribution(x) + x * density(x));
  }
  return du;
}

}  // namespace reference
