#pragma once

#include "reference/matrix.h"

namespace reference {

struct GateParameters {
  Matrix inner_gain, inner_bias, outer_gain, outer_bias;
};

struct Gate {
  Matrix x_out, inner_stats, outer_stats, h_out;
};
// α = sigmoid(gate), x_out = x + factors * inner(α h + (1 - α) g), h_out = outer(x_out).
Gate gate_add_norm(const Matrix& x, const Matrix& hg, const Matrix& gate,
                   const GateParameters& parameters, const Matrix& factors);

struct GateGradients {
  GateParameters parameters;
  Matrix x, hg, gate;
};
// dx is the gradient of x_out from above the norm.
GateGradients gate_add_norm_backward(const Matrix& dh_out, const Matrix& dx, const Matrix& x,
                                     const Matrix& hg, const Matrix& gate,
                                     const GateParameters& parameters, const Matrix& factors);

}  // namespace reference
