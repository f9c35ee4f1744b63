#include "reference/lm_head.h"

#include "reference/products.h"

namespace reference {

LmLoss lm_loss(const Matrix& h, const Matrix& tokens, const std::vector<int32_t>& ids,
               int64_t length) {
  LmLoss loss;
  loss.count = h.rows / length * (length - 1);
  const Matrix logits = linear(h, tokens, Matrix(1, tokens.rows));
  Matrix dlogits(logits.rows, logits.cols);
  for (int64_t row = 0; row < h.rows; ++row) {
    if (row % length == length - 1) continue;
    const int32_t target = ids[static_cast<size_t>(row + 1)];
    double sum = 0;
    for (int64_t id = 0; id < tokens.rows; ++id) sum += std::exp(logits(row, id));
    for (int64_t id = 0; id < tokens.rows; ++id) {
      const double p = std::exp(logits(row, id)) / sum;
      dlogits(row, id) = (p - (id == target)) / static_cast<double>(loss.count);
    }
    loss.sum += std::log(sum) - logits(row, target);
  }
  LinearGradients gradients = linear_backward(dlogits, h, tokens);
  loss.dh = gradients.x;
  loss.dtokens = gradients.weight;
  return loss;
}

}  // namespace reference
