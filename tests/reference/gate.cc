#include "reference/gate.h"

#include "reference/layernorm.h"

namespace reference {
namespace {

Matrix sigmoid(const Matrix& gate) {
  Matrix alpha = gate;
  for (double& value : alpha.values) value = 1 / (1 + std::exp(-value));
  return alpha;
}

Matrix blend(const Matrix& hg, const Matrix& alpha) {
  Matrix m = alpha;
  for (int64_t i = 0; i < m.rows; ++i) {
    for (int64_t j = 0; j < m.cols; ++j) {
      m(i, j) = alpha(i, j) * hg(i, j) + (1 - alpha(i, j)) * hg(i, m.cols + j);
    }
  }
  return m;
}

}  // namespace

Gate gate_add_norm(const Matrix& x, const Matrix& hg, const Matrix& gate,
                   const GateParameters& parameters, const Matrix& factors) {
  const Norm inner = norm(blend(hg, sigmoid(gate)), parameters.inner_gain, parameters.inner_bias);
  Matrix x_out = x;
  for (size_t i = 0; i < x.values.size(); ++i) {
    x_out.values[i] += inner.h.values[i] * factors.values[i];
  }
  const Norm outer = norm(x_out, parameters.outer_gain, parameters.outer_bias);
  return {x_out, inner.stats, outer.stats, outer.h};
}

GateGradients gate_add_norm_backward(const Matrix& dh_out, const Matrix& dx, const Matrix& x,
                                     const Matrix& hg, const Matrix& gate,
                                     const GateParameters& parameters, const Matrix& factors) {
  const Matrix x_out = gate_add_norm(x, hg, gate, parameters, factors).x_out;
  const NormGradients outer = norm_backward(dh_out, x_out, parameters.outer_gain);
  Matrix dx_in = dx, dy = dx;
  for (size_t i = 0; i < dx.values.size(); ++i) {
    dx_in.values[i] += outer.x.values[i];
    dy.values[i] = dx_in.values[i] * factors.values[i];
  }

  const Matrix alpha = sigmoid(gate);
  const NormGradients inner = norm_backward(dy, blend(hg, alpha), parameters.inner_gain);
  Matrix dhg = hg, dgate = gate;
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) {
      const double a = alpha(i, j), dm = inner.x(i, j);
      dhg(i, j) = dm * a;
      dhg(i, x.cols + j) = dm * (1 - a);
      dgate(i, j) = dm * (hg(i, j) - hg(i, x.cols + j)) * a * (1 - a);
    }
  }
  return {{inner.gain, inner.bias, outer.gain, outer.bias}, dx_in, dhg, dgate};
}

}  // namespace reference
