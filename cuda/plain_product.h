#pragma once

#include "products.h"

namespace gf::cuda {

// What Products::run does, in the plainest way, for layouts that cuBLASLt refuses: any size, any
// leading dimension. bias [columns of c] may be null.
void plain_product(Gpu& gpu, const Operand& a, const Operand& b, const Operand& c, bool accumulate,
                   const float* bias);

// c = c + bias, row by row.
void add_bias(Gpu& gpu, const Operand& c, const float* bias);

}  // namespace gf::cuda
