#include "flash_backward.cuh"

namespace gf::cuda::flash {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;

// Shared memory of the kernel below, in bytes from its start: keys and values of the head; two
// stages of a block of queries and of dout; dS^T of that block; stats of all queries.
template <int kSize, int kKeyTiles>
struct Layout {
  static constexpr int kKeys = kKeyTiles * kWarps * 16;
  static constexpr int kValues = kKeys * kSize * 2;
  static constexpr int kStages = 2 * kValues;
  static constexpr int kDs = kStages + 4 * Tile<kSize>::kBytes;
  static constexpr int kStats = kDs + kKeys * kBlock * 2;
  static constexpr int kTotal = kStats + kKeys * static_cast<int>(sizeof(float2));
};

// dS^T of 16 keys and 32 queries; column of the tile: query of the block.
__device__ __forceinline__ void store_ds(const Weights<kStepTiles>& ds, Tile<kBlock> to,
                                         int chunk) {
  const int g = lane() / 4, t = lane() % 4;
#pragma unroll
  for (int n = 0; n < kStepTiles; ++n) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(to.at(g + 8 * r, chunk + n) + t * 4),
                   "r"(ds.pair[n][r])
                   : "memory");
    }
  }
}

// dq = scale dS k of a block of 64 queries: a warp makes 16 queries and half of the columns.
template <int kSize>
__device__ __forceinline__ void store_dq(const Operands& o, const Head& head, int block,
                                         Tile<kBlock> ds, Tile<kSize> k) {
  constexpr int kTiles = kSize / 16;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, rows = warp % 4;
  const int first = block * kBlock + rows * 16, column = warp / 4 * kSize / 2;
  if (first >= o.length) return;
  float dq[kTiles][4] = {};
  for (int key = 0; key <= first; key += 16) {
    Fragment left;
    load_columns_first<true>(ds, key, rows * 2, left);
#pragma unroll
    for (int n = 0; n < kTiles; n += 2) {
      Fragment right;
      load_rows_first<true>(k, key, column / 8 + n, right);
      multiply(dq[n], left, right[0], right[1]);
      multiply(dq[n + 1], left, right[2], right[3]);
    }
  }
  store_rows(dq, o.scale, o.scale, head.dqkv(o, 0) + first * o.dqkv_ld + column, o.dqkv_ld,
             o.length - first);
}

// Of 16-key tiles the j-th that a warp owns: one near the start, seen by most queries, and one near
// the end.
template <int kKeyTiles>
__device__ __forceinline__ int key_tile(int j) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  return j == 0 ? warp : kKeyTiles * kWarps - 1 - warp;
}

// A warp's keys against a block of 64 queries.
template <int kSize, int kKeyTiles>
__device__ __forceinline__ void add_block(const Operands& o, int block, Tile<kSize> k,
                                          Tile<kSize> v, Tile<kSize> q, Tile<kBlock> ds,
                                          const float2* stats,
                                          KeyGradients<kSize> (&gradients)[kKeyTiles]) {
  const Tile<kSize> dout = q.from_row(kBlock);
#pragma unroll
  for (int j = 0; j < kKeyTiles; ++j) {
    const int key = 16 * key_tile<kKeyTiles>(j);
#pragma unroll 1
    for (int row = 0; row < kBlock; row += kStepQueries) {
      const int query = block * kBlock + row;
      if (key >= query + kStepQueries || query >= o.length) continue;
      Weights<kStepTiles> step_ds;
      add_queries(k.from_row(key), v.from_row(key), q.from_row(row), dout.from_row(row),
                  stats + query, query - key, o.scale * kLog2e, gradients[j], step_ds);
      store_ds(step_ds, ds.from_row(key), row / 8);
    }
  }
}

// A block takes one head of one sequence of at most 128 kKeyTiles tokens; its warps own 16
// kKeyTiles keys each and keep their gradients in registers while all go through the queries, 64 at
// a time. dS of those passes through shared memory to dq, so nothing is computed twice. At
// B * H = 128, T = 128, head size 64 it reads 10.5 MB and writes 6.3 MB, 4 us at 4.3 TB/s, for
// 0.7 GFLOP, 2 us.
template <int kSize, int kKeyTiles>
__global__ void __launch_bounds__(kThreads, 1) flash_backward_kernel(const Operands o) {
  wait_for_inputs();
  extern __shared__ __align__(128) unsigned char memory[];
  using Shared = Layout<kSize, kKeyTiles>;
  const uint32_t base = shared_address(memory);
  const Tile<kSize> k{base}, v{base + Shared::kValues}, stages{base + Shared::kStages};
  const Tile<kBlock> ds{base + Shared::kDs};
  float2* const stats = reinterpret_cast<float2*>(memory + Shared::kStats);
  const Head head(o);
  const int blocks = (o.length + kBlock - 1) / kBlock;
  const auto stage = [&](int i) { return stages.from_row(i % 2 * 2 * kBlock); };
  const auto load_queries = [&](int i) {
    if (i < blocks) {
      load_tile(stage(i), head.qkv(o, 0), o.qkv_ld, i * kBlock, kBlock, o.length);
      load_tile(stage(i).from_row(kBlock), head.dout(o), o.dout_ld, i * kBlock, kBlock, o.length);
    }
    commit_copies();
  };
  load_tile(k, head.qkv(o, 1), o.qkv_ld, 0, blocks * kBlock, o.length);
  load_tile(v, head.qkv(o, 2), o.qkv_ld, 0, blocks * kBlock, o.length);
  load_queries(0);
  load_queries(1);
  for (int row = static_cast<int>(threadIdx.x) / 4; row < blocks * kBlock; row += kThreads / 4) {
    const float2 row_stats = make_row_stats<kSize>(o, head, row);
    if (lane() % 4 == 0) stats[row] = row_stats;
  }

  KeyGradients<kSize> gradients[kKeyTiles];
  for (int i = 0; i < blocks; ++i) {
    wait_copies<1>();
    __syncthreads();  // the copies of all threads, and dS of the block before is used up
    add_block(o, i, k, v, stage(i), ds, stats, gradients);
    __syncthreads();  // dS is whole, and the stage is free
    load_queries(i + 2);
    store_dq(o, head, i, ds, k);
  }
#pragma unroll
  for (int j = 0; j < kKeyTiles; ++j) {
    store_gradients(o, head, 16 * key_tile<kKeyTiles>(j), gradients[j]);
  }
}

template <int kSize, int kKeyTiles>
void run_backward(Gpu& gpu, const Operands& o) {
  constexpr size_t kBytes = Layout<kSize, kKeyTiles>::kTotal;
  if (gpu.properties().sharedMemPerBlockOptin < kBytes) {
    backward_split(gpu, o);
    return;
  }
  check(cudaFuncSetAttribute(flash_backward_kernel<kSize, kKeyTiles>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
        "flash_backward");
  launch(gpu, "flash_backward", flash_backward_kernel<kSize, kKeyTiles>,
         static_cast<unsigned>(o.sequences * o.heads), kThreads, kBytes, o);
}

template <int kSize>
void run_backward(Gpu& gpu, const Operands& o) {
  if (o.length <= Layout<kSize, 1>::kKeys) {
    run_backward<kSize, 1>(gpu, o);
  } else {
    run_backward<kSize, 2>(gpu, o);
  }
}

}  // namespace

void backward(Gpu& gpu, const Operands& o) {
  if (backward_hopper(gpu, o)) return;
  if (o.length > Layout<64, 2>::kKeys || o.size > 64) {
    backward_split(gpu, o);
  } else if (o.size == 32) {
    run_backward<32>(gpu, o);
  } else {
    run_backward<64>(gpu, o);
  }
}

}  // namespace gf::cuda::flash
