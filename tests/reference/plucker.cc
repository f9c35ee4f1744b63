#include "reference/plucker.h"

#include <algorithm>

namespace reference {
namespace {

constexpr double kFloor = 1e-8;

struct Coordinate {
  int64_t i, j;
};

std::vector<Coordinate> coordinates(int64_t reduced) {
  std::vector<Coordinate> all;
  for (int64_t i = 0; i < reduced; ++i) {
    for (int64_t j = i + 1; j < reduced; ++j) all.push_back({i, j});
  }
  return all;
}

std::vector<double> wedge(const Matrix& z, int64_t u, int64_t v) {
  std::vector<double> p;
  for (const auto [i, j] : coordinates(z.cols)) p.push_back(z(u, i) * z(v, j) - z(u, j) * z(v, i));
  return p;
}

double norm_of(const std::vector<double>& p) {
  double squares = 0;
  for (const double value : p) squares += value * value;
  return std::sqrt(squares);
}

std::vector<int32_t> valid(const std::vector<int32_t>& windows, int64_t t) {
  std::vector<int32_t> result;
  std::ranges::copy_if(windows, std::back_inserter(result), [=](int32_t d) { return d <= t; });
  return result;
}

}  // namespace

Matrix plucker(const Matrix& z, int64_t length, const std::vector<int32_t>& windows,
               const Matrix& weight, const Matrix& bias) {
  Matrix g(z.rows, weight.rows);
  for_rows(z.rows, [&](int64_t row) {
    const std::vector<int32_t> offsets = valid(windows, row % length);
    const double n = static_cast<double>(offsets.size());
    for (const int32_t d : offsets) {
      const std::vector<double> p = wedge(z, row, row - d);
      const double s = std::max(norm_of(p), kFloor);
      for (int64_t o = 0; o < g.cols; ++o) {
        double sum = 0;
        for (size_t c = 0; c < p.size(); ++c) sum += weight(o, static_cast<int64_t>(c)) * p[c];
        g(row, o) += sum / s / n + bias(0, o) / n;
      }
    }
  });
  return g;
}

PluckerGradients plucker_backward(const Matrix& dg, const Matrix& z, int64_t length,
                                  const std::vector<int32_t>& windows, const Matrix& weight) {
  const std::vector<Coordinate> all = coordinates(z.cols);
  PluckerGradients d{Matrix(weight.rows, weight.cols), Matrix(1, weight.rows),
                     Matrix(z.rows, z.cols)};
  for (int64_t row = 0; row < z.rows; ++row) {
    const std::vector<int32_t> offsets = valid(windows, row % length);
    const double n = static_cast<double>(offsets.size());
    for (const int32_t offset : offsets) {
      const int64_t past = row - offset;
      const std::vector<double> p = wedge(z, row, past);
      const double s = norm_of(p);

      std::vector<double> dp(p.size(), 0.0);  // of p̂ at first
      double along = 0;                       // p · dp̂
      for (int64_t o = 0; o < dg.cols; ++o) {
        const double share = dg(row, o) / n, scaled = share / std::max(s, kFloor);
        d.bias(0, o) += share;
        for (size_t c = 0; c < p.size(); ++c) {
          d.weight(o, static_cast<int64_t>(c)) += scaled * p[c];
          dp[c] += share * weight(o, static_cast<int64_t>(c));
        }
      }
      for (size_t c = 0; c < p.size(); ++c) along += p[c] * dp[c];
      for (size_t c = 0; c < p.size(); ++c) {
        dp[c] = s > kFloor ? dp[c] / s - p[c] * along / (s * s * s) : dp[c] / kFloor;
        const auto [i, j] = all[c];
        d.z(row, i) += dp[c] * z(past, j);
        d.z(row, j) -= dp[c] * z(past, i);
        d.z(past, j) += dp[c] * z(row, i);
        d.z(past, i) -= dp[c] * z(row, j);
      }
    }
  }
  return d;
}

}  // namespace reference
