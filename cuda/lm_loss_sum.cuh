#pragma once

// What both ways through the language-model head share: targets and the sum of the losses.

#include "kernel.cuh"

namespace gf::cuda {

struct Targets {
  const int32_t* ids;
  int64_t length;

  // The id that a row of the batch predicts; -1 for a sequence's last row.
  __device__ int64_t of(int64_t row) const { return row % length + 1 < length ? ids[row + 1] : -1; }
};

inline Targets targets(const Batch& batch) {
  return {batch.ids, batch.length};
}

inline int64_t predicted(const Batch& batch) {
  return batch.sequences * (batch.length - 1);
}

// Of the mean over the predicted tokens.
inline float loss_scale(const Batch& batch) {
  return predicted(batch) > 0 ? 1.0f / static_cast<float>(predicted(batch)) : 0.0f;
}

// loss->sum (+)= sum of losses [rows of the batch], loss->count (+)= tokens predicted.
void sum_losses(Gpu& gpu, const float* losses, const Batch& batch, bool add, LossSum* loss);

}  // namespace gf::cuda
