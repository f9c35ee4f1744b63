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

// Of two rows, in the columns of one head.
std::vector<double> wedge(const Matrix& z, int64_t u, int64_t v, int64_t column, int64_t reduced) {
  std::vector<double> p;
  for (const auto [i, j] : coordinates(reduced)) {
    p.push_back(z(u, column + i) * z(v, column + j) - z(u, column + j) * z(v, column + i));
  }
  return p;
}

double norm_of(const std::vector<double>& p) {
  double squares = 0;
  for (const double value : p) squares += value * value;
  return std::sqrt(squares);
}

// An offset that reaches back to a token of the sequence.
struct Offset {
  int64_t place;  // in the list
  int64_t distance;
};

std::vector<Offset> valid(const Windows& windows, int64_t t) {
  std::vector<Offset> result;
  for (size_t k = 0; k < windows.offsets.size(); ++k) {
    if (windows.offsets[k] <= t) result.push_back({static_cast<int64_t>(k), windows.offsets[k]});
  }
  return result;
}

double share_of(const Windows& windows, int64_t head, const Offset& offset, size_t count) {
  return windows.weight.rows > 0 ? windows.weight(head, offset.place)
                                 : 1.0 / static_cast<double>(count);
}

}  // namespace

Matrix plucker(const Matrix& z, int64_t length, const Windows& windows, const Matrix& weight,
               const Matrix& bias) {
  const int64_t reduced = z.cols / windows.heads, coordinates = weight.cols / windows.heads;
  Matrix g(z.rows, weight.rows);
  for_rows(z.rows, [&](int64_t row) {
    const std::vector<Offset> offsets = valid(windows, row % length);
    if (offsets.empty()) return;
    for (int64_t o = 0; o < g.cols; ++o) g(row, o) = bias(0, o);
    for (int64_t head = 0; head < windows.heads; ++head) {
      for (const Offset& offset : offsets) {
        const std::vector<double> p = wedge(z, row, row - offset.distance, head * reduced, reduced);
        const double share = share_of(windows, head, offset, offsets.size());
        const double factor = share / std::max(norm_of(p), kFloor);
        for (int64_t o = 0; o < g.cols; ++o) {
          double sum = 0;
          for (int64_t c = 0; c < coordinates; ++c) {
            sum += weight(o, head * coordinates + c) * p[static_cast<size_t>(c)];
          }
          g(row, o) += factor * sum;
        }
      }
    }
  });
  return g;
}

PluckerGradients plucker_backward(const Matrix& dg, const Matrix& z, int64_t length,
                                  const Windows& windows, const Matrix& weight) {
  const int64_t reduced = z.cols / windows.heads, per_head = weight.cols / windows.heads;
  const std::vector<Coordinate> all = coordinates(reduced);
  PluckerGradients d{Matrix(weight.rows, weight.cols), Matrix(1, weight.rows),
                     Matrix(z.rows, z.cols), Matrix(windows.weight.rows, windows.weight.cols)};
  for (int64_t row = 0; row < z.rows; ++row) {
    const std::vector<Offset> offsets = valid(windows, row % length);
    if (offsets.empty()) continue;
    for (int64_t o = 0; o < dg.cols; ++o) d.bias(0, o) += dg(row, o);
    for (int64_t head = 0; head < windows.heads; ++head) {
      const int64_t column = head * reduced, first = head * per_head;
      for (const Offset& offset : offsets) {
        const int64_t past = row - offset.distance;
        const std::vector<double> p = wedge(z, row, past, column, reduced);
        const double s = norm_of(p), share = share_of(windows, head, offset, offsets.size());

        std::vector<double> dp(p.size(), 0.0);  // of a p̂ at first
        double along = 0;                       // p · that
        for (int64_t c = 0; c < per_head; ++c) {
          const auto at = static_cast<size_t>(c);
          for (int64_t o = 0; o < dg.cols; ++o) {
            d.weight(o, first + c) += dg(row, o) * share * p[at] / std::max(s, kFloor);
            dp[at] += dg(row, o) * weight(o, first + c);
          }
          along += p[at] * dp[at];
        }
        if (d.windows.rows > 0) d.windows(head, offset.place) += along / std::max(s, kFloor);
        for (size_t c = 0; c < p.size(); ++c) {
          dp[c] = share * (s > kFloor ? dp[c] / s - p[c] * along / (s * s * s) : dp[c] / kFloor);
          const int64_t i = column + all[c].i, j = column + all[c].j;
          d.z(row, i) += dp[c] * z(past, j);
          d.z(row, j) -= dp[c] * z(past, i);
          d.z(past, j) += dp[c] * z(row, i);
          d.z(past, i) -= dp[c] * z(row, j);
        }
      }
    }
  }
  return d;
}

}  // namespace reference
