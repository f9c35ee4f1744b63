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
constexpr int kShares = 4;                    // warps of a token
constexpr int kSumChunks = 2 * kReduced / 4;  // float4s of a token's row of y

// What lies in shared memory; kWidth is D. The sums of a tile's shares take the place of dp and dg.
template <int kWidth>
struct Shared {
  static constexpr int kLeftPitch = (kWidth / kVector + 1) * kChunk;

  char weight[kWidth * kPitch];
  union {
    struct {
      char tile[kTokens * kPitch];  // p, afterwards dp
      char left[kTokens * kLeftPitch];
    };
    float4 sums[kShares * kTokens * kSumChunks];
  };
  Tokens tokens;
};

struct Matrices {
  const bf16 *z, *dg, *weight;
  int64_t ldz, lddg, ldw;
  bf16* p;
  int64_t ldp;
  float* y;      // [2, M, 64]
  float* parts;  // [kParts gridDim.y, D]
};

// dg of a tile, rows past the last one as the last one, and with the first tile W_plu: D / 4 of its
// rows a stage.
template <int kWidth>
__device__ __forceinline__ void load_tile(Shared<kWidth>& shared, const Matrices& m, int first,
                                          int rows, bool is_first) {
  constexpr int kLeftChunks = kWidth / kVector, kStageRows = kWidth / kStages;
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < kTokens * kLeftChunks; i += kThreads) {
    const int token = i / kLeftChunks, chunk = i % kLeftChunks;
    copy_chunk(shared.left + token * shared.kLeftPitch + chunk * kChunk,
               m.dg + min(first + token, rows - 1) * m.lddg + chunk * kVector);
  }
  const int warp = thread / kWarp, chunk = thread % kWarp;
#pragma unroll 1
  for (int stage = 0; stage < kStages; ++stage) {
    if (is_first && chunk < kHalf) {
      const int64_t from = stage * kStageRows + warp;
#pragma unroll
      for (int i = 0; i < kStageRows; i += kThreads / kWarp) {
        copy_chunk(shared.weight + (from + i) * kPitch + chunk * kChunk,
                   m.weight + (from + i) * m.ldw + chunk * kVector);
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

// Of the column sums of dg a block makes the half of its own number, in as many parts as threads go
// round: a thread adds up the rows of its part in one column.
template <int kWidth>
constexpr int kParts = kThreads / (kWidth / 2);

template <int kWidth>
__device__ __forceinline__ int bias_column() {
  return static_cast<int>(blockIdx.x) * (kWidth / 2) + static_cast<int>(threadIdx.x) % (kWidth / 2);
}
template <int kWidth>
__device__ __forceinline__ int bias_part() {
  return static_cast<int>(threadIdx.x) / (kWidth / 2);
}

template <int kWidth>
__device__ __forceinline__ float add_rows(const Shared<kWidth>& shared) {
  constexpr int kRows = kTokens / kParts<kWidth>;
  const int column = bias_column<kWidth>(), begin = bias_part<kWidth>() * kRows;
  float sum = 0;
#pragma unroll 8
  for (int token = begin; token < begin + kRows; ++token) {
    const char* row = shared.left + token * shared.kLeftPitch;
    const float value = to_float(reinterpret_cast<const bf16*>(row)[column]);
    sum += shared.tokens.is_valid[token] ? value : 0.0f;
  }
  return sum;
}

using Sums = float[kTokens / 16][4][4];  // 64 tokens x 32 columns of a warp

// Columns 32 warp to 32 warp + 31 of dp. Those of the last warp are eight fewer: what it reads in
// their place is the beginning of the next row, and its sums go nowhere.
template <int kWidth>
__device__ __forceinline__ void multiply_stage(const Shared<kWidth>& shared, int stage,
                                               Sums& sums) {
  constexpr int kSteps = kWidth / kStages / 16;
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const uint32_t left =
      shared_address(shared.left) + lane % 16 * shared.kLeftPitch + lane / 16 * kChunk;
  const uint32_t right =
      shared_address(shared.weight) + lane % 16 * kPitch + (warp * 4 + lane / 16) * kChunk;
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    const int step = stage * kSteps + i;
    uint32_t b[2][4];
#pragma unroll
    for (int n = 0; n < 2; ++n) load_transposed(b[n], right + step * 16 * kPitch + n * 2 * kChunk);
#pragma unroll
    for (int m = 0; m < kTokens / 16; ++m) {
      uint32_t a[4];
      load_matrices(a, left + m * 16 * shared.kLeftPitch + step * 2 * kChunk);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        multiply(sums[m][2 * n], a, b[n][0], b[n][1]);
        multiply(sums[m][2 * n + 1], a, b[n][2], b[n][3]);
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
__device__ __forceinline__ void write_contracted(const char* tile, float4* sums,
                                                 const Tokens& tokens, const Matrices& m, int first,
                                                 int rows) {
  const int thread = static_cast<int>(threadIdx.x), share = thread / kWarp % kShares;
  const int own = thread / kWarp / kShares * kWarp + thread % kWarp;
  const int half = static_cast<int>(blockIdx.x);
  float du[kReduced] = {}, dw[kReduced] = {};
  with_eighth(half * kShares + share, [&](auto eighth) {
    contract_eighth<decltype(eighth)::value>(tokens.rows[own], tile + own * kPitch, half * kHalf,
                                             du, dw);
  });
  __syncthreads();
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
template <int kWidth>
__device__ __forceinline__ float product_of_tile(Shared<kWidth>& shared, const Offsets& offsets,
                                                 const Matrices& m, int first, Sums& sums) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int token = warp / kShares * kWarp + lane, half = static_cast<int>(blockIdx.x);
  with_eighth(half * kShares + warp % kShares, [&](auto eighth) {
    wedge_eighth<decltype(eighth)::value>(shared.tokens.rows[token], shared.tile + token * kPitch,
                                          half * kHalf);
  });
  wait_for_stages<3>();
  __syncthreads();
  write_wedges(shared.tile, m, first, offsets.rows);
  const float bias = add_rows(shared);
  multiply_stage(shared, 0, sums);
  wait_for_stages<2>();
  __syncthreads();
  multiply_stage(shared, 1, sums);
  wait_for_stages<1>();
  __syncthreads();
  multiply_stage(shared, 2, sums);
  wait_for_stages<0>();
  __syncthreads();
  multiply_stage(shared, 3, sums);
  return bias;
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads, 1)
    product_backward_kernel(const __grid_constant__ Offsets offsets,
                            const __grid_constant__ Matrices all) {
  wait_for_inputs();
  extern __shared__ __align__(16) char memory[];
  auto& shared = *reinterpret_cast<Shared<kWidth>*>(memory);
  Matrices m = all;
  m.weight += static_cast<int>(blockIdx.x) * kHalf * kVector;
  m.p += static_cast<int>(blockIdx.x) * kHalf * kVector;

  const int begin = static_cast<int>(blockIdx.y) * kTokens;
  const int step = static_cast<int>(gridDim.y) * kTokens;
  float bias = 0;
  for (int first = begin; first < offsets.rows; first += step) {
    load_tile(shared, m, first, offsets.rows, first == begin);
    look_back(m.z, m.ldz, offsets, first, shared.tokens);
    __syncthreads();
    Sums sums = {};
    bias += product_of_tile(shared, offsets, m, first, sums);
    keep_product(shared.tile, sums);
    __syncthreads();
    write_contracted(shared.tile, shared.sums, shared.tokens, m, first, offsets.rows);
    __syncthreads();
  }
  const int part = static_cast<int>(blockIdx.y) * kParts<kWidth> + bias_part<kWidth>();
  m.parts[part * kWidth + bias_column<kWidth>()] = bias;
}

// Returns the number of parts.
template <int kWidth>
int64_t launch_product(Gpu& gpu, const Offsets& offsets, const Matrices& matrices) {
  const int64_t blocks =
      std::clamp<int64_t>(std::min(gpu.multiprocessors() / 2, kMaxParts / kParts<kWidth>), 1,
                          ceil_div(offsets.rows, kTokens));
  check(cudaFuncSetAttribute(product_backward_kernel<kWidth>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                             int{sizeof(Shared<kWidth>)}),
        "plucker_backward product");
  launch(gpu, "plucker_backward product", product_backward_kernel<kWidth>,
         dim3(2, static_cast<unsigned>(blocks)), kThreads, sizeof(Shared<kWidth>), offsets,
         matrices);
  return blocks * kParts<kWidth>;
}

template <int kWidth>
bool fits(const Gpu& gpu, const Act& dg) {
  return dg.cols == kWidth && sizeof(Shared<kWidth>) <= gpu.properties().sharedMemPerBlockOptin;
}

}  // namespace

int64_t wedge_product_backward(Gpu& gpu, const Act& dg, const Act& z, const Offsets& offsets,
                               const Linear& layer, const Act& p, float* y, float* parts) {
  const Act& weight = layer.weight.act;
  if (z.element != sizeof(bf16) || z.cols != kReduced || !is_vectored(z) || !is_vectored(dg) ||
      !is_vectored(p) || !is_vectored(weight)) {
    return 0;
  }
  const Matrices matrices{data<const bf16>(z),
                          data<const bf16>(dg),
                          data<const bf16>(weight),
                          z.ld,
                          dg.ld,
                          weight.ld,
                          data<bf16>(p),
                          p.ld,
                          y,
                          parts};
  if (fits<256>(gpu, dg)) return launch_product<256>(gpu, offsets, matrices);
  if (fits<128>(gpu, dg)) return launch_product<128>(gpu, offsets, matrices);
  return 0;
}

}  // namespace gf::cuda
