#include "cuda_ops.h"
#include "kernel.cuh"

namespace gf::cuda {
namespace {

// 16 KB of ids at M = 4096 are nothing. What takes time is the keyed permutation: a walk of 0.4 us
// a step, of which the longest of 32 has a dozen where the chunks are a quarter of their domain: 2
// to 6 us. With several buckets one more such walk finds the batch.

constexpr int kThreads = 128;

// Every thread of a block finds its sequence by itself: sooner done than shared.
__global__ void gather_kernel(Bucket bucket, EpochOrder order, const StepState* state,
                              Batch batch) {
  wait_for_inputs();
  const int64_t b = blockIdx.x;
  const int64_t i = order.sequence_at(*state, bucket.first_batch, bucket.count, b);
  const int32_t* from = bucket.ids + i * bucket.length;
  int32_t* to = batch.ids + b * bucket.length;
  for (int64_t t = threadIdx.x; t < bucket.length; t += kThreads) to[t] = from[t];
  if (threadIdx.x != 0 || !bucket.labels) return;
  batch.lengths[b] = bucket.lengths[i];
  batch.labels[b] = bucket.labels[i];
}

}  // namespace

void CudaOps::gather(const Bucket& bucket, const EpochOrder& order, const StepState* state,
                     const Batch& batch) {
  const Range range(device_, "gather");
  launch(gpu_, "gather", gather_kernel, static_cast<unsigned>(batch.sequences), kThreads, 0, bucket,
         order, state, batch);
}

}  // namespace gf::cuda
