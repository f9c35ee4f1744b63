#pragma once

#include "reference/matrix.h"

namespace reference {

struct LmLoss {
  double sum = 0;  // nats
  int64_t count = 0;
  Matrix dh, dtokens;  // of the mean
};

// Cross-entropy of ids[b T + t + 1] given row b T + t of h, with logits h tokens^T.
LmLoss lm_loss(const Matrix& h, const Matrix& tokens, const std::vector<int32_t>& ids,
               int64_t length);

}  // namespace reference
