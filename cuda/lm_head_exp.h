#pragma once

#include "gpu.h"
#include "ops.h"

namespace gf::cuda {

// The language-model head without logits: of e^(logit - shift) with a shift that is known before
// the product, so that the vocabulary is walked over once. For bf16 on Hopper.
bool takes_exp_loss(const Gpu& gpu, const Act& h, const Param& tokens);
bool takes_exp_loss_backward(const Gpu& gpu, const Act& h, const Param& tokens, const Act& dh);

void exp_loss(Gpu& gpu, const Act& h, const Param& tokens, const Batch& batch, LossSum* loss);
void exp_loss_backward(Gpu& gpu, const Act& h, const Param& tokens, const Batch& batch,
                       LossSum* loss, const Act& dh);

}  // namespace gf::cuda
