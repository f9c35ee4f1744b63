#include <algorithm>

#include "cpu/cpu_ops.h"

namespace gf {

void CpuOps::gather(const int32_t* chunks, int64_t count, int64_t sequences, int64_t length,
                    bool shuffled, const StepState* state, int32_t* ids) {
  const Range range(device_, "gather");
  for (int64_t b = 0; b < sequences; ++b) {
    const auto place = static_cast<uint64_t>(state->cursor + b);
    const uint64_t chunk = shuffled ? permuted(state->seed, static_cast<uint64_t>(state->epoch),
                                               place, static_cast<uint64_t>(count))
                                    : place;
    std::copy_n(chunks + static_cast<int64_t>(chunk) * length, length, ids + b * length);
  }
}

}  // namespace gf
