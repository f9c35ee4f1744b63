#pragma once

// A token and its pairs, in a thread's hands.
//
// All of it is fp32. The residual is made in two steps, e = v - a u and then once more what is left
// along u: the error of `a` moves the first e along u by some 1e-7 |u|, which would decide |e|
// where u and v are that near to parallel; the second step leaves 1e-7 |e|. Everything after it is
// free of cancellation, and equal tokens have e = 0 exactly, since u·v is then u·u to the bit.

#include "kernel.cuh"
#include "wedge.h"

namespace gf::cuda {

// r = 32: four lanes hold eight coordinates each.
struct LaneRow {
  static constexpr int kLanes = 4;
  static constexpr int kAtOnce = 3;  // pairs, which hide each other's latency
  float v[kVector];

  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x) % kLanes; }
  __device__ __forceinline__ static constexpr int size() { return kVector; }
  __device__ __forceinline__ float& operator[](int i) { return v[i]; }
  __device__ __forceinline__ float operator[](int i) const { return v[i]; }

  template <class T>
  __device__ __forceinline__ void load(const T* from) {
    load8(from + lane() * kVector, v);
  }
  template <class T>
  __device__ __forceinline__ void store(T* to) const {
    store8(to + lane() * kVector, v);
  }
  // To global memory, and as vectors whatever the compiler thinks of it.
  __device__ __forceinline__ void put(float* to) const {
    float4* at = reinterpret_cast<float4*>(to + lane() * kVector);
    __stcg(at, make_float4(v[0], v[1], v[2], v[3]));
    __stcg(at + 1, make_float4(v[4], v[5], v[6], v[7]));
  }
};

// Any r: a warp holds a row in shared memory, each lane using its own coordinates alone.
struct SharedRow {
  static constexpr int kLanes = kWarp;
  static constexpr int kAtOnce = 1;
  float* v;
  int r;

  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x) % kLanes; }
  __device__ __forceinline__ int size() const { return (r - lane() + kWarp - 1) / kWarp; }
  __device__ __forceinline__ float& operator[](int i) const { return v[i * kWarp + lane()]; }

  template <class T>
  __device__ __forceinline__ void load(const T* from) {
    for (int i = lane(); i < r; i += kWarp) v[i] = to_float(from[i]);
  }
  template <class T>
  __device__ __forceinline__ void store(T* to) const {
    for (int i = lane(); i < r; i += kWarp) to[i] = from_float<T>(v[i]);
  }
  __device__ __forceinline__ void put(float* to) const { store(to); }
};

template <class Row>
__device__ __forceinline__ float dot(const Row& a, const Row& b) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < a.size(); ++i) sum = fmaf(a[i], b[i], sum);
#pragma unroll
  for (int lane = Row::kLanes / 2; lane > 0; lane /= 2) {
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, lane);
  }
  return sum;
}

// y += factor x.
template <class Row>
__device__ __forceinline__ void add(float factor, const Row& x, Row& y) {
#pragma unroll
  for (int i = 0; i < x.size(); ++i) y[i] = fmaf(factor, x[i], y[i]);
}

template <class Row>
__device__ __forceinline__ void clear(Row& row) {
#pragma unroll
  for (int i = 0; i < row.size(); ++i) row[i] = 0;
}

// |u|², and its inverse: 0 where u is too short to have one.
struct Square {
  float value, inverse;
};

template <class Row>
__device__ __forceinline__ Square square(const Row& u) {
  const float value = dot(u, u);
  return {value, value > 0x1p-120f ? __fdividef(1.0f, value) : 0.0f};
}

// x / y to 1 ulp without a branch, and 1 exactly where x = y: an approximate quotient corrected by
// what it leaves.
__device__ __forceinline__ float quotient(float x, const Square& y) {
  const float q = x * y.inverse;
  return fmaf(fmaf(-q, y.value, x), y.inverse, q);
}

// To 1 ulp; 0 of what is below the normal numbers.
__device__ __forceinline__ float root(float x) {
  float y;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

struct Pair {
  float a, c;
  float squared;  // |e|²
  bool is_floored;
};

// On entry e is v. `n` offsets are valid for u; c = 0 where this one is not among them.
template <class Row>
__device__ __forceinline__ Pair look_at(const Row& u, const Square& u_squared, bool is_valid, int n,
                                        Row& e) {
  Pair pair;
  pair.a = quotient(dot(u, e), u_squared);
  add(-pair.a, u, e);
  const float rest = quotient(dot(u, e), u_squared);
  add(-rest, u, e);
  pair.a += rest;
  pair.squared = dot(e, e);
  const float s = root(u_squared.value) * root(pair.squared);
  pair.is_floored = s <= kPlueckerEpsilon;
  const float floored = pair.is_floored ? kPlueckerEpsilon : s;
  pair.c = __fdividef(is_valid ? 1.0f : 0.0f, static_cast<float>(max(n, 1)) * floored);
  return pair;
}

// kShares neighbouring groups of lanes share out the pairs of a row; this is the thread's group.
template <int kShares, class Row>
__device__ __forceinline__ int share() {
  return static_cast<int>(threadIdx.x) / Row::kLanes % kShares;
}

// The sum over the groups, in each of them.
template <int kShares, class Row>
__device__ __forceinline__ void sum_shares(Row& row) {
#pragma unroll
  for (int lane = Row::kLanes; lane < Row::kLanes * kShares; lane *= 2) {
#pragma unroll
    for (int i = 0; i < row.size(); ++i) row[i] += __shfl_xor_sync(0xFFFFFFFFu, row[i], lane);
  }
}
template <int kShares, class Row>
__device__ __forceinline__ float sum_shares(float x) {
#pragma unroll
  for (int lane = Row::kLanes; lane < Row::kLanes * kShares; lane *= 2) {
    x += __shfl_xor_sync(0xFFFFFFFFu, x, lane);
  }
  return x;
}

// u and w of a row; e is workspace. All lanes of a warp come here together, each for a row below M.
// Without a valid offset w = 0.
template <int kShares, class Row, class T>
__device__ __forceinline__ void look_back(const T* z, int64_t ld, const Offsets& offsets, int row,
                                          Row& u, Row& w, Row& e) {
  const int n = offsets.valid(offsets.position(row));
  u.load(z + row * ld);
  clear(w);
  const Square u_squared = square(u);
  // Past the last offset no pair is valid.
  for (int first = 0; first < offsets.count; first += Row::kAtOnce * kShares) {
#pragma unroll
    for (int i = 0; i < Row::kAtOnce; ++i) {
      const int k = first + i * kShares + share<kShares, Row>();
      const bool is_valid = k < n;
      e.load(z + (row - (is_valid ? offsets.at[k] : 0)) * ld);
      const Pair pair = look_at(u, u_squared, is_valid, n, e);
      add(pair.c, e, w);
    }
  }
  sum_shares<kShares>(w);
}

// What a pair's u receives along itself; dw becomes dv, what v receives. Like e, dv / c is made in
// two steps: in the plane, say, it is 0, and c may be large. It is perpendicular to u, as dw is.
template <class Row>
__device__ __forceinline__ float owed(const Row& u, const Square& u_squared, const Pair& pair,
                                      const Row& e, Row& dw) {
  const float inverse =
      __fdividef(pair.is_floored ? 0.0f : 1.0f, pair.is_floored ? 1.0f : pair.squared);
  const float along_e = dot(dw, e) * inverse;
  add(-along_e, e, dw);
  add(-quotient(dot(dw, u), u_squared), u, dw);
  const float rest = dot(dw, e) * inverse;
  add(-rest, e, dw);
#pragma unroll
  for (int i = 0; i < dw.size(); ++i) dw[i] *= pair.c;
  return pair.c * (along_e + rest) * pair.squared;
}

// The gradients of a row's pairs from y = P w | Pᵀ u, written where the row is the block's own; u,
// e, dv and du are workspace. All lanes of a warp come here together, each for a row below M.
template <int kShares, class Row, class T>
__device__ __forceinline__ void pass_back(const T* z, int64_t ld, const Offsets& offsets, int row,
                                          bool is_own, const float* y, const PairGradients& to,
                                          Row& u, Row (&e)[Row::kAtOnce], Row (&dv)[Row::kAtOnce],
                                          Row& du) {
  const int n = offsets.valid(offsets.position(row)), r = offsets.reduced;
  u.load(z + row * ld);
  clear(du);
  const Square u_squared = square(u);
  float along_u = 0;
  for (int first = 0; first < offsets.count; first += Row::kAtOnce * kShares) {
#pragma unroll
    for (int i = 0; i < Row::kAtOnce; ++i) {
      const int k = first + i * kShares + share<kShares, Row>();
      const bool is_valid = k < n;
      e[i].load(z + (row - (is_valid ? offsets.at[k] : 0)) * ld);
      dv[i].load(y + r);
      const Pair pair = look_at(u, u_squared, is_valid, n, e[i]);
      along_u += owed(u, u_squared, pair, e[i], dv[i]);
      add(-pair.a, dv[i], du);
    }
#pragma unroll
    for (int i = 0; i < Row::kAtOnce; ++i) {
      const int k = first + i * kShares + share<kShares, Row>();
      if (k < n && is_own) dv[i].put(to.dv + (int64_t{k} * offsets.rows + row) * r);
    }
  }
  sum_shares<kShares>(du);
  add(-quotient(sum_shares<kShares, Row>(along_u), u_squared), u, du);
  e[0].load(y);
  add(1.0f, e[0], du);
  if (is_own && share<kShares, Row>() == 0) du.put(to.du + int64_t{row} * r);
}

}  // namespace gf::cuda
