#include "flash_backward.cuh"
#include "flash_forward.cuh"
#include "hopper.h"
#include "hopper_gemm.cuh"

// Attention on Hopper, for heads of size 64. A block is one warpgroup with 64 rows of its own,
// which goes through the tiles of 64 rows that they meet: queries through the keys that they see,
// or, for dk and dv, keys through the queries that see them. Of the backward pass dk and dv are
// made by some blocks and dq by others: scores and weights are made twice, seven products where one
// pass could do with five, but no block waits for another, and those on one multiprocessor hide
// each other's waits.
//
// At B * H = 128, T = 128 the forward pass moves 8.4 MB and does 0.3 GFLOP, the backward pass moves
// 17 MB and does 1.1 GFLOP: 3 and 6 us at 3 TB/s, less what the second cache holds. A block has one
// or two steps of some 600 (900) cycles. At B * H = 512, T = 256: 67 and 134 MB, 22 and 45 us.

namespace gf::cuda::flash {
// Named, since compilers for other architectures would find functions of an unnamed one unused.
namespace tasks {

constexpr int kSize = 64, kThreads = hopper::kGroup, kStages = 2;
constexpr uint32_t kTile = hopper::kBlockBytes;

// Shared memory: tiles of the block's own rows; stages of the tiles that it goes through; stats of
// a tile's queries; barriers.
template <int kOwn, int kOther>
class Memory {
 public:
  static constexpr uint32_t kStagesAt = kOwn * kTile, kStageBytes = kOther * kTile;
  static constexpr uint32_t kStatsAt = kStagesAt + kStages * kStageBytes;
  static constexpr uint32_t kBarriersAt = kStatsAt + kBlock * sizeof(float2);
  static constexpr size_t kBytes = 1024 + kBarriersAt + (kStages + 1) * sizeof(uint64_t);

  __device__ explicit Memory(unsigned char* shared)
      : shared_(shared + (1024 - hopper::shared_address(shared) % 1024) % 1024),
        base_(hopper::shared_address(shared_)) {}

  __device__ uint32_t own(int tile) const { return base_ + tile * kTile; }
  __device__ uint32_t stage(int step, int tile) const {
    return base_ + kStagesAt + step % kStages * kStageBytes + tile * kTile;
  }
  __device__ float2* stats() const { return reinterpret_cast<float2*>(shared_ + kStatsAt); }
  __device__ uint32_t full(int step) const { return base_ + kBarriersAt + step % kStages * 8; }
  __device__ uint32_t full_own() const { return base_ + kBarriersAt + kStages * 8; }

  // By one thread, before a barrier of the block.
  __device__ void init() const {
    for (int i = 0; i < kStages; ++i) hopper::barrier_init(full(i), 1);
    hopper::barrier_init(full_own(), 1);
    hopper::barrier_init_fence();
  }

 private:
  unsigned char* shared_;
  uint32_t base_;
};

struct Maps {
  CUtensorMap qkv, dout, out;
};

// Tiles of 64 rows of one head, brought by one thread.
struct Loader {
  const Maps& maps;
  int row, column;  // where the head begins in out
  int width;        // D

  __device__ Loader(const Operands& o, const Head& head, const Maps& all)
      : maps(all),
        row(static_cast<int>(head.row)),
        column(static_cast<int>(head.column)),
        width(static_cast<int>(o.width)) {}

  __device__ void qkv(uint32_t to, int third, int tile, uint32_t barrier) const {
    hopper::load_tile(to, maps.qkv, third * width + column, row + tile * kBlock, barrier);
  }
  __device__ void dout(uint32_t to, int tile, uint32_t barrier) const {
    hopper::load_tile(to, maps.dout, column, row + tile * kBlock, barrier);
  }
  __device__ void out(uint32_t to, int tile, uint32_t barrier) const {
    hopper::load_tile(to, maps.out, column, row + tile * kBlock, barrier);
  }
};

// ---- Products --------------------------------------------------------------------------------

// [64, 64] of a warpgroup: element [4 j + 2 h + c] is that of row h ? 8 below the thread's : the
// thread's, and column 8 j + 2 (lane % 4) + c.
using Accumulator = float[32];

__device__ __forceinline__ Accumulator& flat(float (&d)[kSize / 8][4]) {
  return reinterpret_cast<Accumulator&>(d);
}

// s = a b^T of two tiles.
__device__ __forceinline__ void begin_scores(uint32_t a, uint32_t b, Accumulator& s) {
#pragma unroll
  for (int i = 0; i < 32; ++i) s[i] = 0;
  hopper::pin(s);
  hopper::products_begin();
  hopper::multiply_slab<kBlock, false, false>(a, b, s);
}

// d += weights b, the weights packed in registers, as many as Weights<8> holds; b a tile.
__device__ __forceinline__ void begin_weighted(const uint32_t* w, uint32_t b, Accumulator& d) {
  const uint64_t rows = hopper::descriptor<true>(b);
#pragma unroll
  for (int k = 0; k < kBlock / 16; ++k) {
    hopper::add_from_registers(d, w + 4 * k, rows + k * hopper::kStep<true>);
  }
}

// ---- Forward ---------------------------------------------------------------------------------

// out and lse of a tile of queries.
__device__ __forceinline__ void attend(const Operands& o, const Loader& load,
                                       const Memory<1, 2>& memory, const Head& head, int tile) {
  const auto load_keys = [&](int step) {
    hopper::arrive_expecting(memory.full(step), 2 * kTile);
    load.qkv(memory.stage(step, 0), 1, step, memory.full(step));
    load.qkv(memory.stage(step, 1), 2, step, memory.full(step));
  };
  if (threadIdx.x == 0) {
    hopper::arrive_expecting(memory.full_own(), kTile);
    load.qkv(memory.own(0), 0, tile, memory.full_own());
    for (int step = 0; step <= min(tile, kStages - 1); ++step) load_keys(step);
  }
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;  // of this warp's queries
  Rows<kSize> rows;
  Accumulator& out = flat(rows.out);
  hopper::wait(memory.full_own(), 0);
  for (int step = 0; step <= tile; ++step) {
    hopper::wait(memory.full(step), step / kStages & 1);
    float s[kSize / 8][4];
    begin_scores(memory.own(0), memory.stage(step, 0), flat(s));
    hopper::products_commit();
    hopper::products_wait<0>();
    hopper::pin(flat(s));
    if (step == tile) mask(s, first);
    Weights<8> weights;
    soften(s, o.scale * kLog2e, rows, weights);
    hopper::pin(out);
    hopper::products_begin();
    begin_weighted(weights.pair[0], memory.stage(step, 1), out);
    hopper::products_commit();
    hopper::products_wait<0>();
    hopper::pin(out);
    __syncthreads();  // the stage has been read
    if (threadIdx.x == 0 && step + kStages <= tile) load_keys(step + kStages);
  }
  if (tile * kBlock + first < o.length) finish(o, head, tile * kBlock + first, rows);
}

// The tiles with most keys first.
__global__ void __launch_bounds__(kThreads, 4)
    flash_forward_kernel(const Operands o, const __grid_constant__ Maps maps) {
  if constexpr (hopper::kHopper) {
    extern __shared__ unsigned char shared[];
    const Memory<1, 2> memory(shared);
    if (threadIdx.x == 0) memory.init();
    __syncthreads();
    wait_for_inputs();
    const Head head(o);
    attend(o, Loader(o, head, maps), memory, head, static_cast<int>(gridDim.y - 1 - blockIdx.y));
  }
}

// ---- Backward: weights -----------------------------------------------------------------------

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

// From scores and dP of a tile the weights P and dS. kKeys: rows are keys, columns are queries,
// whose stats lie in shared memory; otherwise `own` are those of this thread's two rows.
template <bool kKeys, bool kDiagonal>
__device__ __forceinline__ void weigh(const float (&s)[8][4], const float (&dp)[8][4],
                                      const float2* stats, const float2 (&own)[2], float log2_scale,
                                      Weights<8>& p, Weights<8>& ds) {
  const int row = hopper::row_of_thread(), column = lane() % 4 * 2;
#pragma unroll
  for (int j = 0; j < kBlock / 8; ++j) {
    float4 two = {};
    if (kKeys) two = *reinterpret_cast<const float4*>(stats + 8 * j + column);
    float weights[4], gradients[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int at_row = row + e / 2 * 8, at_column = 8 * j + column + e % 2;
      const float lse = kKeys ? (e % 2 ? two.z : two.x) : own[e / 2].x;
      const float mean = kKeys ? (e % 2 ? two.w : two.y) : own[e / 2].y;
      const bool seen = !kDiagonal || (kKeys ? at_column >= at_row : at_column <= at_row);
      weights[e] = seen ? exp2_approx(fmaf(s[j][e], log2_scale, -lse)) : 0.0f;
      gradients[e] = weights[e] * (dp[j][e] - mean);
    }
    p.set(j, weights);
    ds.set(j, gradients);
  }
}

// ---- Backward: one block ---------------------------------------------------------------------

// Keys: tiles k, v of its own and q, dout, out of each step; first += dS^T q, second += P^T dout.
// Queries: q, dout of its own, out once, and k, v of each step; first += dS k.
template <bool kKeys>
struct Task {
  const Operands& o;
  const Loader& load;
  const Memory<2, 3>& memory;
  const Head& head;
  int tile;          // of its own rows
  int begin, count;  // tiles of the other rows

  __device__ void load_own() const {
    const uint32_t barrier = memory.full_own();
    hopper::arrive_expecting(barrier, (kKeys ? 2 : 3) * kTile);
    load.qkv(memory.own(0), kKeys ? 1 : 0, tile, barrier);
    if (kKeys) {
      load.qkv(memory.own(1), 2, tile, barrier);
    } else {
      load.dout(memory.own(1), tile, barrier);
      load.out(memory.stage(0, 2), tile, barrier);
    }
  }
  __device__ void load_step(int step) const {
    const uint32_t barrier = memory.full(step);
    hopper::arrive_expecting(barrier, (kKeys ? 3 : 2) * kTile);
    load.qkv(memory.stage(step, 0), kKeys ? 0 : 1, begin + step, barrier);
    if (kKeys) {
      load.dout(memory.stage(step, 1), begin + step, barrier);
      load.out(memory.stage(step, 2), begin + step, barrier);
    } else {
      load.qkv(memory.stage(step, 1), 2, begin + step, barrier);
    }
  }

  // lse of the row of a tile of queries whose stats this thread makes.
  __device__ float lse(int of_tile) const {
    const int row = of_tile * kBlock + static_cast<int>(threadIdx.x) / 2;
    return *head.lse(o, min(row, o.length - 1));
  }
  __device__ bool is_row(int of_tile) const {
    return of_tile * kBlock + static_cast<int>(threadIdx.x) / 2 < o.length;
  }

  __device__ __forceinline__ void run() const {
    if (threadIdx.x == 0) {
      load_own();
      for (int i = 0; i < min(count, kStages); ++i) load_step(i);
    }
    float next_lse = lse(kKeys ? begin : tile);
    float first[8][4] = {}, second[8][4] = {};
    float2 own[2] = {};
    hopper::wait(memory.full_own(), 0);
    if (!kKeys) {
      make_stats(memory.own(1), memory.stage(0, 2), next_lse, is_row(tile), memory.stats());
      __syncthreads();
      for (int h = 0; h < 2; ++h) own[h] = memory.stats()[hopper::row_of_thread() + 8 * h];
    }
    for (int step = 0; step < count; ++step) {
      hopper::wait(memory.full(step), step / kStages & 1);
      add_step(step, own, next_lse, first, second);
      __syncthreads();  // the stage and the stats have been read
      if (threadIdx.x == 0 && step + kStages < count) load_step(step + kStages);
    }
    store(first, second);
  }

 private:
  __device__ __forceinline__ void add_step(int step, const float2 (&own)[2], float& next_lse,
                                           float (&first)[8][4], float (&second)[8][4]) const {
    float s[8][4], dp[8][4];
    begin_scores(memory.own(0), memory.stage(step, 0), flat(s));
    begin_scores(memory.own(1), memory.stage(step, 1), flat(dp));
    hopper::products_commit();
    if (kKeys) {
      const int queries = begin + step;
      make_stats(memory.stage(step, 1), memory.stage(step, 2), next_lse, is_row(queries),
                 memory.stats());
      next_lse = lse(queries + 1);
      __syncthreads();
    }
    hopper::products_wait<0>();
    hopper::pin(flat(s));
    hopper::pin(flat(dp));
    Weights<8> p, ds;
    const float log2_scale = o.scale * kLog2e;
    if (begin + step == tile) {
      weigh<kKeys, true>(s, dp, memory.stats(), own, log2_scale, p, ds);
    } else {
      weigh<kKeys, false>(s, dp, memory.stats(), own, log2_scale, p, ds);
    }
    hopper::pin(flat(first));
    if (kKeys) hopper::pin(flat(second));
    hopper::products_begin();
    begin_weighted(ds.pair[0], memory.stage(step, 0), flat(first));
    if (kKeys) begin_weighted(p.pair[0], memory.stage(step, 1), flat(second));
    hopper::products_commit();
    hopper::products_wait<0>();
    hopper::pin(flat(first));
    if (kKeys) hopper::pin(flat(second));
  }

  __device__ void store(const float (&first)[8][4], const float (&second)[8][4]) const {
    const int row = tile * kBlock + static_cast<int>(threadIdx.x) / kWarp * 16;
    const int64_t at = row * o.dqkv_ld;
    store_rows(first, o.scale, o.scale, head.dqkv(o, kKeys ? 1 : 0) + at, o.dqkv_ld,
               o.length - row);
    if (kKeys) {
      store_rows(second, 1.0f, 1.0f, head.dqkv(o, 2) + at, o.dqkv_ld, o.length - row);
    }
  }
};

// blockIdx.y: the tasks with most steps first.
__global__ void __launch_bounds__(kThreads, 3)
    flash_backward_kernel(const Operands o, const __grid_constant__ Maps maps) {
  if constexpr (hopper::kHopper) {
    extern __shared__ unsigned char shared[];
    const Memory<2, 3> memory(shared);
    if (threadIdx.x == 0) memory.init();
    __syncthreads();
    wait_for_inputs();
    const Head head(o);
    const Loader load(o, head, maps);
    const int tiles = static_cast<int>(gridDim.y) / 2, y = static_cast<int>(blockIdx.y);
    const int count = tiles - y / 2;
    if (y % 2 == 0) {
      Task<true>{o, load, memory, head, tiles - count, tiles - count, count}.run();
    } else {
      Task<false>{o, load, memory, head, count - 1, 0, count}.run();
    }
  }
}

// ---- Launch ----------------------------------------------------------------------------------

Act act(const Operands& o, const bf16* data, int64_t cols, int64_t ld) {
  return {reinterpret_cast<std::byte*>(const_cast<bf16*>(data)), int64_t{o.sequences} * o.length,
          cols, ld, sizeof(bf16)};
}

// Returns whether it was done.
bool run(Gpu& gpu, const char* what, void (*kernel)(Operands, Maps), size_t bytes,
         int64_t blocks_of_head, const Operands& o, const Act& dout) {
  constexpr int64_t kMostBlocks = 65535;
  const Act qkv = act(o, o.qkv, 3 * o.width, o.qkv_ld), out = act(o, o.out, o.width, o.out_ld);
  if (o.size != kSize || blocks_of_head > kMostBlocks || !hopper::takes(gpu, qkv, out) ||
      !hopper::takes(gpu, qkv, dout)) {
    return false;
  }
  const Maps maps{hopper::tensor_map(qkv, kBlock), hopper::tensor_map(dout, kBlock),
                  hopper::tensor_map(out, kBlock)};
  hopper::allow_shared(kernel, bytes, what);
  launch(gpu, what, kernel,
         dim3(static_cast<unsigned>(o.sequences * o.heads), static_cast<unsigned>(blocks_of_head)),
         kThreads, bytes, o, maps);
  return true;
}

}  // namespace tasks

using namespace tasks;

bool forward_hopper(Gpu& gpu, const Operands& o) {
  return run(gpu, "flash_forward", flash_forward_kernel, Memory<1, 2>::kBytes, blocks_of(o.length),
             o, act(o, o.out, o.width, o.out_ld));
}

bool backward_hopper(Gpu& gpu, const Operands& o) {
  return run(gpu, "flash_backward", flash_backward_kernel, Memory<2, 3>::kBytes,
             2 * int64_t{blocks_of(o.length)}, o, act(o, o.dout, o.width, o.dout_ld));
}

}  // namespace gf::cuda::flash
