#pragma once

// What the two forms of the backward pass of flash attention share. With scores S = q k^T and
// P = e^(scale S - lse): dv = P^T dout, dP = dout v^T, dS = P (dP - rowsum(dout out)), and
// dq = scale dS k, dk = scale dS^T q. Keys are rows here: a warp makes S^T and dP^T, which are then
// the left operands of dv and dk as they stand.

#include "flash.cuh"

namespace gf::cuda::flash {

// Of heads of any length, in two kernels.
void backward_split(Gpu& gpu, const Operands& operands);
// Of heads of size 64 on Hopper; otherwise it does nothing. Returns whether it was done.
bool backward_hopper(Gpu& gpu, const Operands& operands);

// What the backward pass needs of a row of queries: x = lse in base 2 and y = rowsum(dout out).
// Beyond the last row x is infinite, which makes P zero there.
__device__ __forceinline__ float2 row_stats(float lse, float mean) {
  return make_float2(lse * kLog2e, mean);
}
__device__ __forceinline__ float2 no_row_stats() {
  return make_float2(INFINITY, 0.0f);
}

// The stats of row `row` of the head in all of four adjacent lanes, which share the work. Every
// lane of a warp must call it.
template <int kSize>
__device__ __forceinline__ float2 make_row_stats(const Operands& o, const Head& head, int row) {
  const bool valid = row < o.length;
  float sum = 0;
  if (valid) {
    const bf16* out = head.out(o) + row * o.out_ld;
    const bf16* dout = head.dout(o) + row * o.dout_ld;
#pragma unroll
    for (int i = 0; i < kSize / 32; ++i) {
      float a[kVector], b[kVector];
      load8(out + (lane() % 4 + 4 * i) * kVector, a);
      load8(dout + (lane() % 4 + 4 * i) * kVector, b);
#pragma unroll
      for (int j = 0; j < kVector; ++j) sum += a[j] * b[j];
    }
  }
  sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
  sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
  return valid ? row_stats(*head.lse(o, row), sum) : no_row_stats();
}

// Gradients of 16 keys and their values.
template <int kSize>
struct KeyGradients {
  float dk[kSize / 8][4] = {};
  float dv[kSize / 8][4] = {};
};

inline constexpr int kStepQueries = 32, kStepTiles = kStepQueries / 8;

// Adds what 32 queries give to 16 keys. The tiles begin at the first key and the first query, stats
// points at those of the first query, `ahead` is first query - first key. Leaves dS^T in ds.
template <int kSize>
__device__ __forceinline__ void add_queries(Tile<kSize> k, Tile<kSize> v, Tile<kSize> q,
                                            Tile<kSize> dout, const float2* stats, int ahead,
                                            float log2_scale, KeyGradients<kSize>& gradients,
                                            Weights<kStepTiles>& ds) {
  float s[kStepTiles][4], dp[kStepTiles][4];
  scores(k, q, s);
  scores(v, dout, dp);
  const int key = lane() / 4 - ahead, query = lane() % 4 * 2;
  Weights<kStepTiles> p;
#pragma unroll
  for (int n = 0; n < kStepTiles; ++n) {
    const float4 two = *reinterpret_cast<const float4*>(stats + 8 * n + query);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const bool seen = 8 * n + query + e % 2 >= key + e / 2 * 8;
      const float lse = e % 2 ? two.z : two.x, mean = e % 2 ? two.w : two.y;
      s[n][e] = seen ? exp2_approx(s[n][e] * log2_scale - lse) : 0.0f;
      dp[n][e] = s[n][e] * (dp[n][e] - mean);
    }
    p.set(n, s[n]);
    ds.set(n, dp[n]);
  }
  add_weighted(p, dout, gradients.dv);
  add_weighted(ds, q, gradients.dk);
}

// `first` is the first of the 16 keys.
template <int kSize>
__device__ __forceinline__ void store_gradients(const Operands& o, const Head& head, int first,
                                                const KeyGradients<kSize>& gradients) {
  const int count = o.length - first;
  store_rows(gradients.dk, o.scale, o.scale, head.dqkv(o, 1) + first * o.dqkv_ld, o.dqkv_ld, count);
  store_rows(gradients.dv, 1.0f, 1.0f, head.dqkv(o, 2) + first * o.dqkv_ld, o.dqkv_ld, count);
}

}  // namespace gf::cuda::flash
