#include "hopper.h"
#include "hopper_gemm.cuh"

// At M = 4096 a gradient of 64 K to 256 K weights does 0.5 to 2 GFLOP over 4 to 10 MB of operands:
// its few tiles are cut along M over the blocks of a cluster, which add up their parts in a fixed
// order through each other's shared memory, so that no partial sum reaches device memory. It runs
// beside the backward pass and takes multiprocessors from it, so that a gradient has tiles as large
// as they can be, which read the least from the L2 cache, on as few as half of them: [1024, 256] is
// 64 blocks, each 8 slabs of 48 KB, 0.6 us a slab by the tensor cores.

namespace gf::cuda::hopper {
namespace {

struct Gradient {
  float* dw;
  int64_t ld;
  int rows, cols;
  float* db;  // or null
  bool accumulate;

  // Adds or writes kCount columns, as a vector where that is aligned.
  template <class Vector, int kCount>
  __device__ void put(int row, int col, const float (&v)[kCount]) const {
    if (ld % kCount == 0 && row < rows && col + kCount <= cols &&
        reinterpret_cast<uintptr_t>(dw) % sizeof(Vector) == 0) {
      auto* to = reinterpret_cast<Vector*>(dw + row * ld + col);
      union {
        Vector vector;
        float values[kCount];
      } result;
      if (accumulate) result.vector = *to;
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        result.values[i] = accumulate ? result.values[i] + v[i] : v[i];
      }
      *to = result.vector;
      return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (row >= rows || col + i >= cols) break;
      float* to = dw + row * ld + col + i;
      *to = accumulate ? *to + v[i] : v[i];
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

// A whole result that no other block has a part in.
template <class T>
__device__ __forceinline__ void put_own(int row, int col, const float (&d)[T::kCols / 2],
                                        const float (&sums)[4], const Gradient& to) {
  const int quad = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int i = row + warpgroup() * 64 + row_of_thread() + 8 * half;
#pragma unroll
    for (int j = 0; j < T::kCols / 8; ++j) {
      const float pair[2] = {d[4 * j + 2 * half], d[4 * j + 2 * half + 1]};
      to.put<float2>(i, col + 8 * j + 2 * quad, pair);
    }
    if (to.db != nullptr && col == 0 && quad == 0 && i < to.rows) to.db[i] = sums[2 * half];
  }
}

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

template <class T, int kSplit>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) GF_CLUSTER(1, kSplit)
    gradient_kernel(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b,
                    int slabs, const Gradient to) {
  if constexpr (kHopper) {
    extern __shared__ uint8_t shared[];
    const Pipeline<T> pipeline(shared);
    if (threadIdx.x == 0) pipeline.init();
    if (threadIdx.x == T::kProducts) prefetch_map(a), prefetch_map(b);
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
    const int row = blockIdx.y * T::kRows, col = blockIdx.x * T::kCols;
    const int rank = static_cast<int>(blockIdx.z), first = slabs * rank / kSplit;
    const int count = slabs * (rank + 1) / kSplit - first;
    if (warpgroup() == T::kGroups) {
      if (threadIdx.x == T::kProducts) pipeline.load(a, b, row, col, first, count);
    } else {
      float d[T::kCols / 2] = {}, sums[4] = {};
      multiply<T>(pipeline, count, to.db != nullptr && col == 0, d, sums);
      if constexpr (kSplit == 1) {
        put_own<T>(row, col, d, sums, to);
      } else {
        // The other warpgroup has read the stages too.
        asm volatile("bar.sync 1, %0;" ::"n"(T::kProducts) : "memory");
        Parts<T>::write(pipeline.stages(), d, sums);
      }
    }
    if constexpr (kSplit > 1) {
      cluster_arrive();
      cluster_wait();
      Parts<T>::template add_up<kSplit>(pipeline.stages(), row, col, to);
      __syncwarp();
      cluster_arrive();  // nobody leaves while others read its shared memory
      cluster_wait();
    }
  }
}

template <class T, int kSplit>
void run(Gpu& gpu, const Act& dy, const Act& x, const Gradient& to) {
  const auto kernel = gradient_kernel<T, kSplit>;
  allow_shared(kernel, kGradientBytes<T>, "weight_gradient");
  const dim3 blocks(static_cast<unsigned>(ceil_div(to.cols, T::kCols)),
                    static_cast<unsigned>(ceil_div(to.rows, T::kRows)), kSplit);
  launch(gpu, "weight_gradient", kernel, blocks, T::kThreads, kGradientBytes<T>,
         tensor_map(dy, kSlab), tensor_map(x, kSlab), static_cast<int>(ceil_div(dy.rows, kSlab)),
         to);
}

}  // namespace

void weight_gradient(Gpu& gpu, const Act& dy, const Act& x, const Mat& dw, float* db,
                     bool accumulate) {
  const Gradient to = {dw.data, dw.ld,     static_cast<int>(dy.cols), static_cast<int>(x.cols),
                       db,      accumulate};
  const auto tiles = [&](int64_t rows, int64_t cols) {
    return ceil_div(to.rows, rows) * ceil_div(to.cols, cols);
  };
  // The blocks of a cluster share one of the chip's eight or so parts. Of 132 multiprocessors 96
  // surely take clusters of 8, and 112 those of 4; a cluster that waits for others would double the
  // time.
  using Wide = Tile<128, 256, 4, 1, true, true>;
  const int64_t wide = tiles(128, 256), blocks = gpu.multiprocessors();
  if (wide > blocks / 2) {
    run<Wide, 1>(gpu, dy, x, to);
  } else if (wide > 28) {
    run<Wide, 2>(gpu, dy, x, to);
  } else if (wide > 12) {
    run<Wide, 4>(gpu, dy, x, to);
  } else if (wide > 4 && to.cols > 128) {
    run<Wide, 8>(gpu, dy, x, to);
  } else if (tiles(128, 128) >= 4) {
    run<Tile<128, 128, 6, 1, true, true>, 8>(gpu, dy, x, to);
  } else {
    run<Tile<64, 64, 8, 1, true, true>, 8>(gpu, dy, x, to);
  }
}

}  // namespace gf::cuda::hopper
