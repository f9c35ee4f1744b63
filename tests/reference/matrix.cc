#include "reference/matrix.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <random>
#include <thread>

#include "math.h"
#include "support/support.h"

namespace reference {

Matrix random_matrix(uint64_t seed, int64_t rows, int64_t cols, double deviation) {
  std::mt19937_64 bits(seed);
  std::normal_distribution<double> normal(0, deviation);
  Matrix m(rows, cols);
  for (double& value : m.values) {
    const auto rounded = std::bit_cast<uint32_t>(static_cast<float>(normal(bits))) & 0xFFFF0000u;
    value = std::bit_cast<float>(rounded);
  }
  return m;
}

void for_rows(int64_t rows, const std::function<void(int64_t)>& body) {
  const int64_t count = std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, rows);
  std::vector<std::thread> threads;
  for (int64_t n = 0; n < count; ++n) {
    threads.emplace_back([&, n] {
      for (int64_t i = n; i < rows; i += count) body(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

double relative_error(const Matrix& a, const Matrix& b) {
  if (a.rows != b.rows || a.cols != b.cols) return std::numeric_limits<double>::infinity();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.values.size(); ++i) {
    if (!std::isfinite(a.values[i])) return std::numeric_limits<double>::infinity();
    difference += (a.values[i] - b.values[i]) * (a.values[i] - b.values[i]);
    norm += b.values[i] * b.values[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

void assert_gradient(const char* what, Matrix& variable, const Matrix& gradient,
                     const std::function<double()>& loss) {
  constexpr double kStep = 1e-5;
  Matrix numeric(variable.rows, variable.cols);
  for (size_t i = 0; i < variable.values.size(); ++i) {
    const double value = variable.values[i];
    variable.values[i] = value + kStep;
    const double above = loss();
    variable.values[i] = value - kStep;
    numeric.values[i] = (above - loss()) / (2 * kStep);
    variable.values[i] = value;
  }
  const double error = relative_error(gradient, numeric);
  if (!(error < 1e-7)) fail_msg("gradient of %s: relative error %.2e", what, error);
}

double dot(const Matrix& a, const Matrix& b) {
  double sum = 0;
  for (size_t i = 0; i < a.values.size(); ++i) sum += a.values[i] * b.values[i];
  return sum;
}

Matrix dropout_factors(uint64_t seed, uint64_t step, uint32_t site, uint32_t threshold,
                       int64_t rows, int64_t cols) {
  Matrix factors(rows, cols);
  for (size_t i = 0; i < factors.values.size(); ++i) {
    const gf::Bits4 bits = gf::random_bits(seed, step, site, i / 8);
    const uint32_t word = bits.v[i % 8 / 2] >> (i % 2 * 16) & 0xFFFFu;
    factors.values[i] = word < threshold ? 0.0 : 65536.0 / (65536.0 - threshold);
  }
  return factors;
}

}  // namespace reference
