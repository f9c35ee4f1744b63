#pragma once

#include "reference/matrix.h"

namespace reference {

// (tokens[ids] + positions) * factors; ids [B, T] with T = length.
Matrix embed(const std::vector<int32_t>& ids, int64_t length, const Matrix& tokens,
             const Matrix& positions, const Matrix& factors);

struct EmbedGradients {
  Matrix tokens, positions;
};
EmbedGradients embed_backward(const std::vector<int32_t>& ids, int64_t length, const Matrix& dx,
                              const Matrix& factors, int64_t vocabulary, int64_t positions);

}  // namespace reference
