#include "reference/attention.h"

namespace reference {
namespace {

// Probabilities of a query over the keys up to itself, and their log-sum-exp.
struct Row {
  std::vector<double> p;
  double lse;
};

// `q` and `k` are the columns where the head's part of queries and keys begins.
Row probabilities(const Matrix& qkv, int64_t first_row, int64_t t, int64_t q, int64_t k,
                  int64_t size) {
  Row row;
  double sum = 0;
  for (int64_t s = 0; s <= t; ++s) {
    double score = 0;
    for (int64_t i = 0; i < size; ++i) {
      score += qkv(first_row + t, q + i) * qkv(first_row + s, k + i);
    }
    row.p.push_back(std::exp(score / std::sqrt(static_cast<double>(size))));
    sum += row.p.back();
  }
  for (double& p : row.p) p /= sum;
  row.lse = std::log(sum);
  return row;
}

}  // namespace

Attention attention(const Matrix& qkv, int64_t sequences, int64_t length, int64_t heads) {
  const int64_t width = qkv.cols / 3, size = width / heads;
  Attention result{Matrix(qkv.rows, width), Matrix(qkv.rows, heads)};
  for_rows(sequences * heads, [&](int64_t n) {
    const int64_t first = n / heads * length, h = n % heads;
    const int64_t q = h * size, k = width + q, v = width + k;
    for (int64_t t = 0; t < length; ++t) {
      const Row row = probabilities(qkv, first, t, q, k, size);
      result.lse(first + t, h) = row.lse;
      for (int64_t s = 0; s <= t; ++s) {
        for (int64_t i = 0; i < size; ++i) {
          result.out(first + t, q + i) += row.p[static_cast<size_t>(s)] * qkv(first + s, v + i);
        }
      }
    }
  });
  return result;
}

Matrix attention_backward(const Matrix& dout, const Matrix& qkv, int64_t sequences, int64_t length,
                          int64_t heads) {
  const int64_t width = qkv.cols / 3, size = width / heads;
  const double scale = 1 / std::sqrt(static_cast<double>(size));
  Matrix d(qkv.rows, qkv.cols);
  for_rows(sequences * heads, [&](int64_t n) {
    const int64_t first = n / heads * length, h = n % heads;
    const int64_t q = h * size, k = width + q, v = width + k;
    for (int64_t t = 0; t < length; ++t) {
      const std::vector<double> p = probabilities(qkv, first, t, q, k, size).p;
      std::vector<double> dp(p.size(), 0.0);
      double mean = 0;
      for (size_t s = 0; s < p.size(); ++s) {
        const int64_t key = first + static_cast<int64_t>(s);
        for (int64_t i = 0; i < size; ++i) {
          dp[s] += dout(first + t, q + i) * qkv(key, v + i);
          d(key, v + i) += p[s] * dout(first + t, q + i);
        }
        mean += p[s] * dp[s];
      }
      for (size_t s = 0; s < p.size(); ++s) {
        const int64_t key = first + static_cast<int64_t>(s);
        const double ds = p[s] * (dp[s] - mean) * scale;
        for (int64_t i = 0; i < size; ++i) {
          d(first + t, q + i) += ds * qkv(key, k + i);
          d(key, k + i) += ds * qkv(first + t, q + i);
        }
      }
    }
  });
  return d;
}

}  // namespace reference
