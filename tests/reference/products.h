#pragma once

#include "reference/matrix.h"

namespace reference {

// y = x weight^T + bias.
Matrix linear(const Matrix& x, const Matrix& weight, const Matrix& bias);

struct LinearGradients {
  Matrix weight, bias, x;
};
LinearGradients linear_backward(const Matrix& dy, const Matrix& x, const Matrix& weight);

// gelu(u) * factors.
Matrix gelu(const Matrix& u, const Matrix& factors);
Matrix gelu_backward(const Matrix& da, const Matrix& u, const Matrix& factors);

}  // namespace reference
