#include "flash_backward.cuh"
#include "flash_hopper.cuh"

// The backward pass on Hopper. A block makes dk and dv of a tile of keys, first, going through the
// tiles of queries from its own on; and dq of the same tile of queries, second, going back through
// the tiles of keys: in a head of n tiles n + 1 steps, whichever tile it is. Scores and weights are
// made twice, seven products where five could do. While the weights of a step are made, the tensor
// cores end the one before.
//
// At B * H = 128, T = 128 it moves 17 MB and does 1.1 GFLOP, 6 us at 3 TB/s, less what the second
// cache holds; a block has three steps of some 900 cycles. At B * H = 512, T = 256 it moves 134 MB,
// 45 us. Measured on one H100: 12 us and 109 us.

namespace gf::cuda::flash {
namespace warpgroup {

using BackwardMemory = Memory<4, 3, 3>;

// The stats of 64 queries from their tiles of dout and out; two threads a row. `lse` is the row's.
__device__ __forceinline__ void make_stats(uint32_t dout, uint32_t out, float lse, bool valid,
                                           float2* stats) {
  const int row = static_cast<int>(threadIdx.x) / 2, half = static_cast<int>(threadIdx.x) % 2;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t at = row * 128 + ((half * 4 + i) ^ row % 8) * 16;
    const uint4 x = hopper::load_shared4(dout + at), y = hopper::load_shared4(out + at);
    const uint32_t xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      sum = fmaf(__uint_as_float(xs[k] << 16), __uint_as_float(ys[k] << 16), sum);
      sum = fmaf(__uint_as_float(xs[k] & 0xFFFF0000u), __uint_as_float(ys[k] & 0xFFFF0000u), sum);
    }
  }
  sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
  if (half == 0) stats[row] = valid ? row_stats(lse, sum) : no_row_stats();
}

// Turns scores into the weights P and dP into dS. kKeys: rows are keys, columns are queries, whose
// stats lie in shared memory; otherwise `own` are those of this thread's two rows.
template <bool kKeys, bool kDiagonal>
__device__ __forceinline__ void weigh(const float2* stats, const float2 (&own)[2], float log2_scale,
                                      float (&s)[8][4], float (&dp)[8][4]) {
  const int row = hopper::row_of_thread(), column = lane() % 4 * 2;
#pragma unroll
  for (int j = 0; j < kBlock / 8; ++j) {
    float4 two = {};
    if (kKeys) two = *reinterpret_cast<const float4*>(stats + 8 * j + column);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int at_row = row + e / 2 * 8, at_column = 8 * j + column + e % 2;
      const float lse = kKeys ? (e % 2 ? two.z : two.x) : own[e / 2].x;
      const float mean = kKeys ? (e % 2 ? two.w : two.y) : own[e / 2].y;
      const bool seen = !kDiagonal || (kKeys ? at_column >= at_row : at_column <= at_row);
      s[j][e] = exp2_approx(seen ? fmaf(s[j][e], log2_scale, -lse) : -INFINITY);
      dp[j][e] = s[j][e] * (dp[j][e] - mean);
    }
  }
}

struct Backward {
  const Operands& o;
  const Loader& load;
  const BackwardMemory& memory;
  const Head& head;
  int tile, tiles;

  // Steps: keys against tiles tile, tile + 1, ... of queries, then queries against tiles tile, tile
  // - 1, ... of keys. The first of either meets the block's own tiles, the others go round the
  // ring.
  __device__ int key_steps() const { return tiles - tile; }
  __device__ int steps() const { return tiles + 1; }
  __device__ bool is_key_step(int step) const { return step < key_steps(); }
  __device__ bool is_diagonal(int step) const { return step == 0 || step == key_steps(); }
  __device__ int ring(int step) const { return is_key_step(step) ? step - 1 : step - 2; }
  __device__ int other_tile(int step) const {
    return is_key_step(step) ? tile + step : tile - (step - key_steps());
  }

  // Tiles of shared memory: of the block's own rows, and of the other rows of a step.
  __device__ uint32_t k() const { return memory.own(0); }
  __device__ uint32_t v() const { return memory.own(1); }
  __device__ uint32_t q() const { return memory.own(2); }
  __device__ uint32_t dout() const { return memory.own(3); }
  // i = 0: q or k, 1: dout or v.
  __device__ uint32_t other(int step, int i) const {
    if (is_diagonal(step)) return memory.own(is_key_step(step) ? 2 + i : i);
    return memory.stage(ring(step), i);
  }

  // By one thread. out of the own rows waits in the last stage, which is the last to be filled.
  __device__ void load_own() const {
    const uint32_t barrier = memory.full_own();
    hopper::arrive_expecting(barrier, 5 * kTile);
    load.qkv(k(), 1, tile, barrier);
    load.qkv(q(), 0, tile, barrier);
    load.qkv(v(), 2, tile, barrier);
    load.dout(dout(), tile, barrier);
    load.out(memory.stage(BackwardMemory::kRing - 1, 2), tile, barrier);
  }
  __device__ void load_step(int step) const {
    const int at = ring(step), from = other_tile(step);
    const uint32_t barrier = memory.full(at);
    hopper::arrive_expecting(barrier, (is_key_step(step) ? 3 : 2) * kTile);
    if (is_key_step(step)) {
      load.qkv(memory.stage(at, 0), 0, from, barrier);
      load.dout(memory.stage(at, 1), from, barrier);
      load.out(memory.stage(at, 2), from, barrier);
    } else {
      load.qkv(memory.stage(at, 0), 1, from, barrier);
      load.qkv(memory.stage(at, 1), 2, from, barrier);
    }
  }
  // The step whose tiles go to place `at` of the ring.
  __device__ int step_of(int at) const { return is_key_step(at + 1) ? at + 1 : at + 2; }
  __device__ void load_ring(int at) const {
    if (at < tiles - 1) load_step(step_of(at));
  }

  // Of a tile of queries, by all threads.
  __device__ __forceinline__ void stats_of(int queries, uint32_t dout_tile, uint32_t out_tile,
                                           float2* stats) const {
    const int row = queries * kBlock + static_cast<int>(threadIdx.x) / 2;
    const float lse = *head.lse(o, min(row, o.length - 1));
    make_stats(dout_tile, out_tile, lse, row < o.length, stats);
  }

  __device__ __forceinline__ void run() const {
    if (threadIdx.x == 0) {
      load_own();
      for (int at = 0; at < BackwardMemory::kRing - 1; ++at) load_ring(at);
    }
    hopper::wait(memory.full_own(), 0);
    stats_of(tile, dout(), memory.stage(BackwardMemory::kRing - 1, 2), memory.stats(0));
    __syncthreads();
    if (threadIdx.x == 0) load_ring(BackwardMemory::kRing - 1);
    float2 own[2];
    for (int h = 0; h < 2; ++h) own[h] = memory.stats(0)[hopper::row_of_thread() + 8 * h];

    float s[8][4] = {}, dp[8][4] = {}, dk[8][4] = {}, dv[8][4] = {};
    hopper::pin(flat(dk));
    hopper::pin(flat(dv));
    begin(0, s, dp);
    hopper::products_commit();  // in the place of the products of a step before
    for (int step = 0; step < key_steps(); ++step) add_step<true>(step, own, s, dp, dk, dv);
    finish(dk, dv);
    store(dk, o.scale, 1);
    store(dv, 1.0f, 2);
    float dq[8][4] = {};
    for (int step = key_steps(); step < steps(); ++step) add_step<false>(step, own, s, dp, dq, dv);
    finish(dq, dv);
    store(dq, o.scale, 0);
  }

 private:
  // Scores and dP of a step.
  __device__ __forceinline__ void begin(int step, float (&s)[8][4], float (&dp)[8][4]) const {
    if (!is_diagonal(step)) {
      hopper::wait(memory.full(ring(step)), ring(step) / BackwardMemory::kRing & 1);
    }
    const bool keys = is_key_step(step);
    hopper::pin(flat(s));
    hopper::pin(flat(dp));
    hopper::products_begin();
    begin_scores(keys ? k() : q(), other(step, 0), flat(s));
    begin_scores(keys ? v() : dout(), other(step, 1), flat(dp));
    hopper::products_commit();
  }

  // Keys: first += dS^T q, second += P^T dout; queries: first += dS k. On entry scores and dP are
  // under way, and behind them the products of the step before.
  template <bool kKeys>
  __device__ __forceinline__ void add_step(int step, const float2 (&own)[2], float (&s)[8][4],
                                           float (&dp)[8][4], float (&first)[8][4],
                                           float (&second)[8][4]) const {
    hopper::products_wait<1>();
    hopper::pin(flat(s));
    hopper::pin(flat(dp));
    const float log2_scale = o.scale * kLog2e;
    if (is_diagonal(step)) {
      weigh<kKeys, true>(memory.stats(0), own, log2_scale, s, dp);
    } else {
      weigh<kKeys, false>(memory.stats(1), own, log2_scale, s, dp);
    }
    finish(first, second);
    __syncthreads();  // the stats and the stage of the step before have been read
    Weights<8> p, ds;
#pragma unroll
    for (int j = 0; j < kBlock / 8; ++j) {
      if (kKeys) p.set(j, s[j]);
      ds.set(j, dp[j]);
    }
    const uint32_t other0 = other(step, 0), other1 = other(step, 1);
    begin(min(step + 1, steps() - 1), s, dp);  // without a branch: registers stay where they are
    hopper::products_begin();
    begin_weighted(ds.pair[0], other0, flat(first));
    if (kKeys) begin_weighted(p.pair[0], other1, flat(second));
    hopper::products_commit();
    if (step > 0 && !is_diagonal(step - 1) && threadIdx.x == 0) {
      load_ring(ring(step - 1) + BackwardMemory::kRing);
    }
    if (kKeys && step + 1 < key_steps()) {
      stats_of(tile + step + 1, other(step + 1, 1), memory.stage(ring(step + 1), 2),
               memory.stats(1));
      __syncthreads();
    }
  }

  // Of all products that have been begun.
  __device__ __forceinline__ static void finish(float (&first)[8][4], float (&second)[8][4]) {
    hopper::products_wait<0>();
    hopper::pin(flat(first));
    hopper::pin(flat(second));
  }

  // To the third `third` of dqkv.
  __device__ __forceinline__ void store(const float (&d)[8][4], float factor, int third) const {
    const int row = tile * kBlock + static_cast<int>(threadIdx.x) / kWarp * 16;
    store_rows(d, factor, factor, head.dqkv(o, third) + row * o.dqkv_ld, o.dqkv_ld, o.length - row);
  }
};

__global__ void __launch_bounds__(kThreads, 2)
    backward_kernel(const Operands o, const __grid_constant__ Maps maps) {
  if constexpr (hopper::kHopper) {
    extern __shared__ unsigned char shared[];
    const auto memory = begin_block<BackwardMemory>(shared);
    const Head head(o);
    const Loader load(o, head, maps);
    Backward{o, load, memory, head, static_cast<int>(blockIdx.y), static_cast<int>(gridDim.y)}
        .run();
  }
}

}  // namespace warpgroup

bool backward_hopper(Gpu& gpu, const Operands& o) {
  using namespace warpgroup;
  return launch(gpu, "flash_backward", backward_kernel, BackwardMemory::kBytes, blocks_of(o.length),
                o);
}

}  // namespace gf::cuda::flash
