#pragma once

#include "model/layer.h"

namespace gf {

// Logits against the tied token embedding, without bias; cross-entropy of the next token.
class LmHead {
 public:
  explicit LmHead(const Builder& builder);

  // Of at most logits_at_once() rows h; not of a network for training.
  Mat logits(const Pass& pass, const Act& h) const;
  int64_t logits_at_once() const { return logits_.rows; }
  void loss(const Pass& pass, const Act& h, LossSum* sum) const;
  // Gradients of the mean loss: dh and the embedding's.
  void loss_backward(const Pass& pass, const Act& h, LossSum* sum, const Act& dh) const;

 private:
  Param tokens_;  // [V, D]
  Mat logits_;    // [R, V] for the caller
  Act panel_;     // [R, V or more]: the logits of a loss that exist at one time
};

}  // namespace gf
