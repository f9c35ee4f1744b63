#pragma once

#include "reference/matrix.h"

namespace reference {

struct Attention {
  Matrix out, lse;
};

// Causal attention of qkv [B T, 3 D], as ops.h states it.
Attention attention(const Matrix& qkv, int64_t sequences, int64_t length, int64_t heads);

// Gradient of qkv.
Matrix attention_backward(const Matrix& dout, const Matrix& qkv, int64_t sequences, int64_t length,
                          int64_t heads);

}  // namespace reference
