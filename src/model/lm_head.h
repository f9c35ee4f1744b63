#pragma once

#include "model/layer.h"

namespace gf {

// Logits against the tied token embedding, without bias; cross-entropy of the next token.
class LmHead {
 public:
  explicit LmHead(const Builder& builder);

  // Of at most panel_rows() rows h, in the panel.
  Mat logits(const Pass& pass, const Act& h) const;
  int64_t panel_rows() const { return panel_.rows; }
  void loss(const Pass& pass, const Act& h, LossSum* sum) const;
  // Gradients of the mean loss: dh and the embedding's.
  void loss_backward(const Pass& pass, const Act& h, LossSum* sum, const Act& dh) const;

 private:
  Param tokens_;  // [V, D]
  Mat panel_;     // [R, V]: the logits that exist at one time
};

}  // namespace gf
