#pragma once

#include "reference/matrix.h"

namespace reference {

// What a layer looks back by; `weight` [heads, offsets] is empty where the mean is taken.
struct Windows {
  std::vector<int32_t> offsets;
  int64_t heads = 1;
  Matrix weight;
};

// g = weight [p of head 1; ...] + bias, p the sum over the offsets d <= t of a_d p̂_d, window by
// window with the coordinates p_ij = z_t[i] z_{t-d}[j] - z_t[j] z_{t-d}[i] of the head's part of z
// and p̂ = p / max(|p|, 1e-8); a_d = 1 / (number of offsets d <= t), or the head's weight of d. 0
// where there is no offset.
Matrix plucker(const Matrix& z, int64_t length, const Windows& windows, const Matrix& weight,
               const Matrix& bias);

struct PluckerGradients {
  Matrix weight, bias, z, windows;  // windows: empty where the mean is taken
};
PluckerGradients plucker_backward(const Matrix& dg, const Matrix& z, int64_t length,
                                  const Windows& windows, const Matrix& weight);

}  // namespace reference
