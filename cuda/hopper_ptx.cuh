#pragma once

// The instructions of sm_90a that products are made of, one function each: barriers in shared
// memory, copies of tiles by the tensor memory accelerator, products of a warpgroup. PTX ISA,
// chapters "mbarrier", "cp.async.bulk.tensor" and "wgmma".

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace gf::cuda::hopper {

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// ---- Barriers --------------------------------------------------------------------------------
// A phase of a barrier ends when its arrivals and the bytes it expects have come. Phases are
// numbered from 0; who waits for one names the last bit of its number.

__device__ __forceinline__ void barrier_init(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes initialised barriers visible to the copy engine; __syncthreads() then to other threads.
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ bool try_wait(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; "
      "selp.u32 %0, 1, 0, p; }"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}
// Every wait is bounded: a mistake ends the kernel with an error and does not stop the GPU.
__device__ __forceinline__ void wait(uint32_t barrier, uint32_t parity) {
  constexpr int kTries = 1 << 20;  // of up to some microseconds each
  for (int i = 0; !try_wait(barrier, parity); ++i) {
    if (i == kTries) __trap();
  }
}

// ---- Tiles from global memory ----------------------------------------------------------------

// Copies the box of the map that begins at (column, row); what lies outside the matrix comes as
// zeros, and its bytes count too.
__device__ __forceinline__ void load_tile(uint32_t to, const CUtensorMap& map, int column, int row,
                                          uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4}], [%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(column), "r"(row)
      : "memory");
}
__device__ __forceinline__ void prefetch_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
// Between ordinary writes of shared memory and their reading by copies or products; a barrier of
// the threads has to follow.
__device__ __forceinline__ void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Stores four 8 x 8 matrices of 2-byte elements: thread t's word i holds elements 2 (t % 4) and the
// next of row t / 4 of matrix i; row r of matrix i goes to the address that thread 8 i + r gives.
__device__ __forceinline__ void store_matrices(uint32_t at, const uint32_t (&w)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at),
               "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3])
               : "memory");
}
__device__ __forceinline__ uint4 load_shared4(uint32_t at) {
  uint4 v;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(at)
               : "memory");
  return v;
}

// ---- Clusters --------------------------------------------------------------------------------

__device__ __forceinline__ void cluster_arrive() {
  __syncwarp();  // by whole warps
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// The address of the same place in the shared memory of another block of the cluster.
__device__ __forceinline__ uint32_t shared_of_block(uint32_t address, uint32_t rank) {
  uint32_t there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
  return there;
}
__device__ __forceinline__ float4 load_remote4(uint32_t address) {
  float4 v;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(address)
               : "memory");
  return v;
}
__device__ __forceinline__ float load_remote(uint32_t address) {
  float v;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(address) : "memory");
  return v;
}

// ---- Products of a warpgroup -----------------------------------------------------------------
// Operands lie in shared memory as the copy engine leaves boxes of 128-byte rows with the 128-byte
// swizzle: 16-byte piece p of row i at piece p ^ (i % 8), the pattern starting on 1024 bytes.

inline constexpr int kSlab = 64;                      // elements of a 128-byte row
inline constexpr uint32_t kBlockBytes = kSlab * 128;  // 64 such rows

// Rows of k: row i of the tile holds 64 values of k. Groups of 8 rows are 1024 bytes apart; the
// leading offset is not used. 16 values of k further on: 32 bytes.
// Rows of m or n: row i of a block holds the values of 64 rows (or columns) of the tile for one k.
// Groups of 8 values of k are 1024 bytes apart (the stride offset), blocks of 64 rows (columns) of
// the tile kBlockBytes (the leading offset). 16 values of k further on: 2048 bytes.
template <bool kTransposed>
__device__ __forceinline__ uint64_t descriptor(uint32_t address) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62, kStride = uint64_t{1024 >> 4} << 32;
  constexpr uint64_t kLeading = uint64_t{kTransposed ? kBlockBytes >> 4 : 1} << 16;
  return kSwizzle128 | kStride | kLeading | ((address & 0x3FFFFu) >> 4);
}
template <bool kTransposed>
inline constexpr uint64_t kStep = (kTransposed ? 2048 : 32) >> 4;  // 16 values of k, encoded

// Before the first product that uses accumulators that other instructions wrote.
__device__ __forceinline__ void products_begin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps the compiler from moving uses of accumulators over the waits, which it cannot connect.
template <int kCount>
__device__ __forceinline__ void pin(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// d += a b for a tile [64, kN] with 16 values of k. Element d[4 j + 2 h + b] of a thread is row
// 16 warp + lane / 4 + 8 h, column 8 j + 2 (lane % 4) + b.
template <int kN, bool kTransposedA, bool kTransposedB>
struct Product;

#define GF_R4 "%0, %1, %2, %3"
#define GF_R16 \
  GF_R4        \
  ", %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define GF_R32 \
  GF_R16       \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define GF_R64                                                                       \
  GF_R32                                                                             \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define GF_R96                                                                       \
  GF_R64                                                                             \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define GF_R116                                                                                  \
  GF_R96                                                                                         \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115"
#define GF_R128 \
  GF_R116       \
  ", %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define GF_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define GF_D16(i) GF_D4(i), GF_D4(i + 4), GF_D4(i + 8), GF_D4(i + 12)
#define GF_D32(i) GF_D16(i), GF_D16(i + 16)
#define GF_D64(i) GF_D32(i), GF_D32(i + 32)

// a, b, ta, tb: the numbers of the operands behind the accumulators.
#define GF_PRODUCT(n, registers, a, b, ta, tb, ...)                                         \
  template <bool kTransposedA, bool kTransposedB>                                           \
  struct Product<n, kTransposedA, kTransposedB> {                                           \
    static __device__ __forceinline__ void add(float (&d)[n / 2], uint64_t x, uint64_t y) { \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" registers   \
                   "}, %" #a ", %" #b ", 1, 1, 1, %" #ta ", %" #tb ";"                      \
                   : __VA_ARGS__                                                            \
                   : "l"(x), "l"(y), "n"(kTransposedA ? 1 : 0), "n"(kTransposedB ? 1 : 0)); \
    }                                                                                       \
  }

GF_PRODUCT(8, GF_R4, 4, 5, 6, 7, GF_D4(0));
GF_PRODUCT(32, GF_R16, 16, 17, 18, 19, GF_D16(0));
GF_PRODUCT(64, GF_R32, 32, 33, 34, 35, GF_D32(0));
GF_PRODUCT(128, GF_R64, 64, 65, 66, 67, GF_D64(0));
GF_PRODUCT(192, GF_R96, 96, 97, 98, 99, GF_D64(0), GF_D32(64));
GF_PRODUCT(232, GF_R116, 116, 117, 118, 119, GF_D64(0), GF_D32(64), GF_D16(96), GF_D4(112));
GF_PRODUCT(256, GF_R128, 128, 129, 130, 131, GF_D64(0), GF_D64(64));

// d = a b for a tile [64, 64] with 16 values of k.
__device__ __forceinline__ void set_product(float (&d)[32], uint64_t a, uint64_t b) {
  asm volatile("{ .reg .pred p; setp.ne.b32 p, 0, 0; "
               "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" GF_R32
               "}, %32, %33, p, 1, 1, 0, 0; }"
               : GF_D32(0)
               : "l"(a), "l"(b));
}
// d += w b for a tile [64, 64] with 16 values of k: w from registers, as packed accumulators have
// them, b with rows of k.
__device__ __forceinline__ void add_from_registers(float (&d)[32], const uint32_t* w, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" GF_R32
               "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
               : GF_D32(0)
               : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "l"(b));
}

#undef GF_PRODUCT
#undef GF_D64
#undef GF_D32
#undef GF_D16
#undef GF_D4
#undef GF_R128
#undef GF_R116
#undef GF_R96
#undef GF_R64
#undef GF_R32
#undef GF_R16
#undef GF_R4

}  // namespace gf::cuda::hopper
