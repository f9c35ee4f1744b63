#pragma once

#include <vector>

#include "model/block.h"
#include "model/head.h"

namespace gf {

// A model bound to parameters and to buffers for batches of one shape: the explicit forward and
// backward passes.
class Network {
 public:
  // Over empty arenas it only measures what it needs. Without gradients (params.grad empty) the
  // shape must not be one for training.
  Network(const ModelConfig& config, const ParamTable& table, const Parameters& params,
          const Shape& shape, Arena& saved, Arena& scratch);

  const Shape& shape() const { return shape_; }
  const Batch& batch() const { return batch_; }  // in device memory, to be filled in

  // State null: no dropout.
  void forward(Device& device, const StepState* state);
  // Each after forward(). Logits are in device memory and valid until the next call.
  Head::LogitsShape logits_shape() const { return head_->logits_shape(); }
  Mat logits(Device& device, int64_t first, int64_t count);
  void loss(Device& device, Score* score);  // adds
  // Writes loss and every gradient. Once after each forward(): it uses up what that has saved.
  void backward(Device& device, const StepState* state, LossSum* sum);

 private:
  explicit Network(const Builder& builder);
  Pass pass(Device& device, const StepState* state) const;
  // Where block i's output goes: the next block's input or the last norm.
  const StreamPoint& after(size_t block) const;

  Shape shape_;
  uint32_t dropout_threshold_;
  Batch batch_;
  Param tokens_;      // [V, D]
  Param positions_;   // [L, D]
  StreamPoint last_;  // ln_f
  StreamGrad grad_;
  std::vector<Block> blocks_;
  std::unique_ptr<Head> head_;
};

}  // namespace gf
