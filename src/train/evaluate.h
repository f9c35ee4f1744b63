#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "data/dataset.h"
#include "model/model.h"

namespace gf {

struct Evaluation {
  double loss;  // mean over all predicted tokens or all pairs, nats
  int64_t sequences;
  int64_t tokens;  // predicted ones; of pairs all, without padding
  double seconds;
  std::vector<int64_t> confusion;  // [C, C] of a classifier: pairs by label and prediction
};

// Mean loss of a model over a dataset, without dropout, `batch_size` sequences at a time; of a pair
// classifier how it classifies, too.
Evaluation evaluate(const Model& model, const Dataset& dataset, int64_t batch_size);

// The same, but once `cancel` is set, which another thread or a signal handler may do, no further
// batch begins, it is set back, and there is no outcome.
std::optional<Evaluation> evaluate(const Model& model, const Dataset& dataset, int64_t batch_size,
                                   std::atomic<bool>& cancel);

}  // namespace gf
