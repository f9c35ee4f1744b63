#pragma once

#include "base/mat.h"
#include "gpu.h"

namespace gf::cuda {

// act = value, where products are in bf16: the copy that adamw renews with every step. Both are
// contiguous. Nothing where products are in fp32, for the values are then their own copy.
void refresh_copy(Gpu& gpu, const Mat& value, const Act& act);

}  // namespace gf::cuda
