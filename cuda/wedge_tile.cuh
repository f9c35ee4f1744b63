#pragma once

// What the two kernels share that put wedges on tensor cores: bf16, r = 32, 64 tokens a tile.
//
// Coordinates are counted in chunks of eight, the 16 bytes that ldmatrix, cp.async and a thread
// move at a time; rows of a tile are an odd number of chunks apart, so that eight rows of one chunk
// lie in different banks. A coordinate's (i, j) is irregular; here it is a constant: the code of
// each eighth of the coordinates is unrolled, a warp runs one eighth, and each of its lanes is a
// token, with u and w in registers.

#include <utility>

#include "wedge.cuh"

namespace gf::cuda::wedge_tile {

inline constexpr int kTokens = 64;
inline constexpr int kThreads = 256;  // four lanes a token, or one and four shares of coordinates
inline constexpr int kReduced = 32;
inline constexpr int kCoordinates = kReduced * (kReduced - 1) / 2;
inline constexpr int kChunk = 16;  // bytes
inline constexpr int kChunks = kCoordinates / kVector;
inline constexpr int kHalf = kChunks / 2;            // chunks
inline constexpr int kStages = 4;                    // of the arrival of W_plu
inline constexpr int kRowFloats = 2 * kReduced + 4;  // u | w of a token, 17 chunks

static_assert(kChunks * kVector == kCoordinates && kHalf * 2 == kChunks && kHalf % 2 == 1);

// ---- Instructions ----------------------------------------------------------------------------

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

__device__ __forceinline__ void copy_chunk(void* to_shared, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to_shared)),
               "l"(from)
               : "memory");
}
__device__ __forceinline__ void end_stage() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// All stages that this thread has ended but the last `kPending`.
template <int kPending>
__device__ __forceinline__ void wait_for_stages() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Four 8 x 8 matrices; lane i points at row i % 8 of matrix i / 8.
__device__ __forceinline__ void load_matrices(uint32_t (&m)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(row)
               : "memory");
}
__device__ __forceinline__ void load_transposed(uint32_t (&m)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(row)
               : "memory");
}

// c += a b; a 16 x 16, b 16 x 8, c 16 x 8.
__device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ---- Tokens ----------------------------------------------------------------------------------

// u | w of the tile's tokens, and which of them have a valid offset.
struct alignas(16) Tokens {
  float rows[kTokens][kRowFloats];
  int32_t is_valid[kTokens];
};

__device__ __forceinline__ void look_back(const bf16* z, int64_t ld, const Offsets& offsets,
                                          int first, Tokens& tokens) {
  const int token = static_cast<int>(threadIdx.x) / LaneRow::kLanes, row = first + token;
  LaneRow u, w, e;
  const int n = look_back(z, ld, offsets, min(row, offsets.rows - 1), u, w, e);
  u.store(tokens.rows[token]);
  w.store(tokens.rows[token] + kReduced);
  if (LaneRow::lane() == 0) tokens.is_valid[token] = n > 0 && row < offsets.rows;
}

// ---- Coordinates -----------------------------------------------------------------------------

// The i of coordinate q, and from it the j, in row-major order of i < j.
constexpr int i_of(int q) {
  int i = 0;
  for (int length = kReduced - 1; q >= length; --length) q -= length, ++i;
  return i;
}
constexpr int j_of(int q) {
  int i = 0;
  for (int length = kReduced - 1; q >= length; --length) q -= length, ++i;
  return i + 1 + q;
}

// Chunks of the eighths of the coordinates: four of each half, 8, 8, 8 and 7 long.
constexpr int first_chunk(int eighth) {
  return eighth / 4 * kHalf + eighth % 4 * 8;
}
constexpr int chunks_of(int eighth) {
  return eighth % 4 == 3 ? 7 : 8;
}

// Calls body with std::integral_constant of each number below kCount.
template <int kCount, class Body>
__device__ __forceinline__ void unrolled(const Body& body) {
  [&]<int... kI>(std::integer_sequence<int, kI...>) {
    (body(std::integral_constant<int, kI>()), ...);
  }
  (std::make_integer_sequence<int, kCount>());
}

// Calls body with the eighth as a constant.
template <class Body>
__device__ __forceinline__ void with_eighth(int eighth, const Body& body) {
  switch (eighth) {
    case 0:
      return body(std::integral_constant<int, 0>());
    case 1:
      return body(std::integral_constant<int, 1>());
    case 2:
      return body(std::integral_constant<int, 2>());
    case 3:
      return body(std::integral_constant<int, 3>());
    case 4:
      return body(std::integral_constant<int, 4>());
    case 5:
      return body(std::integral_constant<int, 5>());
    case 6:
      return body(std::integral_constant<int, 6>());
    default:
      return body(std::integral_constant<int, 7>());
  }
}

__device__ __forceinline__ void load_token(const float* row, float (&u)[kReduced],
                                           float (&w)[kReduced]) {
#pragma unroll
  for (int i = 0; i < kReduced; i += 4) {
    const float4 a = *reinterpret_cast<const float4*>(row + i);
    const float4 b = *reinterpret_cast<const float4*>(row + kReduced + i);
    u[i] = a.x, u[i + 1] = a.y, u[i + 2] = a.z, u[i + 3] = a.w;
    w[i] = b.x, w[i + 1] = b.y, w[i + 2] = b.z, w[i + 3] = b.w;
  }
}

// A token's coordinates of an eighth to its row of p, which begins with the chunk `begin`.
template <int kEighth>
__device__ __forceinline__ void wedge_eighth(const float* token, char* p, int begin) {
  float u[kReduced], w[kReduced];
  load_token(token, u, w);
  unrolled<chunks_of(kEighth)>([&](auto chunk) {
    constexpr int kPlace = first_chunk(kEighth) + decltype(chunk)::value;
    float v[kVector];
    unrolled<kVector>([&](auto k) {
      constexpr int kQ = kPlace * kVector + decltype(k)::value, kI = i_of(kQ), kJ = j_of(kQ);
      v[decltype(k)::value] = fmaf(u[kI], w[kJ], -u[kJ] * w[kI]);
    });
    store8(reinterpret_cast<bf16*>(p + (kPlace - begin) * kChunk), v);
  });
}

// What the coordinates of an eighth add to P w and Pᵀ u.
template <int kEighth>
__device__ __forceinline__ void contract_eighth(const float* token, const char* dp, int begin,
                                                float (&du)[kReduced], float (&dw)[kReduced]) {
  float u[kReduced], w[kReduced];
  load_token(token, u, w);
  unrolled<chunks_of(kEighth)>([&](auto chunk) {
    constexpr int kPlace = first_chunk(kEighth) + decltype(chunk)::value;
    float v[kVector];
    load8(reinterpret_cast<const bf16*>(dp + (kPlace - begin) * kChunk), v);
    unrolled<kVector>([&](auto k) {
      constexpr int kQ = kPlace * kVector + decltype(k)::value, kI = i_of(kQ), kJ = j_of(kQ);
      const float x = v[decltype(k)::value];
      du[kI] = fmaf(x, w[kJ], du[kI]);
      du[kJ] = fmaf(-x, w[kI], du[kJ]);
      dw[kI] = fmaf(-x, u[kJ], dw[kI]);
      dw[kJ] = fmaf(x, u[kI], dw[kJ]);
    });
  });
}

}  // namespace gf::cuda::wedge_tile
