#include <algorithm>

#include "wedge_tile.cuh"

namespace gf::cuda {
namespace {

using namespace wedge_tile;

// y = P w | Pᵀ u by row from dp = dg W, p, and the bias gradient's parts; dp never in memory.
//
// y is linear in dp, so that the coordinates are divided: a block keeps one half of the columns of
// W_plu (all D rows of it) and goes through tiles of 64 tokens, and the halves of y are added up by
// the kernel that reads them. Of a tile's dp [64, 248] each of the eight warps makes 32 columns, K
// = D; then each lane of a warp takes a token's share of 62 coordinates. At the study's shape (M =
// 4096, D = 256) 128 blocks read 16 MB of W_plu and 4.2 MB of dg out of the L2 cache, 3.6 µs at 5.5
// TB/s, do 1.04 GFLOP, and write p, 4.1 MB, and y, 2.1 MB. W_plu comes in four stages so that
// products begin with the first. At M = 32768 each block goes through eight tiles, some 4 µs each.

constexpr int kPitch = kHalf * kChunk;        // bytes of a row of W_plu, of p and of dp
constexpr int kMaxWidth = 256;                // D
constexpr int kShares = 4;                    // warps of a token
constexpr int kSumChunks = 2 * kReduced / 4;  // float4s of a token's row of y

// Where what lies in shared memory, by D.
struct Layout {
  int width;

  __host__ __device__ int left_pitch() const { return (width / kVector + 1) * kChunk; }
  __host__ __device__ int tile() const { return width * kPitch; }             // p, afterwards dp
  __host__ __device__ int left() const { return tile() + kTokens * kPitch; }  // dg
  // The sums of the four shares take the place of dp and dg.
  __host__ __device__ int tokens() const {
    const int end = left() + kTokens * left_pitch();
    const int sums = tile() + kShares * kTokens * kSumChunks * int{sizeof(float4)};
    return end > sums ? end : sums;
  }
  __host__ __device__ int bytes() const { return tokens() + int{sizeof(Tokens)}; }
};

struct Matrices {
  const bf16 *z, *dg, *weight;
  int64_t ldz, lddg, ldw;
  bf16* p;
  int64_t ldp;
  float* y;      // [2, M, 64]
  float* parts;  // [2 gridDim.y, D]
};

// dg of a tile, rows past the last one as the last one, and with the first tile W_plu: D / 4 of its
// rows a stage.
__device__ __forceinline__ void load_tile(char* shared, const Layout& layout, const Matrices& m,
                                          int first, int rows, bool is_first) {
  const int thread = static_cast<int>(threadIdx.x), chunks = layout.width / kVector;
  for (int i = thread; i < kTokens * chunks; i += kThreads) {
    const int token = i / chunks, chunk = i % chunks;
    copy_chunk(shared + layout.left() + token * layout.left_pitch() + chunk * kChunk,
               m.dg + min(first + token, rows - 1) * m.lddg + chunk * kVector);
  }
  const int stage_rows = layout.width / kStages;
#pragma unroll 1
  for (int stage = 0; stage < kStages; ++stage) {
    for (int i = thread; is_first && i < stage_rows * kWarp; i += kThreads) {
      const int row = stage * stage_rows + i / kWarp, chunk = i % kWarp;
      if (chunk < kHalf) {
        copy_chunk(shared + row * kPitch + chunk * kChunk,
                   m.weight + row * m.ldw + chunk * kVector);
      }
    }
    end_stage();
  }
}

// p of the tile from shared memory to memory.
__device__ __forceinline__ void write_wedges(const char* tile, const Matrices& m, int first,
                                             int rows) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int token = warp; token < kTokens && first + token < rows; token += kThreads / kWarp) {
    if (lane >= kHalf) continue;
    *reinterpret_cast<uint4*>(m.p + (first + token) * m.ldp + lane * kVector) =
        *reinterpret_cast<const uint4*>(tile + token * kPitch + lane * kChunk);
  }
}

// The columns of dg whose sums this block makes are the half of its own number; a thread adds up 32
// rows of one of them.
__device__ __forceinline__ float add_rows(const char* left, const Layout& layout,
                                          const Tokens& tokens) {
  const int thread = static_cast<int>(threadIdx.x), half = layout.width / 2;
  const int column = thread % (kMaxWidth / 2), begin = thread / (kMaxWidth / 2) * (kTokens / 2);
  if (column >= half) return 0;
  float sum = 0;
#pragma unroll 8
  for (int token = begin; token < begin + kTokens / 2; ++token) {
    const char* row = left + token * layout.left_pitch();
    const float value =
        to_float(reinterpret_cast<const bf16*>(row)[static_cast<int>(blockIdx.x) * half + column]);
    sum += tokens.is_valid[token] ? value : 0.0f;
  }
  return sum;
}

using Sums = float[kTokens / 16][4][4];  // 64 tokens x 32 columns of a warp

// Columns 32 warp to 32 warp + 31 of dp. Those of the last warp are eight fewer: what it reads in
// their place is the beginning of the next row, and its sums go nowhere.
__device__ __forceinline__ void multiply_stage(const char* shared, const Layout& layout, int stage,
                                               Sums& sums) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int steps = layout.width / kStages / 16;
  const uint32_t left =
      shared_address(shared) + layout.left() + lane % 16 * layout.left_pitch() + lane / 16 * kChunk;
  const uint32_t right =
      shared_address(shared) + lane % 16 * kPitch + (warp * 4 + lane / 16) * kChunk;
#pragma unroll 4
  for (int step = stage * steps; step < (stage + 1) * steps; ++step) {
    uint32_t b[2][4];
#pragma unroll
    for (int n = 0; n < 2; ++n) load_transposed(b[n], right + step * 16 * kPitch + n * 2 * kChunk);
#pragma unroll
    for (int i = 0; i < kTokens / 16; ++i) {
      uint32_t a[4];
      load_matrices(a, left + i * 16 * layout.left_pitch() + step * 2 * kChunk);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        multiply(sums[i][2 * n], a, b[n][0], b[n][1]);
        multiply(sums[i][2 * n + 1], a, b[n][2], b[n][3]);
      }
    }
  }
}

// dp as bf16 to the place of p.
__device__ __forceinline__ void keep_product(char* tile, const Sums& sums) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    if (warp * 4 + n >= kHalf) break;
    char* to =
        tile + lane / 4 * kPitch + (warp * 4 + n) * kChunk + lane % 4 * int{sizeof(uint32_t)};
#pragma unroll
    for (int i = 0; i < kTokens / 16; ++i) {
      *reinterpret_cast<uint32_t*>(to + i * 16 * kPitch) = pack2(sums[i][n][0], sums[i][n][1]);
      *reinterpret_cast<uint32_t*>(to + (i * 16 + 8) * kPitch) =
          pack2(sums[i][n][2], sums[i][n][3]);
    }
  }
}

// Chunk i of token t stands at i ^ t % 16 of its row: free of bank conflicts both for a warp of
// tokens, which writes, and for a row of chunks, which is read.
__device__ __forceinline__ int place_of(int share, int token, int chunk) {
  return (share * kTokens + token) * kSumChunks + (chunk ^ token % kSumChunks);
}

// This warp's share of y, then the sum of all shares to memory.
__device__ __forceinline__ void write_contracted(char* tile, const Tokens& tokens,
                                                 const Matrices& m, int first, int rows) {
  const int thread = static_cast<int>(threadIdx.x), share = thread / kWarp % kShares;
  const int own = thread / kWarp / kShares * kWarp + thread % kWarp;
  const int half = static_cast<int>(blockIdx.x);
  float du[kReduced] = {}, dw[kReduced] = {};
  with_eighth(half * kShares + share, [&](auto eighth) {
    contract_eighth<decltype(eighth)::value>(tokens.rows[own], tile + own * kPitch, half * kHalf,
                                             du, dw);
  });
  __syncthreads();
  float4* sums = reinterpret_cast<float4*>(tile);
#pragma unroll
  for (int i = 0; i < kReduced / 4; ++i) {
    sums[place_of(share, own, i)] = {du[4 * i], du[4 * i + 1], du[4 * i + 2], du[4 * i + 3]};
    sums[place_of(share, own, kReduced / 4 + i)] = {dw[4 * i], dw[4 * i + 1], dw[4 * i + 2],
                                                    dw[4 * i + 3]};
  }
  __syncthreads();
  float4* y = reinterpret_cast<float4*>(m.y + int64_t{half} * rows * 2 * kReduced);
  for (int i = thread; i < kTokens * kSumChunks; i += kThreads) {
    const int token = i / kSumChunks, chunk = i % kSumChunks;
    if (first + token >= rows) break;
    float4 sum = sums[place_of(0, token, chunk)];
#pragma unroll
    for (int k = 1; k < kShares; ++k) {
      const float4 x = sums[place_of(k, token, chunk)];
      sum = {sum.x + x.x, sum.y + x.y, sum.z + x.z, sum.w + x.w};
    }
    y[int64_t{first + token} * kSumChunks + chunk] = sum;
  }
}

// A tile up to its dp. Returns what add_rows does.
__device__ __forceinline__ float product_of_tile(char* shared, const Layout& layout,
                                                 const Offsets& offsets, const Matrices& m,
                                                 int first, Sums& sums) {
  const auto& tokens = *reinterpret_cast<const Tokens*>(shared + layout.tokens());
  char* tile = shared + layout.tile();
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int token = warp / kShares * kWarp + lane, half = static_cast<int>(blockIdx.x);
  with_eighth(half * kShares + warp % kShares, [&](auto eighth) {
    wedge_eighth<decltype(eighth)::value>(tokens.rows[token], tile + token * kPitch, half * kHalf);
  });
  wait_for_stages<3>();
  __syncthreads();
  write_wedges(tile, m, first, offsets.rows);
  const float bias = add_rows(shared + layout.left(), layout, tokens);
  multiply_stage(shared, layout, 0, sums);
  wait_for_stages<2>();
  __syncthreads();
  multiply_stage(shared, layout, 1, sums);
  wait_for_stages<1>();
  __syncthreads();
  multiply_stage(shared, layout, 2, sums);
  wait_for_stages<0>();
  __syncthreads();
  multiply_stage(shared, layout, 3, sums);
  return bias;
}

__global__ void __launch_bounds__(kThreads, 1)
    product_backward_kernel(const __grid_constant__ Offsets offsets,
                            const __grid_constant__ Matrices all, int width) {
  wait_for_inputs();
  extern __shared__ __align__(16) char shared[];
  const Layout layout{width};
  const int half = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  Matrices m = all;
  m.weight += half * kHalf * kVector;
  m.p += half * kHalf * kVector;
  auto& tokens = *reinterpret_cast<Tokens*>(shared + layout.tokens());
  char* tile = shared + layout.tile();

  const int begin = static_cast<int>(blockIdx.y) * kTokens;
  const int step = static_cast<int>(gridDim.y) * kTokens;
  float bias = 0;
  for (int first = begin; first < offsets.rows; first += step) {
    load_tile(shared, layout, m, first, offsets.rows, first == begin);
    look_back(m.z, m.ldz, offsets, first, tokens);
    __syncthreads();
    Sums sums = {};
    bias += product_of_tile(shared, layout, offsets, m, first, sums);
    keep_product(tile, sums);
    __syncthreads();
    write_contracted(tile, tokens, m, first, offsets.rows);
    __syncthreads();
  }
  const int column = thread % (kMaxWidth / 2), part = thread / (kMaxWidth / 2);
  if (column < width / 2) {
    all.parts[(static_cast<int>(blockIdx.y) * 2 + part) * width + half * (width / 2) + column] =
        bias;
  }
}

}  // namespace

int64_t wedge_product_backward(Gpu& gpu, const Act& dg, const Act& z, const Offsets& offsets,
                               const Linear& layer, const Act& p, float* y, float* parts) {
  const Layout layout{static_cast<int>(dg.cols)};
  if (z.element != sizeof(bf16) || z.cols != kReduced || dg.cols % 64 != 0 || dg.cols > kMaxWidth ||
      !is_vectored(z) || !is_vectored(dg) || !is_vectored(p) || !is_vectored(layer.weight.act) ||
      static_cast<size_t>(layout.bytes()) > gpu.properties().sharedMemPerBlockOptin) {
    return 0;
  }
  const Matrices matrices{data<const bf16>(z),
                          data<const bf16>(dg),
                          data<const bf16>(layer.weight.act),
                          z.ld,
                          dg.ld,
                          layer.weight.act.ld,
                          data<bf16>(p),
                          p.ld,
                          y,
                          parts};
  const int64_t blocks = std::clamp<int64_t>(
      gpu.multiprocessors() / 2, 1, std::min<int64_t>(ceil_div(z.rows, kTokens), kMaxParts / 2));
  check(cudaFuncSetAttribute(product_backward_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             layout.bytes()),
        "plucker_backward product");
  launch(gpu, "plucker_backward product", product_backward_kernel,
         dim3(2, static_cast<unsigned>(blocks)), kThreads, static_cast<size_t>(layout.bytes()),
         offsets, matrices, static_cast<int>(dg.cols));
  return 2 * blocks;
}

}  // namespace gf::cuda
