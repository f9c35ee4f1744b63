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
#endif
};

// p = u ∧ w; p [M, r (r - 1) / 2].
void wedge(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& p);

// y[row] = P w | Pᵀ u, with P the antisymmetric matrix of the row's dp; y [M, 2 r] fp32.
void wedge_contract(Gpu& gpu, const Act& z, const Offsets& offsets, const Act& dp, float* y);

// dz from y [parts, M, 2 r], whose parts add up to what wedge_contract says.
void wedge_gradient(Gpu& gpu, const Act& z, const Offsets& offsets, const float* y, int parts,
                    const Act& dz);

// In one kernel, for bf16, r = 32 and aligned rows; otherwise they do nothing.

// All of plucker, without p, for D a multiple of 64. Returns whether it was done.
bool wedge_product(Gpu& gpu, const Act& z, const Offsets& offsets, const Linear& layer,
                   const Act& g);

// y [2, M, 2 r] in two parts, p, and parts [kMaxParts, D] of the bias gradient, for D = 256 or 128.
// Returns how many of those it wrote; 0 where it did nothing.
int64_t wedge_product_backward(Gpu& gpu, const Act& dg, const Act& z, const Offsets& offsets,
                               const Linear& layer, const Act& p, float* y, float* parts);

}  // namespace gf::cuda
