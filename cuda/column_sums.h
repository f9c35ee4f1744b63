#pragma once

#include "base/mat.h"
#include "gpu.h"

namespace gf::cuda {

// sums[j] = sum over i of m[i, j]. Uses the scratch memory.
void column_sums(Gpu& gpu, const Act& m, float* sums);

}  // namespace gf::cuda
