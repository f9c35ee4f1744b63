#include <algorithm>

#include "cpu/cpu_ops.h"

namespace gf {

void CpuOps::gather(const int32_t* chunks, int64_t count, int64_t sequences, int64_t length,
                    const StepState* state, int32_t* ids) {
  for (int64_t b = 0; b < sequences; ++b) {
    const uint64_t chunk =
        permuted(state->seed, static_cast<uint64_t>(state->epoch),
                 static_cast<uint64_t>(state->cursor + b), static_cast<uint64_t>(count));
    std::copy_n(chunks + static_cast<int64_t>(chunk) * length, length, ids + b * length);
  }
}

}  // namespace gf
