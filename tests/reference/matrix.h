#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

// The naive double-precision twins of the operations: slow obvious loops over these matrices.
namespace reference {

struct Matrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(int64_t r, int64_t c, double value = 0)
      : rows(r), cols(c), values(static_cast<size_t>(r * c), value) {}

  double& operator()(int64_t i, int64_t j) { return values[static_cast<size_t>(i * cols + j)]; }
  double operator()(int64_t i, int64_t j) const {
    return values[static_cast<size_t>(i * cols + j)];
  }
};

// Normally distributed numbers that bf16 holds exactly, so that every device is given the same.
Matrix random_matrix(uint64_t seed, int64_t rows, int64_t cols, double deviation = 1.0);

// body(i) for every row i, shared among threads: each writes what is its own alone.
void for_rows(int64_t rows, const std::function<void(int64_t)>& body);

// ||a - b|| / ||b||; infinity where a is not finite or the shapes differ.
double relative_error(const Matrix& a, const Matrix& b);

// Fails the test unless the gradient that a twin states for `variable` is that of `loss` by central
// differences. Twins are compared with the operations; this compares the twins with themselves.
void assert_gradient(const char* what, Matrix& variable, const Matrix& gradient,
                     const std::function<double()>& loss);

// Σ a b: with a fixed random `a` a loss whose gradient at b is a.
double dot(const Matrix& a, const Matrix& b);

// Dropout's factor of every element of a [rows, cols] tensor, by the rule in math.h.
Matrix dropout_factors(uint64_t seed, uint64_t step, uint32_t site, uint32_t threshold,
                       int64_t rows, int64_t cols);

}  // namespace reference
