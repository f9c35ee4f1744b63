#include "reference/embed.h"

namespace reference {

Matrix embed(const std::vector<int32_t>& ids, int64_t length, const Matrix& tokens,
             const Matrix& positions, const Matrix& factors) {
  Matrix x = factors;
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) {
      x(i, j) *= tokens(ids[static_cast<size_t>(i)], j) + positions(i % length, j);
    }
  }
  return x;
}

EmbedGradients embed_backward(const std::vector<int32_t>& ids, int64_t length, const Matrix& dx,
                              const Matrix& factors, int64_t vocabulary, int64_t positions) {
  EmbedGradients d{Matrix(vocabulary, dx.cols), Matrix(positions, dx.cols)};
  for (int64_t i = 0; i < dx.rows; ++i) {
    for (int64_t j = 0; j < dx.cols; ++j) {
      d.tokens(ids[static_cast<size_t>(i)], j) += dx(i, j) * factors(i, j);
      d.positions(i % length, j) += dx(i, j) * factors(i, j);
    }
  }
  return d;
}

}  // namespace reference
