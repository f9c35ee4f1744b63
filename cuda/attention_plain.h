#pragma once

#include "base/mat.h"
#include "gpu.h"

namespace gf::cuda {

// Attention of ops.h for both precisions, every head size and every alignment, in fp32 throughout.
void plain_attention(Gpu& gpu, const Act& qkv, int64_t sequences, int64_t length, int64_t heads,
                     const Act& out, const Mat& lse);
void plain_attention_backward(Gpu& gpu, const Act& dout, const Act& qkv, const Act& out,
                              const Mat& lse, int64_t sequences, int64_t length, int64_t heads,
                              const Act& dqkv);

}  // namespace gf::cuda
