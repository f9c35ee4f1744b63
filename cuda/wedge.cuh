#pragma once

// A row and its pairs, in a thread's hands, and its coordinates.
//
// All of it is fp32. The residual is made in two steps, e = v - a u and then once more what is left
// along u: the error of `a` moves the first e along u by some 1e-7 |u|, which would decide |e|
// where u and v are that near to parallel; the second step leaves 1e-7 |e|. Everything after it is
// free of cancellation, and equal tokens have e = 0 exactly, since u·v is then u·u to the bit.

#include <utility>

#include "kernel.cuh"
#include "wedge.h"

namespace gf::cuda {

// So many lanes hold eight coordinates each.
template <int kCount>
struct LaneRow {
  static constexpr int kLanes = kCount;
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
  __device__ __forceinline__ void put(bf16* to) const {
    __stcg(reinterpret_cast<uint4*>(to + lane() * kVector), packed(v));
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
  template <class T>
  __device__ __forceinline__ void put(T* to) const {
    store(to);
  }
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

__device__ __forceinline__ float inverse_of(int n) {
  return __fdividef(1.0f, static_cast<float>(n));
}

struct Pair {
  float a, c;
  float squared;  // |e|²
  float inverse;  // of max(s, 1e-8)
  bool is_floored;
};

// On entry e is v. `weight` is 0 where this offset is not valid, and then so is c.
template <class Row>
__device__ __forceinline__ Pair look_at(const Row& u, const Square& u_squared, float weight,
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
  pair.inverse = __fdividef(1.0f, pair.is_floored ? kPlueckerEpsilon : s);
  pair.c = weight * pair.inverse;
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

// A row's own coordinates and what it sees from there.
template <class T>
struct Past {
  const T* u;           // at offset d it sees what stands d * ld before
  int32_t ld;           // of a token
  int32_t n;            // valid offsets
  float mean;           // 1 / n
  const float* weight;  // of its head, in the layer's order; or null

  __device__ __forceinline__ Past(const T* z, int64_t token_ld, const Offsets& offsets, int token,
                                  int head)
      : u(z + token * token_ld + head * offsets.reduced),
        ld(static_cast<int32_t>(token_ld)),
        n(offsets.valid(offsets.position(token))),
        mean(inverse_of(max(n, 1))),
        weight(offsets.weight + head * offsets.count) {}

  // Of the k-th offset, also past the last one: itself where that is not valid.
  __device__ __forceinline__ const T* seen(const Offsets& offsets, int k) const {
    return u - int64_t{k < n ? offsets.at[k] : 0} * ld;
  }
  template <bool kLearned>
  __device__ __forceinline__ float weight_of(const Offsets& offsets, int k) const {
    if (k >= n) return 0;
    return kLearned ? weight[offsets.listed[k]] : mean;
  }
};

// u and w of a row; e is workspace. All lanes of a warp come here together, each for a row that
// there is. Without a valid offset w = 0.
template <int kShares, bool kLearned, class Row, class T>
__device__ __forceinline__ void look_back(const Past<T>& past, const Offsets& offsets, Row& u,
                                          Row& w, Row& e) {
  u.load(past.u);
  clear(w);
  const Square u_squared = square(u);
  // Past the last offset no pair is valid.
  for (int first = 0; first < offsets.count; first += Row::kAtOnce * kShares) {
#pragma unroll
    for (int i = 0; i < Row::kAtOnce; ++i) {
      const int k = first + i * kShares + share<kShares, Row>();
      const float weight = past.template weight_of<kLearned>(offsets, k);
      e.load(past.seen(offsets, k));
      const Pair pair = look_at(u, u_squared, weight, e);
      add(pair.c, e, w);
    }
  }
  sum_shares<kShares>(w);
}

// What a pair's u receives along itself; dw becomes dv, what v receives, and `flow` is dw·e. Like
// e, dv / c is made in two steps: in the plane, say, it is 0, and c may be large. It is
// perpendicular to u, as dw is.
template <class Row>
__device__ __forceinline__ float owed(const Row& u, const Square& u_squared, const Pair& pair,
                                      float flow, const Row& e, Row& dw) {
  const float inverse =
      __fdividef(pair.is_floored ? 0.0f : 1.0f, pair.is_floored ? 1.0f : pair.squared);
  const float along_e = flow * inverse;
  add(-along_e, e, dw);
  add(-quotient(dot(dw, u), u_squared), u, dw);
  const float rest = dot(dw, e) * inverse;
  add(-rest, e, dw);
#pragma unroll
  for (int i = 0; i < dw.size(); ++i) dw[i] *= pair.c;
  return pair.c * (along_e + rest) * pair.squared;
}

// The gradients of a row's pairs from y = P w | Pᵀ u, written where the row is the block's own; u,
// e, dv and du are workspace. All lanes of a warp come here together, each for a row that there is:
// `row`, which is number by_head where all tokens' first heads come first.
template <int kShares, bool kLearned, class Row, class T>
__device__ __forceinline__ void pass_back(const Past<T>& past, const Offsets& offsets, int row,
                                          int by_head, bool is_own, const float* y,
                                          const PairGradients& to, Row& u, Row (&e)[Row::kAtOnce],
                                          Row (&dv)[Row::kAtOnce], Row& du) {
  const int r = offsets.reduced;
  u.load(past.u);
  clear(du);
  const Square u_squared = square(u);
  float along_u = 0;
  for (int first = 0; first < offsets.count; first += Row::kAtOnce * kShares) {
    float da[Row::kAtOnce];
#pragma unroll
    for (int i = 0; i < Row::kAtOnce; ++i) {
      const int k = first + i * kShares + share<kShares, Row>();
      const float weight = past.template weight_of<kLearned>(offsets, k);
      e[i].load(past.seen(offsets, k));
      dv[i].load(y + r);
      const Pair pair = look_at(u, u_squared, weight, e[i]);
      const float flow = dot(dv[i], e[i]);
      da[i] = k < past.n ? flow * pair.inverse : 0.0f;
      along_u += owed(u, u_squared, pair, flow, e[i], dv[i]);
      add(-pair.a, dv[i], du);
    }
#pragma unroll
    for (int i = 0; i < Row::kAtOnce; ++i) {
      const int k = first + i * kShares + share<kShares, Row>();
      if (k < past.n && is_own) {
        dv[i].put(static_cast<T*>(to.dv) + (int64_t{k} * offsets.rows + row) * r);
      }
      if (kLearned && k < offsets.count && is_own && Row::lane() == 0) {
        to.da[int64_t{k} * offsets.rows + by_head] = da[i];
      }
    }
  }
  sum_shares<kShares>(du);
  add(-quotient(sum_shares<kShares, Row>(along_u), u_squared), u, du);
  e[0].load(y);
  add(1.0f, e[0], du);
  if (is_own && share<kShares, Row>() == 0) du.put(to.du + int64_t{row} * r);
}

// ---- Coordinates -----------------------------------------------------------------------------
// A coordinate's (i, j) is irregular; where r is a constant and the code is unrolled, it is one
// too.

// The i of coordinate q, and from it the j, in row-major order of i < j.
constexpr int i_of(int r, int q) {
  int i = 0;
  for (int length = r - 1; q >= length; --length) q -= length, ++i;
  return i;
}
constexpr int j_of(int r, int q) {
  int i = 0;
  for (int length = r - 1; q >= length; --length) q -= length, ++i;
  return i + 1 + q;
}

// Calls body with std::integral_constant of each number below kCount.
template <int kCount, class Body>
__device__ __forceinline__ void unrolled(const Body& body) {
  [&]<int... kI>(std::integer_sequence<int, kI...>) {
    (body(std::integral_constant<int, kI>()), ...);
  }
  (std::make_integer_sequence<int, kCount>());
}

template <int kReduced>
__device__ __forceinline__ void load_row(const float* from, float (&v)[kReduced]) {
#pragma unroll
  for (int i = 0; i < kReduced; i += 4) {
    const float4 a = *reinterpret_cast<const float4*>(from + i);
    v[i] = a.x, v[i + 1] = a.y, v[i + 2] = a.z, v[i + 3] = a.w;
  }
}

// v = eight coordinates of u ∧ w, from number kFirst on.
template <int kFirst, int kReduced>
__device__ __forceinline__ void wedge_chunk(const float (&u)[kReduced], const float (&w)[kReduced],
                                            float (&v)[kVector]) {
  unrolled<kVector>([&](auto k) {
    constexpr int kQ = kFirst + decltype(k)::value;
    constexpr int kI = i_of(kReduced, kQ), kJ = j_of(kReduced, kQ);
    v[decltype(k)::value] = fmaf(u[kI], w[kJ], -u[kJ] * w[kI]);
  });
}

// y += P x as far as the eight coordinates v of dp make it, those from number kFirst on.
template <int kFirst, int kReduced>
__device__ __forceinline__ void contract_chunk(const float (&v)[kVector],
                                               const float (&x)[kReduced], float (&y)[kReduced]) {
  unrolled<kVector>([&](auto k) {
    constexpr int kQ = kFirst + decltype(k)::value;
    constexpr int kI = i_of(kReduced, kQ), kJ = j_of(kReduced, kQ);
    y[kI] = fmaf(v[decltype(k)::value], x[kJ], y[kI]);
    y[kJ] = fmaf(-v[decltype(k)::value], x[kI], y[kJ]);
  });
}

// ---- Instances ---------------------------------------------------------------------------------

// Calls body with whether the weights are learned, as a constant.
template <class Body>
void with_weights(const Offsets& offsets, const Body& body) {
  if (offsets.weight != nullptr) {
    body(std::true_type());
  } else {
    body(std::false_type());
  }
}

// The same, and with a value of the element that z is held as.
template <class Body>
void with_weights_and_element(const Offsets& offsets, const Act& z, const Body& body) {
  with_weights(offsets, [&](auto is_learned) {
    with_element(z, [&](auto element) { body(is_learned, element); });
  });
}

}  // namespace gf::cuda
