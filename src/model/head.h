#pragma once

#include <memory>

#include "model/layer.h"

namespace gf {

// What an evaluation adds up, in device memory.
struct Score {
  LossSum loss;
  int64_t confusion[GF_MAX_CLASSES * GF_MAX_CLASSES] = {};  // [C, C], label by prediction
};

// What turns the last states h into logits and a loss: of the next token, or of a pair's class.
class Head {
 public:
  virtual ~Head() = default;

  // Logits have `rows` rows in all, of which `at_once` exist at a time.
  struct LogitsShape {
    int64_t rows, at_once, cols;
  };
  virtual LogitsShape logits_shape() const = 0;
  // Of `count` rows from `first` on; not of a network for training.
  virtual Mat logits(const Pass& pass, const Act& h, int64_t first, int64_t count) = 0;

  virtual void loss(const Pass& pass, const Act& h, Score* score) = 0;  // adds
  // Writes the loss; gradients of its mean over the batch: dh, the token embedding's so far as it
  // comes from the head, and those of the head's own parameters.
  virtual void loss_backward(const Pass& pass, const Act& h, LossSum* loss, const Act& dh) = 0;
};

std::unique_ptr<Head> make_lm_head(const Builder& builder);
std::unique_ptr<Head> make_classifier_head(const Builder& builder);

}  // namespace gf
