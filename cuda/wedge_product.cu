#include <algorithm>

#include "wedge_tile.cuh"

namespace gf::cuda {
namespace {

using namespace wedge_tile;

// g = p W^T + bias with p made in shared memory, never in memory.
//
// A block keeps kWidth rows of W_plu (128 of 256) and goes through tiles of 64 tokens: makes their
// wedges, multiplies them, and writes 64 x kWidth of g. Its eight warps are 2 x 2 parts of that
// tile in two halves of the coordinates, which halves what they read from shared memory; their sums
// meet at the end. At the study's shape (M = 4096, D = 256) 128 blocks read 16 MB of W_plu out of
// the L2 cache, 3 µs at 5.5 TB/s, and of memory 0.5 MB; they do 1.04 GFLOP and write 2.1 MB. W_plu
// comes in four stages so that products begin with the first. At M = 32768 each block goes through
// eight tiles, some 3 µs each.

constexpr int kPitch = (kChunks + 1) * kChunk;  // bytes of a row of W_plu and of p
constexpr int kSteps = kCoordinates / 16;       // of the product, of 16 coordinates each
constexpr int kStepsOfStage = 4;                // of each half of the coordinates
constexpr int kFirstHalf = kStages * kStepsOfStage;
static_assert(kSteps + 1 == 2 * kFirstHalf);

template <int kWidth>
struct Shared {
  char weight[kWidth * kPitch];
  char p[kTokens * kPitch];  // afterwards sums, and g on its way out
  Tokens tokens;
};

// Where this warp works: rows from 32 m, columns from n, in half k of the coordinates.
struct Place {
  int m, n, k, lane;
};

template <int kWidth>
__device__ __forceinline__ Place place() {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  return {warp % 2 * 32, warp / 2 % 2 * (kWidth / 2), warp / 4,
          static_cast<int>(threadIdx.x) % kWarp};
}

// Stage i: the chunks of its steps in both halves of the coordinates, eight each.
template <int kWidth>
__device__ __forceinline__ void load_weight(Shared<kWidth>& shared, const bf16* weight,
                                            int64_t ldw) {
  const int row = static_cast<int>(threadIdx.x) / 16, slot = static_cast<int>(threadIdx.x) % 16;
#pragma unroll 1
  for (int stage = 0; stage < kStages; ++stage) {
    const int chunk = stage * 8 + (slot < 8 ? slot : 2 * kFirstHalf + slot - 8);
    if (chunk < kChunks) {
      char* to = shared.weight + row * kPitch + chunk * kChunk;
      const bf16* from = weight + row * ldw + chunk * kVector;
#pragma unroll
      for (int i = 0; i < kWidth; i += kThreads / 16) copy_chunk(to + i * kPitch, from + i * ldw);
    }
    end_stage();
  }
}

template <int kWidth>
using Sums = float[2][kWidth / 16][4];  // 32 rows x kWidth / 2 columns of a warp

template <int kWidth>
__device__ __forceinline__ void multiply_step(const Shared<kWidth>& shared, const Place& at,
                                              int step, Sums<kWidth>& sums) {
  const int left_row = at.lane % 16, left_chunk = at.lane / 16;
  const int right_row = at.lane % 8 + at.lane / 16 * 8, right_chunk = at.lane / 8 % 2;
  const uint32_t p =
      shared_address(shared.p) + (at.m + left_row) * kPitch + (2 * step + left_chunk) * kChunk;
  const uint32_t weight = shared_address(shared.weight) + (at.n + right_row) * kPitch +
                          (2 * step + right_chunk) * kChunk;
  uint32_t a[2][4];
#pragma unroll
  for (int m = 0; m < 2; ++m) load_matrices(a[m], p + m * 16 * kPitch);
#pragma unroll
  for (int n = 0; n < kWidth / 32; ++n) {
    uint32_t b[4];
    load_matrices(b, weight + n * 16 * kPitch);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      multiply(sums[m][2 * n], a[m], b[0], b[1]);
      multiply(sums[m][2 * n + 1], a[m], b[2], b[3]);
    }
  }
}

template <int kWidth>
__device__ __forceinline__ void multiply_stage(const Shared<kWidth>& shared, const Place& at,
                                               int stage, Sums<kWidth>& sums) {
#pragma unroll
  for (int i = 0; i < kStepsOfStage; ++i) {
    const int step = stage * kStepsOfStage + i;
    // The second half is one step shorter. Elsewhere nothing branches: steps are to overlap.
    if (step + 1 == kFirstHalf && at.k == 1) break;
    multiply_step(shared, at, at.k * kFirstHalf + step, sums);
  }
}

template <int kWidth>
__device__ __forceinline__ void multiply_tile(const Shared<kWidth>& shared, const Place& at,
                                              Sums<kWidth>& sums) {
  wait_for_stages<3>();
  __syncthreads();
  multiply_stage(shared, at, 0, sums);
  wait_for_stages<2>();
  __syncthreads();
  multiply_stage(shared, at, 1, sums);
  wait_for_stages<1>();
  __syncthreads();
  multiply_stage(shared, at, 2, sums);
  wait_for_stages<0>();
  __syncthreads();
  multiply_stage(shared, at, 3, sums);
}

// The two warps of a part each end 16 of its 32 rows: a warp gives the other its sums of the other
// rows. What they end goes to the staging rows of g, from where it leaves a whole row at a time.
template <int kWidth>
__device__ __forceinline__ void write_tile(Shared<kWidth>& shared, const Place& at,
                                           const Sums<kWidth>& sums, const float* bias, int first,
                                           int rows, bf16* g, int64_t ldg) {
  constexpr int kTiles = kWidth / 16;                                 // of 8 columns, of a warp
  constexpr int kExchange = kThreads * kTiles * int{sizeof(float4)};  // bytes
  constexpr int kStagePitch = kWidth * int{sizeof(bf16)} + kChunk;
  static_assert(kExchange + kTokens * kStagePitch <= kTokens * kPitch);
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x), partner = thread ^ (kThreads / 2);
  float4* exchange = reinterpret_cast<float4*>(shared.p);
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    // By selection, not by index: sums stay in registers.
    const float4 low = {sums[0][n][0], sums[0][n][1], sums[0][n][2], sums[0][n][3]};
    const float4 high = {sums[1][n][0], sums[1][n][1], sums[1][n][2], sums[1][n][3]};
    exchange[n * kThreads + thread] = at.k == 0 ? high : low;
  }
  __syncthreads();
  char* stage = shared.p + kExchange;
  const int row = at.m + at.k * 16 + at.lane / 4, column = at.n + at.lane % 4 * 2;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const float4 other = exchange[n * kThreads + partner];
    const float2 b = {bias[column + n * 8], bias[column + n * 8 + 1]};
    float own[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) own[i] = at.k == 0 ? sums[0][n][i] : sums[1][n][i];
    char* to = stage + row * kStagePitch + (column + n * 8) * int{sizeof(bf16)};
    *reinterpret_cast<uint32_t*>(to) = pack2(own[0] + other.x + b.x, own[1] + other.y + b.y);
    *reinterpret_cast<uint32_t*>(to + 8 * kStagePitch) =
        pack2(own[2] + other.z + b.x, own[3] + other.w + b.y);
  }
  __syncthreads();
  for (int i = thread; i < kTokens * kWidth / kVector; i += kThreads) {
    const int token = i / (kWidth / kVector), chunk = i % (kWidth / kVector);
    if (first + token >= rows) break;
    uint4 value = *reinterpret_cast<const uint4*>(stage + token * kStagePitch + chunk * kChunk);
    if (!shared.tokens.is_valid[token]) value = make_uint4(0, 0, 0, 0);
    *reinterpret_cast<uint4*>(g + (first + token) * ldg + chunk * kVector) = value;
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads, 1)
    product_kernel(const bf16* z, int64_t ldz, const __grid_constant__ Offsets offsets,
                   const bf16* weight, int64_t ldw, const float* bias, bf16* g, int64_t ldg) {
  wait_for_inputs();
  extern __shared__ __align__(16) char memory[];
  auto& shared = *reinterpret_cast<Shared<kWidth>*>(memory);
  const Place at = place<kWidth>();
  const int column = static_cast<int>(blockIdx.x) * kWidth;
  load_weight(shared, weight + column * ldw, ldw);
  const int step = static_cast<int>(gridDim.y) * kTokens;
  for (int first = static_cast<int>(blockIdx.y) * kTokens; first < offsets.rows; first += step) {
    look_back(z, ldz, offsets, first, shared.tokens);
    __syncthreads();
    const int warp = static_cast<int>(threadIdx.x) / kWarp, token = warp / 4 * kWarp + at.lane;
#pragma unroll 1
    for (int i = 0; i < 2; ++i) {
      with_eighth(warp % 4 * 2 + i, [&](auto eighth) {
        wedge_eighth<decltype(eighth)::value>(shared.tokens.rows[token], shared.p + token * kPitch,
                                              0);
      });
    }
    Sums<kWidth> sums = {};
    multiply_tile(shared, at, sums);
    write_tile(shared, at, sums, bias + column, first, offsets.rows, g + column, ldg);
    __syncthreads();
  }
}

template <int kWidth>
void launch_product(Gpu& gpu, const Act& z, const Offsets& offsets, const Linear& layer,
                    const Act& g) {
  const int64_t columns = g.cols / kWidth;
  const int64_t blocks =
      std::clamp<int64_t>(gpu.multiprocessors() / columns, 1, ceil_div(z.rows, kTokens));
  check(cudaFuncSetAttribute(product_kernel<kWidth>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             int{sizeof(Shared<kWidth>)}),
        "plucker product");
  launch(gpu, "plucker product", product_kernel<kWidth>,
         dim3(static_cast<unsigned>(columns), static_cast<unsigned>(blocks)), kThreads,
         sizeof(Shared<kWidth>), data<const bf16>(z), z.ld, offsets,
         data<const bf16>(layer.weight.act), layer.weight.act.ld, layer.bias.value.data,
         data<bf16>(g), g.ld);
}

template <int kWidth>
bool fits(const Gpu& gpu, const Act& g) {
  return g.cols % kWidth == 0 && sizeof(Shared<kWidth>) <= gpu.properties().sharedMemPerBlockOptin;
}

}  // namespace

bool wedge_product(Gpu& gpu, const Act& z, const Offsets& offsets, const Linear& layer,
                   const Act& g) {
  if (z.element != sizeof(bf16) || z.cols != kReduced || !is_vectored(z) || !is_vectored(g) ||
      !is_vectored(layer.weight.act)) {
    return false;
  }
  if (fits<128>(gpu, g)) {
    launch_product<128>(gpu, z, offsets, layer, g);
  } else if (fits<64>(gpu, g)) {
    launch_product<64>(gpu, z, offsets, layer, g);
  } else {
    return false;
  }
  return true;
}

}  // namespace gf::cuda
