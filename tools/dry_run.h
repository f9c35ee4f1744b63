#pragma once

#include <grassflow.h>

#include "display.h"
#include "train_options.h"

namespace tools {

// Parameter count per tensor and in all, and the bytes training takes. Allocates no model.
void print_dry_run(const Context& context, const TrainOptions& options, Display& display);

}  // namespace tools
