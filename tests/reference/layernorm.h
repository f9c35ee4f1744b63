#pragma once

#include "reference/matrix.h"

namespace reference {

struct Norm {
  Matrix h, stats;
};
Norm norm(const Matrix& x, const Matrix& gain, const Matrix& bias);

struct NormGradients {
  Matrix gain, bias, x;
};
NormGradients norm_backward(const Matrix& dh, const Matrix& x, const Matrix& gain);

}  // namespace reference
