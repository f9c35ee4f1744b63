#pragma once

// How weighted products cut up their operands, and the instructions of those.

#include "hopper.h"
#include "hopper_gemm.cuh"

namespace gf::cuda::hopper::weighted {

inline constexpr int kRows = 128, kTile = 80, kStages = 4, kAhead = 2,
                     kSlabs = kWeightedWidth / kSlab;
inline constexpr int kThreads = kRows / 64 * kGroup;
inline constexpr int kScores = kTile / 2, kSums = kWeightedWidth / 2;  // accumulators of a thread
inline constexpr uint32_t kSlabA = kRows * 128, kSlabB = kTile * 128;
inline constexpr uint32_t kStageBytes = kSlabs * kSlabB, kStagesAt = kSlabs * kSlabA;
inline constexpr uint32_t kBarriersAt = kStagesAt + kStages * kStageBytes;
inline constexpr size_t kSharedBytes = 1024 + kBarriersAt + (2 * kStages + 3) * sizeof(uint64_t);

// ---- Products --------------------------------------------------------------------------------

#define GF_R16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define GF_R32 \
  GF_R16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define GF_R40 GF_R32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define GF_R48 \
  GF_R32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define GF_R64 \
  GF_R48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define GF_R80 \
  GF_R64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define GF_R96 \
  GF_R80 ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define GF_R112 \
  GF_R96        \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define GF_R128                                                                                  \
  GF_R112                                                                                        \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, " \
  "%127"
#define GF_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define GF_D16(i) GF_D4(i), GF_D4(i + 4), GF_D4(i + 8), GF_D4(i + 12)
#define GF_D48(i) GF_D16(i), GF_D16(i + 16), GF_D16(i + 32)

// d = or += a b^T with 16 values of k, both from shared memory.
template <bool kAdds>
__device__ __forceinline__ void multiply_scores(float (&d)[kScores], uint64_t a, uint64_t b) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %42, 0; "
      "wgmma.mma_async.sync.aligned.m64n80k16.f32.bf16.bf16 {" GF_R40
      "}, %40, %41, p, 1, 1, 0, 0; }"
      : GF_D16(0), GF_D16(16), GF_D4(32), GF_D4(36)
      : "l"(a), "l"(b), "n"(kAdds ? 1 : 0));
}
// d += weights b with 16 rows of b, the weights from registers.
__device__ __forceinline__ void multiply_weights(float (&d)[kSums], const uint32_t* w, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" GF_R128
               "}, {%128, %129, %130, %131}, %132, 1, 1, 1, 1;"
               : GF_D48(0), GF_D48(48), GF_D16(96), GF_D16(112)
               : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "l"(b));
}

#undef GF_D48
#undef GF_D16
#undef GF_D4
#undef GF_R128
#undef GF_R112
#undef GF_R96
#undef GF_R80
#undef GF_R64
#undef GF_R48
#undef GF_R40
#undef GF_R32
#undef GF_R16

// Rows of b as the inner dimension: 8 of them are 1024 bytes apart, blocks of 64 columns a slab.
__device__ __forceinline__ uint64_t rows_descriptor(uint32_t address) {
  return descriptor<false>(address) & ~(uint64_t{0x3FFF} << 16) | uint64_t{kSlabB >> 4} << 16;
}

}  // namespace gf::cuda::hopper::weighted
