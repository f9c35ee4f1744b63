#pragma once

#include <cstdint>

#include "base/mat.h"
#include "gpu.h"

namespace gf::cuda::hopper {

// sm_90, bf16, aligned, K a multiple of 64.
bool takes(const Gpu& gpu, const Act& a, const Act& b);

// Column tiles of exp_logits.
int64_t exp_logits_tiles(int64_t vocabulary);

// e[i, j] = exp(h_i . tokens_j - shift[i]) as bf16 for j < V, 0 for V <= j < e.cols (nothing is
// written when e.data is null); sums[tile * rows + i] = sum over the tile's columns of the same
// exponentials, in fp32 and before rounding.
void exp_logits(Gpu& gpu, const Act& h, const Act& tokens, const float* shift, const Act& e,
                float* sums);

}  // namespace gf::cuda::hopper
