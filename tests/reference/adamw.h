#pragma once

#include "math.h"
#include "reference/matrix.h"

namespace reference {

double squared_norm(const Matrix& m);

// One step of torch.optim.AdamW after torch.nn.utils.clip_grad_norm_, in place.
void adamw(const gf::AdamW& options, int64_t step, double norm_squared, const Matrix& grad,
           Matrix* value, Matrix* moment1, Matrix* moment2);

}  // namespace reference
