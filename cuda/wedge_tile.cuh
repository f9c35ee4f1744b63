#pragma once

// What the two kernels share that put wedges on Hopper's tensor cores: bf16, one head, r = 32, 64
// tokens a tile, 16 warps.
//
// Coordinates are counted in slabs of 64, as products take them out of shared memory: a slab holds
// a row of 128 bytes of each token, eight chunks of eight coordinates, chunk c of token t at place
// c ^ t % 8, where neither a token's chunks nor a chunk of eight tokens meet a bank twice. The code
// of each slab is unrolled; a warp runs that of one slab at a time, and each of its lanes is a
// token, with its rows in registers.

#include "hopper_gemm.cuh"
#include "wedge.cuh"

namespace gf::cuda::wedge_tile {

using TokenRow = LaneRow<4>;

inline constexpr int kTokens = 64;
inline constexpr int kThreads = 512;
inline constexpr int kHalf = kTokens * TokenRow::kLanes;  // threads; the other half does otherwise
inline constexpr int kReduced = 32;
inline constexpr int kCoordinates = kReduced * (kReduced - 1) / 2;
inline constexpr int kChunks = kCoordinates / kVector;
inline constexpr int kSlabs = (kCoordinates + hopper::kSlab - 1) / hopper::kSlab;
inline constexpr int kRowFloats = 2 * kReduced + 4;  // u | w of a token, 17 times 16 bytes

static_assert(kChunks * kVector == kCoordinates && kHalf * 2 == kThreads);

using Slab = char[hopper::kBlockBytes];  // of 64 tokens

// Of the block. The compiler is not to know it, so that it keeps no places in registers from tile
// to tile: all of them are needed.
__device__ __forceinline__ int thread() {
  int number = static_cast<int>(threadIdx.x);
  asm volatile("" : "+r"(number));
  return number;
}
__device__ __forceinline__ int warp() {
  return thread() / kWarp;
}
__device__ __forceinline__ int lane() {
  return thread() % kWarp;
}
// The first half of the block's threads, two warpgroups, or the second.
__device__ __forceinline__ int half() {
  return hopper::warpgroup() / 2;
}
// By all threads of that half.
template <int kWhich>
__device__ __forceinline__ void wait_for_half() {
  asm volatile("bar.sync %0, %1;" ::"n"(1 + kWhich), "n"(kHalf) : "memory");
}

// Dynamic shared memory from its first multiple of 1024 bytes on.
template <class T>
__device__ __forceinline__ T& shared_memory() {
  extern __shared__ char memory[];
  return *reinterpret_cast<T*>(memory + (-hopper::shared_address(memory) & 1023u));
}
template <class T>
inline constexpr size_t kSharedBytes = 1024 + sizeof(T);

__device__ __forceinline__ char* place(char* slab, int token, int chunk) {
  return slab + token * 128 + ((chunk ^ token % 8) << 4);
}
__device__ __forceinline__ const char* place(const char* slab, int token, int chunk) {
  return slab + token * 128 + ((chunk ^ token % 8) << 4);
}

// ---- Tokens ----------------------------------------------------------------------------------

// u | w of the tile's tokens.
using Tokens = float[kTokens][kRowFloats];

// By half of the block's threads: tokens of the tile that begins with row `first`, those past the
// last row as that one.
template <bool kLearned>
__device__ __forceinline__ void look_back(const bf16* z, int64_t ld, const Offsets& offsets,
                                          int first, Tokens& tokens) {
  const int token = thread() % kHalf / TokenRow::kLanes;
  const Past<bf16> past(z, ld, offsets, min(first + token, offsets.rows - 1), 0);
  TokenRow u, w, e;
  look_back<1, kLearned>(past, offsets, u, w, e);
  u.store(tokens[token]);
  w.store(tokens[token] + kReduced);
}

// ---- Coordinates -----------------------------------------------------------------------------

constexpr int chunks_of(int slab) {
  return slab < kSlabs - 1 ? hopper::kSlab / kVector : kChunks % (hopper::kSlab / kVector);
}

// Calls body with the slab as a constant.
template <class Body>
__device__ __forceinline__ void with_slab(int slab, const Body& body) {
  static_assert(kSlabs == 8);
  switch (slab) {
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

// p of a token in one slab: u ∧ w.
template <int kSlab>
__device__ __forceinline__ void wedge_slab(const Tokens& tokens, int token, char* p) {
  float u[kReduced], w[kReduced];
  load_row(tokens[token], u);
  load_row(tokens[token] + kReduced, w);
  unrolled<chunks_of(kSlab)>([&](auto chunk) {
    constexpr int kFirst = kSlab * hopper::kSlab + decltype(chunk)::value * kVector;
    float v[kVector];
    wedge_chunk<kFirst>(u, w, v);
    store8(reinterpret_cast<bf16*>(place(p, token, chunk)), v);
  });
}

// y = P x of a token, as far as the coordinates of one slab of dp make it.
template <int kSlab>
__device__ __forceinline__ void contract_slab(const float* from, const char* dp, int token,
                                              float (&y)[kReduced]) {
  float x[kReduced];
  load_row(from, x);
  unrolled<chunks_of(kSlab)>([&](auto chunk) {
    constexpr int kFirst = kSlab * hopper::kSlab + decltype(chunk)::value * kVector;
    float v[kVector];
    load8(reinterpret_cast<const bf16*>(place(dp, token, chunk)), v);
    contract_chunk<kFirst>(v, x, y);
  });
}

}  // namespace gf::cuda::wedge_tile
