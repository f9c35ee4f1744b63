#pragma once

#include "ops.h"
#include "products.h"

namespace gf::cuda {

// Gradients of a layer's parameters: weight = dy^T x, bias = the column sums of dy; dy [M, out],
// x [M, in].
void linear_gradient(Gpu& gpu, Products& products, const Act& dy, const Act& x,
                     const Linear& layer);

}  // namespace gf::cuda
