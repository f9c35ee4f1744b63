#pragma once

// One product kernel for Hopper. A block makes a tile of the result: one thread has the copy engine
// bring slabs of 64 values of k of both operands through a ring of stages in shared memory, each
// with a barrier that says it is full and one that says it has been read; every warpgroup
// multiplies 64 rows of the tile out of the stages and ends with the epilogue on its accumulators.

#include "hopper_ptx.cuh"
#include "kernel.cuh"

namespace gf::cuda::hopper {

// Whether this pass of the compiler is for sm_90a; in the others the kernels are empty.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool kHopper = true;
#else
inline constexpr bool kHopper = false;
#endif

inline constexpr int kGroup = 128;  // threads of a warpgroup

// How a product is cut up. A transposed operand is stored [k, rows or columns of the result], one
// that is not [rows or columns of the result, k]: the natural order of both operands of x weight^T.
template <int kRows_, int kCols_, int kStages_, int kBlocks_, bool kTransposedA_ = false,
          bool kTransposedB_ = false>
struct Tile {
  static constexpr int kRows = kRows_, kCols = kCols_, kStages = kStages_;
  static constexpr int kBlocks = kBlocks_;  // on a multiprocessor
  static constexpr bool kTransposedA = kTransposedA_, kTransposedB = kTransposedB_;
  static constexpr int kGroups = kRows / 64;
  static constexpr int kProducts = kGroups * kGroup;  // the threads from there on load
  static constexpr int kThreads = kProducts + kWarp;
  static constexpr uint32_t kBytesA = kRows * 128;
  static constexpr uint32_t kBytesB = (kTransposedB ? (kCols + 63) / 64 * 64 : kCols) * 128;
  static constexpr uint32_t kStageBytes = kBytesA + kBytesB;
  static constexpr uint32_t kStagedRowBytes = (kCols + 63) / 64 * 128;
  static constexpr uint32_t kStagesBytes = kStages * kStageBytes;
  static constexpr size_t kSharedBytes = 1024 + kStagesBytes + 2 * kStages * sizeof(uint64_t);
  static_assert(kRows % 64 == 0 && kCols % 8 == 0 && kStages >= 2);
  static_assert(kBlocks * (kSharedBytes + 1024) <= 228 * 1024);
};

// The tensor map of a matrix of which boxes of this size are loaded, 64 columns each.
CUtensorMap tensor_map(const Act& m, int box_rows);

// In a register that the compiler knows to be the same in all threads of a warp.
__device__ __forceinline__ int warpgroup() {
  return __shfl_sync(0xFFFFFFFFu, static_cast<int>(threadIdx.x) / kGroup, 0);
}

// Rows of a thread within the 64 of its warpgroup: this one and the one 8 below.
__device__ __forceinline__ int row_of_thread() {
  return static_cast<int>(threadIdx.x) % kGroup / kWarp * 16 +
         static_cast<int>(threadIdx.x) % 32 / 4;
}

// A slab of an operand, from row or column `at` of the result and value `k` on.
template <bool kTransposed, int kExtent>
__device__ __forceinline__ void load_slab(uint32_t to, const CUtensorMap& map, int at, int k,
                                          uint32_t barrier) {
  if constexpr (kTransposed) {
#pragma unroll
    for (int i = 0; i < (kExtent + 63) / 64; ++i) {
      load_tile(to + i * kBlockBytes, map, at + i * 64, k, barrier);
    }
  } else {
    load_tile(to, map, k, at, barrier);
  }
}

// d += the product of a slab, 64 values of k.
template <int kCols, bool kTransposedA, bool kTransposedB>
__device__ __forceinline__ void multiply_slab(uint32_t a, uint32_t b, float (&d)[kCols / 2]) {
  const uint64_t x = descriptor<kTransposedA>(a), y = descriptor<kTransposedB>(b);
#pragma unroll
  for (int i = 0; i < kSlab / 16; ++i) {
    Product<kCols, kTransposedA, kTransposedB>::add(d, x + i * kStep<kTransposedA>,
                                                    y + i * kStep<kTransposedB>);
  }
}

// By a warpgroup: adds the products of its 64 rows over the `count` slabs that a ring of stages
// brings. `also(a)`, with the address of its rows of a slab, begins other products of them; a stage
// that has been read and is to be filled again is given to `ring.release`.
template <class T, class Ring, class Also>
__device__ __forceinline__ void multiply_slabs(const Ring& ring, int count,
                                               float (&d)[T::kCols / 2], const Also& also) {
  const int group = warpgroup();
  int stage = 0, round = 0, last = 0;
  for (int i = 0; i < count; ++i) {
    wait(ring.full(stage), round & 1);
    const uint32_t a = ring.stage_a(stage) + group * kBlockBytes;
    pin(d);
    products_begin();
    multiply_slab<T::kCols, T::kTransposedA, T::kTransposedB>(a, ring.stage_b(stage), d);
    also(a);
    products_commit();
    products_wait<1>();  // the slab before this one has been read
    pin(d);
    if (i > 0 && i - 1 + T::kStages < count) ring.release(last);
    last = stage;
    if (++stage == T::kStages) stage = 0, ++round;
  }
  products_wait<0>();
  pin(d);
}

// The ring of stages of a block.
template <class T>
class Pipeline {
 public:
  __device__ explicit Pipeline(void* shared) : stages_((shared_address(shared) + 1023) & ~1023u) {}

  __device__ uint32_t stages() const { return stages_; }

  // By one thread, before a barrier of the block.
  __device__ void init() const {
    for (int i = 0; i < T::kStages; ++i) {
      barrier_init(full(i), 1);
      barrier_init(empty(i), T::kProducts / kWarp);
    }
    barrier_init_fence();
  }

  // By one thread: `count` slabs for the tile that begins at (row, col).
  __device__ void load(const CUtensorMap& a, const CUtensorMap& b, int row, int col,
                       int count) const {
    int stage = 0, round = 0;
    for (int i = 0; i < count; ++i) {
      if (round > 0) wait(empty(stage), (round - 1) & 1);
      arrive_expecting(full(stage), T::kStageBytes);
      const int k = i * kSlab;
      load_slab<T::kTransposedA, T::kRows>(stage_a(stage), a, row, k, full(stage));
      load_slab<T::kTransposedB, T::kCols>(stage_b(stage), b, col, k, full(stage));
      if (++stage == T::kStages) stage = 0, ++round;
    }
  }

  // For multiply_slabs.
  __device__ uint32_t stage_a(int i) const { return stages_ + i * T::kStageBytes; }
  __device__ uint32_t stage_b(int i) const { return stage_a(i) + T::kBytesA; }
  __device__ uint32_t full(int i) const { return stages_ + T::kStagesBytes + i * 8; }
  __device__ void release(int stage) const {
    if (threadIdx.x % kWarp == 0) arrive(empty(stage));
  }

 private:
  __device__ uint32_t empty(int i) const { return full(T::kStages + i); }

  uint32_t stages_;
};

// An epilogue has, for the thread's row and the tile's first column,
//   Early<kCols>: what a thread reads of memory before the product, so that its time is hidden;
//   before(row, col, d, early): sets the accumulators' first values and reads that;
//   after(row, col, d, early, stage): all the rest; where it is kStaged, with shared memory of the
//   warp's own for its 16 rows in bf16, rows of 128 bytes.
template <class T, class Epilogue>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    product_kernel(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b,
                   int slabs, const Epilogue epilogue) {
  if constexpr (kHopper) {
    extern __shared__ uint8_t shared[];
    const Pipeline<T> pipeline(shared);
    if (threadIdx.x == 0) pipeline.init();
    if (threadIdx.x == T::kProducts) prefetch_map(a), prefetch_map(b);
    __syncthreads();
    wait_for_inputs();
    const int row = blockIdx.y * T::kRows, col = blockIdx.x * T::kCols;
    if (warpgroup() == T::kGroups) {
      if (threadIdx.x == T::kProducts) pipeline.load(a, b, row, col, slabs);
      return;
    }
    const int own = row + warpgroup() * 64 + row_of_thread();
    float d[T::kCols / 2];
    typename Epilogue::template Early<T::kCols> early;
    epilogue.before(own, col, d, early);
    multiply_slabs<T>(pipeline, slabs, d, [](uint32_t) {});
    uint32_t stage = 0;
    if constexpr (Epilogue::kStaged) {
      static_assert(T::kRows * T::kStagedRowBytes <= T::kStagesBytes);
      // The other warpgroups have read the stages too.
      asm volatile("bar.sync 1, %0;" ::"n"(T::kProducts) : "memory");
      stage = pipeline.stages() + threadIdx.x / kWarp * 16 * T::kStagedRowBytes;
    }
    epilogue.after(own, col, d, early, stage);
  }
}

template <class Kernel>
void allow_shared(Kernel* kernel, size_t bytes, const char* what) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        what);
}

// The operands' boxes, and one block a tile of the result [rows, cols].
template <class T, class Epilogue>
void launch_product(Gpu& gpu, const char* what, const Act& a, const Act& b, int64_t rows,
                    int64_t cols, int64_t inner, const Epilogue& epilogue) {
  const auto kernel = product_kernel<T, Epilogue>;
  allow_shared(kernel, T::kSharedBytes, what);
  const dim3 blocks(static_cast<unsigned>(ceil_div(cols, T::kCols)),
                    static_cast<unsigned>(ceil_div(rows, T::kRows)));
  launch(gpu, what, kernel, blocks, T::kThreads, T::kSharedBytes,
         tensor_map(a, T::kTransposedA ? kSlab : T::kRows),
         tensor_map(b, T::kTransposedB ? kSlab : T::kCols),
         static_cast<int>(ceil_div(inner, kSlab)), epilogue);
}

}  // namespace gf::cuda::hopper
