#pragma once

#include "reference/matrix.h"

namespace reference {

struct Classifier {
  Matrix pooled, logits;
  double loss = 0;            // sum, nats
  Matrix confusion;           // label by prediction
  Matrix dh, dweight, dbias;  // of the mean
};

// Mean of the first lengths[b] of the rows b T .. of h, times the factors [B, D] of dropout, times
// weight^T [C, D] plus bias; cross-entropy of the labels and its gradients.
Classifier classify(const Matrix& h, int64_t length, const std::vector<int32_t>& lengths,
                    const std::vector<int32_t>& labels, const Matrix& factors, const Matrix& weight,
                    const Matrix& bias);

}  // namespace reference
