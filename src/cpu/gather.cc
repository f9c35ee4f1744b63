#include <algorithm>

#include "cpu/cpu_ops.h"

namespace gf {

void CpuOps::gather(const Bucket& bucket, const EpochOrder& order, const StepState* state,
                    const Batch& batch) {
  const Range range(device_, "gather");
  const int64_t T = bucket.length;
  for (int64_t b = 0; b < batch.sequences; ++b) {
    const int64_t i = order.sequence_at(*state, bucket.first_batch, bucket.count, b);
    std::copy_n(bucket.ids + i * T, T, batch.ids + b * T);
    if (!bucket.labels) continue;
    batch.lengths[b] = bucket.lengths[i];
    batch.labels[b] = bucket.labels[i];
  }
}

}  // namespace gf
