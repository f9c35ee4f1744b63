#include "flash_backward.cuh"

// The backward pass of heads whose gradients do not fit the registers of one block of threads: dq
// and dk, dv in a kernel each, at the price of computing S and dP twice. Traffic and work grow with
// T² and the arithmetic, 7 products of T² D / 2 a sequence, is what bounds it.

namespace gf::cuda::flash {
namespace {

constexpr int kThreads = kBlock / 16 * kWarp;
constexpr int kStepKeys = kStepTiles * 8;

// Queries and dout, or keys and values, of one block of rows.
template <int kSize>
struct Pair {
  static constexpr int kBytes = 2 * Tile<kSize>::kBytes;
  Tile<kSize> first, second;

  __device__ Pair(uint32_t base, int index)
      : first{base + static_cast<uint32_t>(index * kBytes)}, second(first.from_row(kBlock)) {}
};

// Stats of all rows of a head, whole blocks of them.
__device__ __forceinline__ float2* stats_of_head(const Operands& o) {
  const int64_t rows = (o.length + kBlock - 1) / kBlock * kBlock;
  return o.stats + static_cast<int64_t>(blockIdx.x) * rows;
}

// Adds what 32 keys give to 16 queries. The tiles begin at the first query and the first key,
// `ahead` is first query - first key, stats are those of rows g and g + 8.
template <int kSize>
__device__ __forceinline__ void add_keys(Tile<kSize> q, Tile<kSize> dout, Tile<kSize> k,
                                         Tile<kSize> v, const float2 (&stats)[2], int ahead,
                                         float log2_scale, float (&dq)[kSize / 8][4]) {
  float s[kStepTiles][4], dp[kStepTiles][4];
  scores(q, k, s);
  scores(dout, v, dp);
  const int query = lane() / 4 + ahead, key = lane() % 4 * 2;
  Weights<kStepTiles> ds;
#pragma unroll
  for (int n = 0; n < kStepTiles; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const bool seen = 8 * n + key + e % 2 <= query + e / 2 * 8;
      const float p = seen ? exp2_approx(s[n][e] * log2_scale - stats[e / 2].x) : 0.0f;
      dp[n][e] = p * (dp[n][e] - stats[e / 2].y);
    }
    ds.set(n, dp[n]);
  }
  add_weighted(ds, k, dq);
}

// A block takes 64 queries of a head, a warp 16 of them, and goes through the keys. It makes the
// stats of its queries and leaves them for the next kernel.
template <int kSize>
__global__ void __launch_bounds__(kThreads) flash_dq_kernel(const Operands o) {
  wait_for_inputs();
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ float2 stats[kBlock];
  const uint32_t base = shared_address(memory);
  const Head head(o);
  const int block = static_cast<int>(gridDim.y - 1 - blockIdx.y), first = block * kBlock;
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  const Pair<kSize> queries(base, 0);
  const auto load_keys = [&](int j) {
    if (j <= block) {
      const Pair<kSize> keys(base, 1 + j % 2);
      load_tile(keys.first, head.qkv(o, 1), o.qkv_ld, j * kBlock, kBlock, o.length);
      load_tile(keys.second, head.qkv(o, 2), o.qkv_ld, j * kBlock, kBlock, o.length);
    }
    commit_copies();
  };
  load_tile(queries.first, head.qkv(o, 0), o.qkv_ld, first, kBlock, o.length);
  load_tile(queries.second, head.dout(o), o.dout_ld, first, kBlock, o.length);
  load_keys(0);
  load_keys(1);
  for (int i = static_cast<int>(threadIdx.x) / 4; i < kBlock; i += kThreads / 4) {
    const float2 made = make_row_stats<kSize>(o, head, first + i);
    if (lane() % 4 == 0) stats_of_head(o)[first + i] = stats[i] = made;
  }

  float dq[kSize / 8][4] = {};
  for (int j = 0; j <= block; ++j) {
    wait_copies<1>();
    __syncthreads();
    const float2 own[2] = {stats[row + lane() / 4], stats[row + lane() / 4 + 8]};
    const Pair<kSize> keys(base, 1 + j % 2);
#pragma unroll 1
    for (int key = 0; key < kBlock; key += kStepKeys) {
      const int ahead = first + row - j * kBlock - key;
      if (ahead + 16 <= 0) continue;
      add_keys(queries.first.from_row(row), queries.second.from_row(row), keys.first.from_row(key),
               keys.second.from_row(key), own, ahead, o.scale * kLog2e, dq);
    }
    __syncthreads();
    load_keys(j + 2);
  }
  store_rows(dq, o.scale, o.scale, head.dqkv(o, 0) + (first + row) * o.dqkv_ld, o.dqkv_ld,
             o.length - first - row);
}

// A block takes 64 keys of a head, a warp 16 of them, and goes through the queries that see them.
template <int kSize>
__global__ void __launch_bounds__(kThreads, 1) flash_dkv_kernel(const Operands o) {
  wait_for_inputs();
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ __align__(16) float2 stats[2][kBlock];
  const uint32_t base = shared_address(memory);
  const Head head(o);
  const int block = static_cast<int>(blockIdx.y), first = block * kBlock;
  const int blocks = static_cast<int>(gridDim.y);
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  const Pair<kSize> keys(base, 0);
  const auto load_queries = [&](int i) {
    if (i < blocks) {
      const Pair<kSize> queries(base, 1 + i % 2);
      load_tile(queries.first, head.qkv(o, 0), o.qkv_ld, i * kBlock, kBlock, o.length);
      load_tile(queries.second, head.dout(o), o.dout_ld, i * kBlock, kBlock, o.length);
      if (threadIdx.x < kBlock / 2) {
        copy16(shared_address(&stats[i % 2][2 * threadIdx.x]),
               stats_of_head(o) + i * kBlock + 2 * threadIdx.x, true);
      }
    }
    commit_copies();
  };
  load_tile(keys.first, head.qkv(o, 1), o.qkv_ld, first, kBlock, o.length);
  load_tile(keys.second, head.qkv(o, 2), o.qkv_ld, first, kBlock, o.length);
  load_queries(block);
  load_queries(block + 1);

  KeyGradients<kSize> gradients;
  for (int i = block; i < blocks; ++i) {
    wait_copies<1>();
    __syncthreads();
    const Pair<kSize> queries(base, 1 + i % 2);
#pragma unroll 1
    for (int query = 0; query < kBlock; query += kStepQueries) {
      const int ahead = i * kBlock + query - first - row;
      if (ahead + kStepQueries <= 0) continue;
      Weights<kStepTiles> ds;
      add_queries(keys.first.from_row(row), keys.second.from_row(row),
                  queries.first.from_row(query), queries.second.from_row(query),
                  &stats[i % 2][query], ahead, o.scale * kLog2e, gradients, ds);
    }
    __syncthreads();
    load_queries(i + 2);
  }
  store_gradients(o, head, first + row, gradients);
}

template <int kSize>
void run_split(Gpu& gpu, const Operands& operands) {
  constexpr int kBytes = 3 * Pair<kSize>::kBytes;
  Operands o = operands;
  const int64_t heads = static_cast<int64_t>(o.sequences) * o.heads, blocks = blocks_of(o.length);
  o.stats = gpu.scratch<float2>(heads * blocks * kBlock);
  const dim3 grid(static_cast<unsigned>(heads), static_cast<unsigned>(blocks));
  check(cudaFuncSetAttribute(flash_dq_kernel<kSize>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             kBytes),
        "flash_dq");
  check(cudaFuncSetAttribute(flash_dkv_kernel<kSize>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             kBytes),
        "flash_dkv");
  launch(gpu, "flash_dq", flash_dq_kernel<kSize>, grid, kThreads, kBytes, o);
  launch(gpu, "flash_dkv", flash_dkv_kernel<kSize>, grid, kThreads, kBytes, o);
}

}  // namespace

void backward_split(Gpu& gpu, const Operands& o) {
  if (o.size == 32) {
    run_split<32>(gpu, o);
  } else if (o.size == 64) {
    run_split<64>(gpu, o);
  } else {
    run_split<128>(gpu, o);
  }
}

}  // namespace gf::cuda::flash
