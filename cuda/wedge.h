#pragma once

// Wedges of the tokens of a batch on a GPU: what plucker.cu is composed of. Names and formulas are
// those of src/cpu/plucker.cc: token u looks back at v, of which it sees the residual e = v - a u;
// p = u ∧ w with w = Σ c e over its valid offsets.
//
// Each head of a token does so by itself. Here a row is one of them, its r coordinates: row m of
// the M H is head m % H of token m / H.

#include "gpu.h"
#include "ops.h"

namespace gf::cuda {

inline constexpr int kMaxWindows = 64;

// The offsets of a layer, ascending, and the shape they meet: a parameter of kernels.
struct Offsets {
  int32_t rows;     // M H
  int32_t length;   // T
  int32_t heads;    // H
  int32_t reduced;  // r
  int32_t count;
  int32_t at[kMaxWindows];
  uint8_t listed[kMaxWindows];  // where it stands among the layer's
  const float* weight;          // [H, count] in the layer's order; null: their mean

  Offsets(const Act& z, int64_t sequence_length, const Windows& windows);

#if defined(__CUDACC__)
  __device__ __forceinline__ int position(int token) const {
    return token % length;
  }
  // Those valid at a position are the first so many; in most rows all of them.
  __device__ __forceinline__ int valid(int position) const {
    int n = count;
    while (n > 0 && at[n - 1] > position) --n;
    return n;
  }
  __device__ __forceinline__ bool has_past(int position) const {
    return count > 0 && at[0] <= position;
  }
#endif
};

// p = u ∧ w; p [M, H r (r - 1) / 2].
void wedge(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& p);

// What rows receive through their pairs: du [M H, r] as u; dv [count, M H, r], row m of the k-th
// what row m owes to the one that it sees at offset k, is written where that offset is valid. da
// [count, H, M], unless it is null, is what the weight of offset k receives; 0 where it is not
// valid. dv, which is most of all that moves, has the element of z: its rounding is no more than
// that of the dz it is added up to.
struct PairGradients {
  float* du;
  void* dv;
  float* da;
};

// Once more p, and what follows from P, the antisymmetric matrix of a row's dp.
void wedge_backward(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& dp, const Act& p,
                    const PairGradients& to);

// dz [M, H r]: to a row's du is added what it is owed by the rows that see it.
void wedge_gather(Gpu& gpu, const Offsets& offsets, const PairGradients& from, const Act& dz);

// weight [H, count], in the layer's order, = the sums of da over the tokens.
void wedge_weights(Gpu& gpu, const Offsets& offsets, const float* da, const Mat& weight);

// The first two where r is 16 or 32 and rows are aligned; otherwise they do nothing. Return whether
// it was done.
bool wedge_lanes(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& p);
bool wedge_lanes_backward(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& dp,
                          const Act& p, const PairGradients& to);

// In one kernel, on Hopper, for bf16, one head, r = 32 and aligned rows; otherwise they do nothing.

// All of plucker, without p, for D a multiple of 128. Returns whether it was done.
bool wedge_product(Gpu& gpu, const Act& z, const Offsets& offsets, const Linear& layer,
                   const Act& g);

// The gradients of the pairs, p, and parts [kMaxParts, D] of the bias gradient, for D = 256.
// Returns how many of those it wrote; 0 where it did nothing.
int64_t wedge_product_backward(Gpu& gpu, const Act& dg, const Act& z, const Offsets& offsets,
                               const Linear& layer, const Act& p, const PairGradients& to,
                               float* parts);

}  // namespace gf::cuda
