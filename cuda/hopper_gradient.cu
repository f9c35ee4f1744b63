#include <algorithm>

#include "hopper.h"
#include "hopper_gemm.cuh"

// At M = 4096 a gradient of 64 K to 256 K weights does 0.5 to 2 GFLOP over 4 to 10 MB of operands
// and has 2 to 8 tiles: too little to fill the chip, and all latency. So those of a sublayer are
// made by one launch, and every tile is cut along M over the blocks of a cluster, which add
// up their parts in a fixed order through each other's shared memory: no partial sum reaches device
// memory. A feed-forward part's two gradients are 32 tiles on 128 blocks, two a multiprocessor: 4.3
// GFLOP, 12 us of half the chip at 709 TFLOP/s of the whole. Measured on one H100 by cuBLASLt, one
// by one and with separate sums of columns: 30 us.

namespace gf::cuda::hopper {
namespace {

struct Gradient {
  float* dw;
  int64_t ld;
  int rows, cols;
  float* db;  // or null

  // Writes kCount columns, as a vector where that is aligned.
  template <class Vector, int kCount>
  __device__ void put(int row, int col, const float (&v)[kCount]) const {
    if (ld % kCount == 0 && row < rows && col + kCount <= cols &&
        reinterpret_cast<uintptr_t>(dw) % sizeof(Vector) == 0) {
      auto* to = reinterpret_cast<Vector*>(dw + row * ld + col);
      union {
        Vector vector;
        float values[kCount];
      } result;
#pragma unroll
      for (int i = 0; i < kCount; ++i) result.values[i] = v[i];
      *to = result.vector;
      return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (row >= rows || col + i >= cols) break;
      dw[row * ld + col + i] = v[i];
    }
  }
};

// Shared memory behind the barriers of the pipeline: a tile of ones, whose product with dy^T is the
// sums of dy's columns. Swizzling a tile of one value changes nothing.
template <class T>
inline constexpr uint32_t kOnesAt = (T::kStagesBytes + 2 * T::kStages * 8 + 127) / 128 * 128;
template <class T>
inline constexpr size_t kGradientBytes = 1024 + kOnesAt<T> + 1024;

// The sums of a block as its cluster reads them, in the place of the stages: rows of a few columns
// more than the tile's, so that the writes of a warp meet no bank twice, then the bias.
template <class T>
struct Parts {
  static constexpr int kPitch = T::kCols + 8;
  static constexpr uint32_t kBiasAt = T::kRows * kPitch * sizeof(float);
  static_assert(kBiasAt + T::kRows * sizeof(float) <= T::kStagesBytes);

  __device__ static void write(uint32_t base, const float (&d)[T::kCols / 2],
                               const float (&sums)[4]) {
    const int row = warpgroup() * 64 + row_of_thread(), quad = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = row + 8 * half;
#pragma unroll
      for (int j = 0; j < T::kCols / 8; ++j) {
        const uint32_t at = base + (i * kPitch + 8 * j + 2 * quad) * sizeof(float);
        asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(d[4 * j + 2 * half]),
                     "f"(d[4 * j + 2 * half + 1])
                     : "memory");
      }
      if (quad == 0) {
        asm volatile("st.shared.f32 [%0], %1;" ::"r"(base + kBiasAt +
                                                     i * static_cast<uint32_t>(sizeof(float))),
                     "f"(sums[2 * half])
                     : "memory");
      }
    }
  }

  // A block adds up its share of the rows, the first one that of the bias.
  template <int kSplit>
  __device__ static void add_up(uint32_t base, int row, int col, const Gradient& to) {
    constexpr int kRows = T::kRows / kSplit, kFours = T::kCols / 4;
    const int rank = static_cast<int>(blockIdx.z);
    for (int n = threadIdx.x; n < kRows * kFours; n += T::kThreads) {
      const int i = rank * kRows + n / kFours, j = n % kFours * 4;
      const uint32_t at = base + (i * kPitch + j) * sizeof(float);
      float4 parts[kSplit];
#pragma unroll
      for (int p = 0; p < kSplit; ++p) parts[p] = load_remote4(shared_of_block(at, p));
      float sum[4] = {};
#pragma unroll
      for (int p = 0; p < kSplit; ++p) {
        sum[0] += parts[p].x, sum[1] += parts[p].y, sum[2] += parts[p].z, sum[3] += parts[p].w;
      }
      to.put<float4>(row + i, col + j, sum);
    }
    if (rank != 0 || to.db == nullptr || col != 0) return;
    for (int i = threadIdx.x; i < T::kRows; i += T::kThreads) {
      float sum = 0;
#pragma unroll
      for (int p = 0; p < kSplit; ++p) {
        sum += load_remote(shared_of_block(base + kBiasAt + i * 4, p));
      }
      if (row + i < to.rows) to.db[row + i] = sum;
    }
  }
};

template <class T>
__device__ __forceinline__ void multiply(const Pipeline<T>& pipeline, int count, bool with_sums,
                                         float (&d)[T::kCols / 2], float (&sums)[4]) {
  if (!with_sums) {
    pipeline.multiply(count, d, [](uint32_t) {});
    return;
  }
  const uint64_t ones = descriptor<false>(pipeline.stages() + kOnesAt<T>);
  pipeline.multiply(count, d, [&](uint32_t a) {
#pragma unroll
    for (int i = 0; i < kSlab / 16; ++i) {
      Product<8, true, false>::add(sums, descriptor<true>(a) + i * kStep<true>, ones);
    }
  });
  pin(sums);
}

// Small enough to share a multiprocessor with a block of the products that run beside.
using Cut = Tile<128, 128, 3, 2, true, true>;

// Up to kMostGradients of them; first_tile[i] is the first of number i's among all tiles.
struct Group {
  CUtensorMap a[kMostGradients], b[kMostGradients];
  Gradient to[kMostGradients];
  int slabs[kMostGradients];
  int first_tile[kMostGradients + 1];
};

template <int kSplit>
__global__ void __launch_bounds__(Cut::kThreads, Cut::kBlocks) GF_CLUSTER(1, kSplit)
    gradients_kernel(const __grid_constant__ Group group) {
  if constexpr (kHopper) {
    using T = Cut;
    extern __shared__ uint8_t shared[];
    const Pipeline<T> pipeline(shared);
    if (threadIdx.x == 0) pipeline.init();
    if (threadIdx.x < 1024 / 16) {
      constexpr uint32_t kTwoOnes = 0x3F803F80u;
      asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(pipeline.stages() + kOnesAt<T> +
                                                                    threadIdx.x * 16),
                   "r"(kTwoOnes)
                   : "memory");
      fence_async_proxy();
    }
    __syncthreads();
    wait_for_inputs();
    int number = 0;
    while (static_cast<int>(blockIdx.x) >= group.first_tile[number + 1]) ++number;
    const Gradient& to = group.to[number];
    const int tile = static_cast<int>(blockIdx.x) - group.first_tile[number];
    const int tiles_across = (to.cols + T::kCols - 1) / T::kCols;
    const int row = tile / tiles_across * T::kRows, col = tile % tiles_across * T::kCols;
    const int rank = static_cast<int>(blockIdx.z), slabs = group.slabs[number];
    const int first = slabs * rank / kSplit, count = slabs * (rank + 1) / kSplit - first;
    if (warpgroup() == T::kGroups) {
      if (threadIdx.x == T::kProducts) {
        pipeline.load(group.a[number], group.b[number], row, col, first, count);
      }
    } else {
      float d[T::kCols / 2] = {}, sums[4] = {};
      multiply<T>(pipeline, count, to.db != nullptr && col == 0, d, sums);
      // The other warpgroup has read the stages too.
      asm volatile("bar.sync 1, %0;" ::"n"(T::kProducts) : "memory");
      Parts<T>::write(pipeline.stages(), d, sums);
    }
    __syncwarp();
    cluster_arrive();
    cluster_wait();
    Parts<T>::template add_up<kSplit>(pipeline.stages(), row, col, to);
    __syncwarp();
    cluster_arrive();  // nobody leaves while others read its shared memory
    cluster_wait();
  }
}

template <int kSplit>
void run(Gpu& gpu, int tiles, const Group& group) {
  const auto kernel = gradients_kernel<kSplit>;
  allow_shared(kernel, kGradientBytes<Cut>, "weight_gradients");
  launch(gpu, "weight_gradients", kernel, dim3(static_cast<unsigned>(tiles), 1, kSplit),
         Cut::kThreads, kGradientBytes<Cut>, group);
}

}  // namespace

void weight_gradients(Gpu& gpu, std::span<const WeightGradient> gradients) {
  Group group = {};
  int tiles = 0, number = 0;
  for (const WeightGradient& g : gradients) {
    group.a[number] = tensor_map(g.dy, kSlab);
    group.b[number] = tensor_map(g.x, kSlab);
    group.to[number] = {g.dw.data, g.dw.ld, static_cast<int>(g.dy.cols), static_cast<int>(g.x.cols),
                        g.db};
    group.slabs[number] = static_cast<int>(ceil_div(g.dy.rows, kSlab));
    tiles += static_cast<int>(ceil_div(g.dy.cols, Cut::kRows) * ceil_div(g.x.cols, Cut::kCols));
    group.first_tile[++number] = tiles;
  }
  // The blocks of a cluster share one of the chip's eight or so parts, and a cluster that waits for
  // room would double the time. Half the chip is enough: what runs beside has the other half.
  if (tiles <= 8) {
    run<8>(gpu, tiles, group);
  } else if (tiles <= 48) {
    run<4>(gpu, tiles, group);
  } else {
    run<2>(gpu, tiles, group);
  }
}

}  // namespace gf::cuda::hopper
