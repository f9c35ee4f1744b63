#pragma once

#include "base/thread_pool.h"
#include "ops.h"

namespace gf {

// weight.grad = dy^T x, bias.grad = column sums of dy.
void parameter_gradients(ThreadPool& pool, const Mat& dy, const Mat& x, const Linear& layer);

}  // namespace gf
