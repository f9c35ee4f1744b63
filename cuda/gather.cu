#include "cuda_ops.h"
#include "kernel.cuh"

namespace gf::cuda {
namespace {

// 16 KB of ids at M = 4096 are nothing. What takes time is the keyed permutation: a walk of 0.4 us
// a step, of which the longest of 32 has a dozen where the chunks are a quarter of their domain: 2
// to 6 us.

constexpr int kThreads = 128;

// Every thread of a block finds its chunk by itself: sooner done than shared.
__global__ void gather_kernel(const int32_t* chunks, int64_t count, int64_t length, bool shuffled,
                              const StepState* state, int32_t* ids) {
  wait_for_inputs();
  const int64_t b = blockIdx.x;
  const auto place = static_cast<uint64_t>(state->cursor + b);
  const uint64_t chunk = shuffled ? permuted(state->seed, static_cast<uint64_t>(state->epoch),
                                             place, static_cast<uint64_t>(count))
                                  : place;
  const int32_t* from = chunks + static_cast<int64_t>(chunk) * length;
  for (int64_t t = threadIdx.x; t < length; t += kThreads) ids[b * length + t] = from[t];
}

}  // namespace

void CudaOps::gather(const int32_t* chunks, int64_t count, int64_t sequences, int64_t length,
                     bool shuffled, const StepState* state, int32_t* ids) {
  const Range range(device_, "gather");
  launch(gpu_, "gather", gather_kernel, static_cast<unsigned>(sequences), kThreads, 0, chunks,
         count, length, shuffled, state, ids);
}

}  // namespace gf::cuda
