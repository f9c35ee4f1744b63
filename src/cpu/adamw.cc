#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/cpu_ops.h"
#include "cpu/kernel.h"

namespace gf {
namespace {

constexpr int64_t kRange = 1 << 14;

int64_t ranges(int64_t count) {
  return (count + kRange - 1) / kRange;
}

GF_KERNEL double squares(const float* values, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(values[i]) * values[i];
  return sum;
}

GF_KERNEL void update(const AdamWStep& step, int64_t count, const float* __restrict grad,
                      float* __restrict value, float* __restrict moment1,
                      float* __restrict moment2) {
  for (int64_t i = 0; i < count; ++i) {
    adamw_update(step, grad[i], value[i], moment1[i], moment2[i]);
  }
}

}  // namespace

void CpuOps::squared_norm(const Mat& grad, double* out) {
  const Range range(device_, "squared_norm");
  std::vector<double> sums(static_cast<size_t>(ranges(grad.size())));
  pool_.run(ranges(grad.size()), [&](int64_t part) {
    const int64_t first = part * kRange;
    sums[static_cast<size_t>(part)] =
        squares(grad.data + first, std::min(kRange, grad.size() - first));
  });
  *out = 0;
  for (const double sum : sums) *out += sum;
}

void CpuOps::adamw(const Parameters& parameters, const AdamW& options, const StepState* state,
                   const double* squared_norm, const LossSum* loss) {
  const Range range(device_, "adamw");
  if (state->stopped || !std::isfinite(*squared_norm) || !std::isfinite(loss->sum)) return;
  const AdamWStep step = adamw_step(options, state->step, *squared_norm);
  const int64_t size = parameters.value.size();
  pool_.run(ranges(size), [&](int64_t part) {
    const int64_t first = part * kRange;
    update(step, std::min(kRange, size - first), parameters.grad.data + first,
           parameters.value.data + first, parameters.moment1.data + first,
           parameters.moment2.data + first);
  });
}

void CpuOps::finish_step(const LossSum* loss, const double* squared_norm, int64_t batches,
                         StepState* state, StepResult* results, int64_t capacity) {
  const Range range(device_, "finish_step");
  gf::finish_step(*loss, *squared_norm, batches, *state, results, capacity);
}

}  // namespace gf
