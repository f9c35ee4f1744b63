#include <algorithm>

#include "hopper.h"
#include "wedge_tile.cuh"

namespace gf::cuda {
namespace {

using namespace wedge_tile;

// The gradients of the pairs from dp = dg W, p, and the bias gradient's parts; dp never in memory.
//
// Two blocks, a cluster, go through tiles of 64 tokens. Each keeps four of the eight slabs of
// W_plu's columns, with all D rows, and of a tile makes those of p, of dp and what they add to y =
// P w | Pᵀ u. Then each takes half of the tokens and reads the other's part of their y out of its
// shared memory. Half of its warps end the pairs of these tokens and make dp of the next tile; the
// other half makes u, w and p of that.
//
// At the study's shape (M = 4096, D = 256) 128 blocks read 17 MB of W_plu and 4.2 MB of dg out of
// the L2 cache, 3.9 µs at 5.5 TB/s, do 1.04 GFLOP, 1.5 µs at 709 TFLOP/s, and write p, 4.1 MB, and
// the gradients, 3.7 MB. At M = 32768 each cluster goes through eight tiles, some 3.5 µs each.

constexpr int kBlocks = 2;                      // of a cluster
constexpr int kWidth = 256;                     // D
constexpr int kSteps = kWidth / hopper::kSlab;  // slabs of D
constexpr int kOwnSlabs = kSlabs / kBlocks;     // of the coordinates
constexpr int kOwnTokens = kTokens / kBlocks;
constexpr int kSumChunks = 2 * kReduced / 4;   // float4s of a token's row of y
constexpr int kOwnWidth = kWidth / kBlocks;    // columns of dg that a block adds up
constexpr int kShares = 2;                     // of a token's pairs, four lanes each
constexpr int kBiasParts = kHalf / kOwnWidth;  // shares of the rows of a tile

static_assert(kThreads == kOwnTokens * kSumChunks && kHalf == kOwnTokens * 4 * kShares);

struct Shared {
  Slab weight[kSteps][kOwnSlabs];
  union {
    struct {
      Slab dg[kSteps];       // then dp
      Slab tile[kOwnSlabs];  // p
    };
    float4 sums[kOwnSlabs][kTokens][kSumChunks];
    float bias[kBiasParts][kOwnWidth];
  };
  Tokens tokens;
  float y[kOwnTokens][kRowFloats];      // P w | Pᵀ u
  float4 sent[kOwnTokens][kSumChunks];  // what the other block reads
  uint64_t arrived[kSteps];             // of dg, at first with W_plu
};
static_assert(kOwnSlabs == kSteps && kSharedBytes<Shared> <= 227 * 1024);

struct Matrices {
  CUtensorMap weight, dg;
  const bf16* z;
  int64_t ldz;
  bf16* p;
  int64_t ldp;
  PairGradients pairs;
  float* parts;  // [gridDim.y, D]
};

// Of this block in its cluster.
__device__ __forceinline__ int rank() {
  return static_cast<int>(blockIdx.x);
}

__device__ __forceinline__ uint32_t arrival(const Shared& shared, int step) {
  return hopper::shared_address(&shared.arrived[step]);
}

// By one thread: dg of a tile, zeros past the last row, and with the first tile W_plu.
__device__ __forceinline__ void load(Shared& shared, const Matrices& m, int first, bool is_first) {
#pragma unroll 1
  for (int step = 0; step < kSteps; ++step) {
    const uint32_t barrier = arrival(shared, step);
    hopper::arrive_expecting(barrier, (is_first ? kOwnSlabs + 1 : 1) * uint32_t{sizeof(Slab)});
    hopper::load_tile(hopper::shared_address(shared.dg[step]), m.dg, step * hopper::kSlab, first,
                      barrier);
    for (int slab = 0; is_first && slab < kOwnSlabs; ++slab) {
      hopper::load_tile(hopper::shared_address(shared.weight[step][slab]), m.weight,
                        (rank() * kOwnSlabs + slab) * hopper::kSlab, step * hopper::kSlab, barrier);
    }
  }
}

// By half of the threads: this block's slabs of p.
__device__ __forceinline__ void make_wedges(Shared& shared) {
  const int own = warp() % kOwnSlabs, token = warp() / kOwnSlabs % 2 * kWarp + lane();
  with_slab(rank() * kOwnSlabs + own, [&](auto slab) {
    wedge_slab<decltype(slab)::value>(shared.tokens, token, shared.tile[own]);
  });
}

// By half of the threads: a warp takes a token's at a time, a chunk a lane.
__device__ __forceinline__ void write_wedges(const Shared& shared, const Matrices& m, int first,
                                             int rows) {
  constexpr int kHalfWarps = kHalf / kWarp;
  const int chunk = rank() * kWarp + lane();
  if (chunk >= kChunks) return;
#pragma unroll
  for (int token = warp() % kHalfWarps; token < kTokens; token += kHalfWarps) {
    if (first + token >= rows) break;
    *reinterpret_cast<uint4*>(m.p + (first + token) * m.ldp + chunk * kVector) =
        *reinterpret_cast<const uint4*>(place(shared.tile[lane() / 8], token, lane() % 8));
  }
}

using Sums = float[hopper::kSlab];  // 64 tokens x 128 coordinates of a warpgroup

// Begins d += dp, two slabs a warpgroup of half of the threads.
__device__ __forceinline__ void begin_products(const Shared& shared, int phase, Sums& d) {
  const int first = hopper::warpgroup() * 2;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    hopper::wait(arrival(shared, step), phase);
    hopper::pin(d);
    hopper::products_begin();
    hopper::multiply_slab<2 * hopper::kSlab, false, true>(
        hopper::shared_address(shared.dg[step]), hopper::shared_address(shared.weight[step][first]),
        d);
    hopper::products_commit();
  }
}

// Of the column sums of dg a block makes half; a thread adds up its share of a tile's rows in one
// column.
__device__ __forceinline__ float add_rows(const Shared& shared, const Offsets& offsets, int first) {
  constexpr int kRows = kTokens / kBiasParts;
  const int column = rank() * kOwnWidth + thread() % kOwnWidth;
  const int begin = thread() / kOwnWidth * kRows;
  const char* dg = shared.dg[column / hopper::kSlab];
  const int chunk = column % hopper::kSlab / kVector;
  int t = offsets.position(first + begin);
  float sum = 0;
#pragma unroll 8
  for (int i = 0; i < kRows; ++i) {
    const char* eight = place(dg, begin + i, chunk);
    const float value = to_float(reinterpret_cast<const bf16*>(eight)[column % kVector]);
    sum += offsets.has_past(t) ? value : 0.0f;
    t = t + 1 == offsets.length ? 0 : t + 1;
  }
  return sum;
}

// dp as bf16 to the place of dg.
__device__ __forceinline__ void keep_product(Shared& shared, const Sums& d) {
  const int row = warp() % 4 * 16 + lane() % 16;
#pragma unroll
  for (int j = 0; j < 2 * hopper::kSlab / kVector; j += 2) {
    const uint32_t w[4] = {pack2(d[4 * j], d[4 * j + 1]), pack2(d[4 * j + 2], d[4 * j + 3]),
                           pack2(d[4 * j + 4], d[4 * j + 5]), pack2(d[4 * j + 6], d[4 * j + 7])};
    char* to = place(shared.dg[hopper::warpgroup() * 2 + j / 8], row, j % 8 + lane() / 16);
    hopper::store_matrices(hopper::shared_address(to), w);
  }
}

// By the first half of the threads. Returns what add_rows does.
__device__ __forceinline__ float make_products(Shared& shared, const Offsets& offsets, int first,
                                               int phase) {
  Sums d = {};
  // For compute-sanitizer's sake: its racecheck takes warps that have passed as many barriers,
  // whichever they were, for in step, and in a tile the other half passes two of its own.
  wait_for_half<0>();
  begin_products(shared, phase, d);
  const float bias = add_rows(shared, offsets, first);
  hopper::products_wait<0>();
  hopper::pin(d);
  wait_for_half<0>();
  keep_product(shared, d);
  return bias;
}

// What each slab adds to y of each token: half of the warps make P w, the others P u = -Pᵀ u. Chunk
// i of token t stands at i ^ t % 16 of its row: free of bank conflicts both for a warp of tokens,
// which writes, and for a row of chunks, which is read.
__device__ __forceinline__ void contract(Shared& shared) {
  const int own = warp() % kOwnSlabs, token = warp() / kOwnSlabs % 2 * kWarp + lane();
  const float* x = shared.tokens[token] + (half() == 0 ? kReduced : 0);
  float y[kReduced] = {};
  with_slab(rank() * kOwnSlabs + own,
            [&](auto slab) { contract_slab<decltype(slab)::value>(x, shared.dg[own], token, y); });
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kReduced / 4; ++i) {
    const int chunk = half() * kReduced / 4 + i;
    shared.sums[own][token][chunk ^ token % kSumChunks] = {y[4 * i], y[4 * i + 1], y[4 * i + 2],
                                                           y[4 * i + 3]};
  }
  __syncthreads();
}

__device__ __forceinline__ float4 sum_of(float4 a, const float4& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}

// y of this block's tokens in its place, a float4 a thread. Between the two blocks a barrier says
// that what is sent may be read, and, left half open for the next tile, that it has been read.
__device__ __forceinline__ void exchange(Shared& shared) {
  const int token = thread() / kSumChunks;
  const int chunk = thread() % kSumChunks;
  const float sign = chunk < kSumChunks / 2 ? 1.0f : -1.0f;
  const auto sum_of_slabs = [&](int i) {
    float4 sum = shared.sums[0][i][chunk ^ i % kSumChunks];
#pragma unroll
    for (int own = 1; own < kOwnSlabs; ++own) {
      sum = sum_of(sum, shared.sums[own][i][chunk ^ i % kSumChunks]);
    }
    return float4{sign * sum.x, sign * sum.y, sign * sum.z, sign * sum.w};
  };
  const float4 own = sum_of_slabs(rank() * kOwnTokens + token);
  const float4 other = sum_of_slabs((1 - rank()) * kOwnTokens + token);
  hopper::cluster_wait();
  shared.sent[token][chunk] = other;
  hopper::cluster_arrive();
  hopper::cluster_wait();
  const uint32_t there = hopper::shared_of_block(hopper::shared_address(&shared.sent[token][chunk]),
                                                 static_cast<uint32_t>(1 - rank()));
  reinterpret_cast<float4*>(shared.y[token])[chunk] = sum_of(own, hopper::load_remote4(there));
  hopper::cluster_arrive();
}

// By half of the threads: ends the pairs of this block's tokens.
template <bool kLearned>
__device__ __forceinline__ void pass_back(const Shared& shared, const Matrices& m,
                                          const Offsets& offsets, int first) {
  const int own = thread() / (TokenRow::kLanes * kShares);
  const int token = first + rank() * kOwnTokens + own;
  const int row = min(token, offsets.rows - 1);
  const Past<bf16> past(m.z, m.ldz, offsets, row, 0);
  TokenRow u, e[TokenRow::kAtOnce], dv[TokenRow::kAtOnce], du;
  pass_back<kShares, kLearned>(past, offsets, row, row, token < offsets.rows, shared.y[own],
                               m.pairs, u, e, dv, du);
}

__device__ __forceinline__ void write_bias(Shared& shared, float bias, float* parts) {
  const int part = thread() / kOwnWidth, column = thread() % kOwnWidth;
  if (part < kBiasParts) shared.bias[part][column] = bias;
  __syncthreads();
  if (part > 0) return;
#pragma unroll
  for (int i = 1; i < kBiasParts; ++i) bias += shared.bias[i][column];
  parts[static_cast<int>(blockIdx.y) * kWidth + rank() * kOwnWidth + column] = bias;
}

template <bool kLearned>
__global__ void __launch_bounds__(kThreads, 1) GF_CLUSTER(kBlocks, 1)
    product_backward_kernel(const __grid_constant__ Offsets offsets,
                            const __grid_constant__ Matrices m) {
  if constexpr (hopper::kHopper) {
    auto& shared = shared_memory<Shared>();
    if (threadIdx.x == 0) {
      for (int step = 0; step < kSteps; ++step) hopper::barrier_init(arrival(shared, step), 1);
      hopper::barrier_init_fence();
      hopper::prefetch_map(m.weight);
      hopper::prefetch_map(m.dg);
    }
    __syncthreads();
    wait_for_inputs();
    hopper::cluster_arrive();
    const int begin = static_cast<int>(blockIdx.y) * kTokens;
    const int step = static_cast<int>(gridDim.y) * kTokens;
    if (threadIdx.x == 0) load(shared, m, begin, true);
    float bias = 0;
    for (int next = begin, phase = 0;; next += step, phase ^= 1) {
      const bool is_tile = next < offsets.rows;
      if (half() == 1 && is_tile) {
        look_back<kLearned>(m.z, m.ldz, offsets, next, shared.tokens);
        wait_for_half<1>();
        make_wedges(shared);
        wait_for_half<1>();
        write_wedges(shared, m, next, offsets.rows);
      }
      if (half() == 0 && next > begin) pass_back<kLearned>(shared, m, offsets, next - step);
      if (half() == 0 && is_tile) bias += make_products(shared, offsets, next, phase);
      __syncthreads();
      if (!is_tile) break;
      contract(shared);
      exchange(shared);
      hopper::fence_async_proxy();
      __syncthreads();
      if (threadIdx.x == 0 && next + step < offsets.rows) load(shared, m, next + step, false);
    }
    write_bias(shared, bias, m.parts);
    hopper::cluster_wait();
  }
}

}  // namespace

int64_t wedge_product_backward(Gpu& gpu, const Act& dg, const Act& z, const Offsets& offsets,
                               const Linear& layer, const Act& p, const PairGradients& to,
                               float* parts) {
  const Act& weight = layer.weight.act;
  if (offsets.heads != 1 || offsets.reduced != kReduced || dg.cols != kWidth ||
      !hopper::takes(gpu, dg, weight) || !is_vectored(z) || !is_vectored(p)) {
    return 0;
  }
  const int64_t clusters =
      std::clamp<int64_t>(gpu.multiprocessors() / kBlocks, 1, ceil_div(z.rows, kTokens));
  const Matrices matrices{hopper::tensor_map(weight, hopper::kSlab),
                          hopper::tensor_map(dg, kTokens),
                          data<const bf16>(z),
                          z.ld,
                          data<bf16>(p),
                          p.ld,
                          to,
                          parts};
  with_weights(offsets, [&](auto is_learned) {
    const auto kernel = product_backward_kernel<decltype(is_learned)::value>;
    hopper::allow_shared(kernel, kSharedBytes<Shared>, "plucker_backward product");
    launch(gpu, "plucker_backward product", kernel, dim3(kBlocks, static_cast<unsigned>(clusters)),
           kThreads, kSharedBytes<Shared>, offsets, matrices);
  });
  return clusters;
}

}  // namespace gf::cuda
