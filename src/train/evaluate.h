#pragma once

#include "data/dataset.h"
#include "model/model.h"

namespace gf {

struct Evaluation {
  double loss;  // mean over all predicted tokens, nats
  int64_t sequences;
  int64_t tokens;  // predicted ones
  double seconds;
};

// Mean loss of a language model over all chunks, without dropout, `batch_size` sequences at a time.
Evaluation evaluate(const Model& model, const Dataset& dataset, int64_t batch_size);

}  // namespace gf
