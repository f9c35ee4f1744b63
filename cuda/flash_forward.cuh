#pragma once

// What the forms of the forward pass of flash attention share: the online softmax of 16 queries.

#include "flash.cuh"

namespace gf::cuda::flash {

// Of heads of size 64 on Hopper; otherwise it does nothing. Returns whether it was done.
bool forward_hopper(Gpu& gpu, const Operands& operands);

// What a warp keeps of its 16 queries while it goes through the keys; rows g and g + 8 by lane.
template <int kSize>
struct Rows {
  float out[kSize / 8][4] = {};
  float max[2] = {-INFINITY, -INFINITY};  // of the scores so far
  float sum[2] = {};                      // this lane's share of the sum of e^(score - max)
};

// Scores of keys beyond their query become -infinity.
__device__ __forceinline__ void mask(float (&s)[8][4], int ahead) {
  const int g = lane() / 4, t = lane() % 4;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (8 * n + 2 * t + e % 2 > ahead + g + e / 2 * 8) s[n][e] = -INFINITY;
    }
  }
}

// Online softmax: weights are e^(score - max) for the maximum so far, and what was summed with an
// older one is scaled. The first key is seen by every query, so max is finite after its block.
template <int kSize>
__device__ __forceinline__ void soften(float (&s)[8][4], float log2_scale, Rows<kSize>& rows,
                                       Weights<8>& weights) {
  float shift[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float max = rows.max[r];
#pragma unroll
    for (int n = 0; n < 8; ++n) max = fmaxf(max, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
    max = fmaxf(max, __shfl_xor_sync(0xFFFFFFFFu, max, 1));
    max = fmaxf(max, __shfl_xor_sync(0xFFFFFFFFu, max, 2));
    shift[r] = max * log2_scale;
    const float correction = exp2_approx(rows.max[r] * log2_scale - shift[r]);
#pragma unroll
    for (int n = 0; n < kSize / 8; ++n) {
      rows.out[n][2 * r] *= correction;
      rows.out[n][2 * r + 1] *= correction;
    }
    rows.sum[r] *= correction;
    rows.max[r] = max;
  }
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      s[n][e] = exp2_approx(s[n][e] * log2_scale - shift[e / 2]);
      rows.sum[e / 2] += s[n][e];
    }
    weights.set(n, s[n]);
  }
}

template <int kSize>
__device__ __forceinline__ void finish(const Operands& o, const Head& head, int first,
                                       const Rows<kSize>& rows) {
  float inverse[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = rows.sum[r];
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
    inverse[r] = 1.0f / sum;
    const int row = first + lane() / 4 + r * 8;
    if (lane() % 4 == 0 && row < o.length) {
      *head.lse(o, row) = rows.max[r] * o.scale + logf(sum);
    }
  }
  store_rows(rows.out, inverse[0], inverse[1], head.out(o) + first * o.out_ld, o.out_ld,
             o.length - first);
}

}  // namespace gf::cuda::flash
