#include "reference/adamw.h"

#include <algorithm>

namespace reference {

double squared_norm(const Matrix& m) {
  return dot(m, m);
}

void adamw(const gf::AdamW& options, int64_t step, double norm_squared, const Matrix& grad,
           Matrix* value, Matrix* moment1, Matrix* moment2) {
  const double lr = gf::learning_rate(options.schedule, step);
  const double scale =
      options.clip > 0 ? std::min(1.0, options.clip / (std::sqrt(norm_squared) + 1e-6)) : 1.0;
  const double correction1 = 1 - std::pow(options.beta1, static_cast<double>(step + 1));
  const double correction2 = 1 - std::pow(options.beta2, static_cast<double>(step + 1));
  for (size_t i = 0; i < grad.values.size(); ++i) {
    const double g = grad.values[i] * scale;
    double &p = value->values[i], &m = moment1->values[i], &v = moment2->values[i];
    p *= 1 - lr * options.weight_decay;
    m = options.beta1 * m + (1 - options.beta1) * g;
    v = options.beta2 * v + (1 - options.beta2) * g * g;
    p -= lr / correction1 * m / (std::sqrt(v) / std::sqrt(correction2) + options.epsilon);
  }
}

}  // namespace reference
