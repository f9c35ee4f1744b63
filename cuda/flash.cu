#include "flash.cuh"

namespace gf::cuda::flash {
namespace {

constexpr int kQueries = 2 * kBlock, kThreads = kQueries / 16 * kWarp;

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

// `ahead`: first query - first key.
template <int kSize>
__device__ __forceinline__ void attend(Tile<kSize> q, Tile<kSize> k, Tile<kSize> v, int ahead,
                                       float log2_scale, Rows<kSize>& rows) {
  float s[8][4];
  scores(q, k, s);
  if (ahead < kBlock - 1) mask(s, ahead);
  Weights<8> weights;
  soften(s, log2_scale, rows, weights);
  add_weighted(weights, v, rows.out);
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

// A block takes 128 queries of one head of one sequence, a warp 16 of them, and goes through keys
// and values 64 at a time, of which it has two in flight. At B * H = 128, T = 128, head size 64 it
// reads 6.3 MB and writes 2.1 MB, 2 us at 4.3 TB/s, for 0.3 GFLOP. The blocks with most keys begin
// first.
template <int kSize>
__global__ void __launch_bounds__(kThreads, kSize <= 64 ? 2 : 1)
    flash_forward_kernel(const Operands o) {
  wait_for_inputs();
  extern __shared__ __align__(128) unsigned char memory[];
  using Rows16 = Tile<kSize>;
  const Head head(o);
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * kQueries;
  const int query = first + static_cast<int>(threadIdx.x) / kWarp * 16;  // of this warp, the first
  const int end = min(first + kQueries, o.length), blocks = (end + kBlock - 1) / kBlock;
  const Rows16 q{shared_address(memory)};
  const auto stage = [&](int j) { return q.from_row(kQueries + j % 2 * 2 * kBlock); };
  const auto load_keys = [&](int j) {
    if (j < blocks) {
      const int key = j * kBlock;
      load_tile(stage(j), head.qkv(o, 1), o.qkv_ld, key, kBlock, o.length);
      load_tile(stage(j).from_row(kBlock), head.qkv(o, 2), o.qkv_ld, key, kBlock, o.length);
    }
    commit_copies();
  };
  load_tile(q, head.qkv(o, 0), o.qkv_ld, first, kQueries, o.length);
  load_keys(0);
  load_keys(1);

  Rows<kSize> rows;
  for (int j = 0; j < blocks; ++j) {
    wait_copies<1>();
    __syncthreads();
    if (j * kBlock < query + 16 && query < o.length) {
      attend(q.from_row(query - first), stage(j), stage(j).from_row(kBlock), query - j * kBlock,
             o.scale * kLog2e, rows);
    }
    __syncthreads();
    load_keys(j + 2);
  }
  if (query < o.length) finish(o, head, query, rows);
}

template <int kSize>
void run_forward(Gpu& gpu, const Operands& o) {
  constexpr int kBytes = 6 * Tile<kSize>::kBytes;
  check(cudaFuncSetAttribute(flash_forward_kernel<kSize>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
        "flash_forward");
  const dim3 blocks(static_cast<unsigned>(o.sequences * o.heads),
                    static_cast<unsigned>(ceil_div(o.length, kQueries)));
  launch(gpu, "flash_forward", flash_forward_kernel<kSize>, blocks, kThreads, kBytes, o);
}

}  // namespace

bool supports(int64_t head_size) {
  return head_size == 32 || head_size == 64 || head_size == 128;
}

void forward(Gpu& gpu, const Operands& o) {
  if (o.size == 32) {
    run_forward<32>(gpu, o);
  } else if (o.size == 64) {
    run_forward<64>(gpu, o);
  } else {
    run_forward<128>(gpu, o);
  }
}

}  // namespace gf::cuda::flash
