#pragma once

#include "reference/matrix.h"

namespace reference {

// g = mean over the offsets d <= t of (weight p̂_d + bias), window by window with the coordinates
// p_ij = z_t[i] z_{t-d}[j] - z_t[j] z_{t-d}[i] and p̂ = p / max(|p|, 1e-8); 0 where there is no
// offset.
Matrix plucker(const Matrix& z, int64_t length, const std::vector<int32_t>& windows,
               const Matrix& weight, const Matrix& bias);

struct PluckerGradients {
  Matrix weight, bias, z;
};
PluckerGradients plucker_backward(const Matrix& dg, const Matrix& z, int64_t length,
                                  const std::vector<int32_t>& windows, const Matrix& weight);

}  // namespace reference
