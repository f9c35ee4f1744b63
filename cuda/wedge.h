#pragma once

// Wedges of the tokens of a batch on a GPU: what plucker.cu is composed of. Names and formulas are
// those of src/cpu/plucker.cc: token u looks back at v, of which it sees the residual e = v - a u;
// p = u ∧ w with w = Σ c e over its n valid offsets.

#include <span>

#include "gpu.h"
#include "ops.h"

namespace gf::cuda {

inline constexpr int kMaxWindows = 64;

// The offsets of a layer, ascending, and the shape they meet: a parameter of kernels.
struct Offsets {
  int32_t rows;     // M
  int32_t length;   // T
  int32_t reduced;  // r
  int32_t count;
  int32_t at[kMaxWindows];

  Offsets(const Act& z, int64_t sequence_length, std::span<const int32_t> windows);

#if defined(__CUDACC__)
  __device__ __forceinline__ int position(int row) const {
    return row % length;
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

// p = u ∧ w; p [M, r (r - 1) / 2].
void wedge(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& p);

// What tokens receive through their pairs: du [M, r] as u; dv [count, M, r], row m of the k-th what
// row m owes to the one that it sees at offset k, is written where that offset is valid.
struct PairGradients {
  float *du, *dv;
};

// With P the antisymmetric matrix of a row's dp.
void wedge_backward(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& dp,
                    const PairGradients& to);

// dz [M, r]: to a row's du is added what it is owed by the rows that see it.
void wedge_gather(Gpu& gpu, const Offsets& offsets, const PairGradients& from, const Act& dz);

// In one kernel, on Hopper, for bf16, r = 32 and aligned rows; otherwise they do nothing.

// All of plucker, without p, for D a multiple of 128. Returns whether it was done.
bool wedge_product(Gpu& gpu, const Act& z, const Offsets& offsets, const Linear& layer,
                   const Act& g);

// The gradients of the pairs, p, and parts [kMaxParts, D] of the bias gradient, for D = 256.
// Returns how many of those it wrote; 0 where it did nothing.
int64_t wedge_product_backward(Gpu& gpu, const Act& dg, const Act& z, const Offsets& offsets,
                               const Linear& layer, const Act& p, const PairGradients& to,
                               float* parts);

}  // namespace gf::cuda
