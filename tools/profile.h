#pragma once

#include <grassflow.h>

#include "display.h"
#include "train_options.h"

namespace tools {

// Time of every operation in a training step, the mean over some steps.
void print_profile(const Context& context, const Model& model, const Dataset& train,
                   const TrainOptions& options, Display& display);

}  // namespace tools
