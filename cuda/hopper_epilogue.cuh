#pragma once

// What follows a product on its accumulators. Of 8 columns a thread holds two of each of two rows;
// through shared memory, rounded to bf16, it then gets 8 columns of a row, which is what a store of
// 16 bytes and a block of dropout's random bits take.

#include "hopper_gemm.cuh"

namespace gf::cuda::hopper {

// A bf16 matrix that an epilogue reads or writes, eight columns at a time. The last columns % 8 are
// for_rest's.
struct Target {
  bf16* data;
  int64_t ld;
  int rows;
  int cols;

  __device__ bool has_eight(int row, int col) const { return row < rows && col + kVector <= cols; }
  __device__ bf16* at(int row, int col) const { return data + row * ld + col; }
  __device__ void put(int row, int col, const uint4& v) const {
    if (has_eight(row, col)) *reinterpret_cast<uint4*>(at(row, col)) = v;
  }
  __device__ uint4 get(int row, int col) const {
    if (!has_eight(row, col)) return make_uint4(0, 0, 0, 0);
    return *reinterpret_cast<const uint4*>(at(row, col));
  }
  // Has kCols columns of the 16 rows of a warp brought to the L2 cache; `row` is the thread's first
  // one as an accumulator's.
  template <int kCols>
  __device__ void prefetch_rows(int row, int col) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, i = row - lane / 4 + lane / 2;
#pragma unroll
    for (int part = 0; part < kCols; part += 128) {
      const int j = part + lane % 2 * 64;
      if (j >= kCols || !has_eight(i, col + j)) continue;
      asm volatile("prefetch.global.L2 [%0];" ::"l"(at(i, col + j)));
    }
  }
};

inline Target target(const Act& a) {
  return {data<bf16>(a), a.ld, static_cast<int>(a.rows), static_cast<int>(a.cols)};
}

// Accumulators begin as the bias: adding it costs nothing. Columns past the last are not stored and
// take any bias, since a choice here would keep the compiler from overlapping products.
template <int kCount>
__device__ __forceinline__ void begin_with(const float* bias, int col, int cols,
                                           float (&d)[kCount]) {
  const int first = col + static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int j = 0; j < kCount / 4; ++j) {
    d[4 * j] = d[4 * j + 2] = bias[min(first + 8 * j, cols - 1)];
    d[4 * j + 1] = d[4 * j + 3] = bias[min(first + 8 * j + 1, cols - 1)];
  }
}
template <int kCount>
__device__ __forceinline__ void begin_with_zero(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) d[i] = 0.0f;
}

// Calls body(element, accumulator) for the elements of a target's last columns % 8, which no vector
// holds, as far as the tile has them.
template <int kCount, class Body>
__device__ __forceinline__ void for_rest(const float (&d)[kCount], int row, int col,
                                         const Target& target, const Body& body) {
  const int rest = target.cols / kVector * kVector;
  if (rest == target.cols || rest < col || rest >= col + 2 * kCount) return;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int r = row + i / 2 % 2 * 8, c = rest + static_cast<int>(threadIdx.x) % 4 * 2 + i % 2;
    if (col + i / 4 * 8 == rest && r < target.rows && c < target.cols) body(target.at(r, c), d[i]);
  }
}

// A dropout site whose seed and step are read once.
struct LocalDropout {
  uint32_t threshold, site;
  StepState state;

  __device__ explicit LocalDropout(const Dropout& from)
      : threshold(from.threshold), site(from.site) {
    if (threshold == 0) return;
    state.seed = from.state->seed;
    state.step = from.state->step;
  }
  // Factors of eight elements; the number of the first is a multiple of 8.
  __device__ void factors(int64_t first, float (&factor)[kVector]) const {
    const Dropout here = {threshold, site, &state};
    dropout8<true>(here, first, factor);
  }
};

// The 16 rows of a warp, rounded to bf16, through shared memory of its own: a thread gets eights of
// rows that its neighbours continue, so that stores write whole lines of 128 bytes. Piece p of row
// r of 64 columns lies at piece p ^ (r % 8), where neither way meets a bank twice. kAtOnce eights
// are worked on together.
template <int kCols, int kAtOnce>
struct Staged {
  static constexpr int kPieces = (kCols < 64 ? kCols : 64) / kVector;
  static constexpr int kParts = (kCols + 63) / 64, kRows = kWarp / kPieces;
  static constexpr uint32_t kPartBytes = 16 * 128, kBytes = kParts * kPartBytes;  // of a warp
  static_assert(kCols % 64 == 0 || kCols == 32);

  // Calls body(row, col, eight) for each of the thread's eights; row is the thread's first one as
  // an accumulator's, col the tile's.
  template <class Body>
  __device__ static void for_eights(uint32_t stage, int row, int col, const float (&d)[kCols / 2],
                                    const Body& body) {
    int lane = static_cast<int>(threadIdx.x) % kWarp;
    asm volatile("" : "+r"(lane));  // no places kept in registers from tile to tile
    const int first = row - lane / 4;
    __syncwarp();  // what was there has been read
#pragma unroll
    for (int j = 0; j < kCols / kVector; j += 2) {
      const uint32_t w[4] = {pack2(d[4 * j], d[4 * j + 1]), pack2(d[4 * j + 2], d[4 * j + 3]),
                             pack2(d[4 * j + 4], d[4 * j + 5]), pack2(d[4 * j + 6], d[4 * j + 7])};
      store_matrices(place(stage, j / 8, lane % 16, j % 8 + lane / 16), w);
    }
    __syncwarp();
#pragma unroll kAtOnce
    for (int n = 0; n < kParts * (16 / kRows); ++n) {
      const int part = n / (16 / kRows), piece = lane % kPieces;
      const int r = n % (16 / kRows) * kRows + lane / kPieces;
      body(first + r, col + 64 * part + kVector * piece,
           load_shared4(place(stage, part, r, piece)));
    }
  }

 private:
  __device__ static uint32_t place(uint32_t stage, int part, int row, int piece) {
    return stage + part * kPartBytes + static_cast<uint32_t>(row * 128 + (piece ^ row % 8) * 16);
  }
};

struct Nothing {};

struct StoreLinear {
  static constexpr bool kStaged = true;
  const float* bias;
  Target y;

  template <int kCols>
  using Early = Nothing;
  template <int kCount>
  __device__ void before(int, int col, float (&d)[kCount], Nothing&) const {
    begin_with(bias, col, y.cols, d);
  }
  template <int kCount>
  __device__ void after(int row, int col, const float (&d)[kCount], const Nothing&,
                        uint32_t stage) const {
    Staged<2 * kCount, 16>::for_eights(stage, row, col, d,
                                       [&](int i, int j, const uint4& v) { y.put(i, j, v); });
    for_rest(d, row, col, y, [](bf16* to, float v) { *to = from_float<bf16>(v); });
  }
};

// a is made of u as it was stored, and so is the same when it is made again.
struct StoreGelu {
  static constexpr bool kStaged = true;
  const float* bias;
  Dropout dropout;
  Target u, a;

  template <int kCols>
  using Early = Nothing;
  template <int kCount>
  __device__ void before(int, int col, float (&d)[kCount], Nothing&) const {
    begin_with(bias, col, u.cols, d);
  }
  template <int kCount>
  __device__ void after(int row, int col, const float (&d)[kCount], const Nothing&,
                        uint32_t stage) const {
    const LocalDropout local(dropout);
    // Not all at once, which the cache of instructions would not hold.
    Staged<2 * kCount, 2>::for_eights(stage, row, col, d, [&](int i, int j, const uint4& stored) {
      float v[kVector], factor[kVector];
      unpack(stored, v);
      local.factors(static_cast<int64_t>(i) * u.cols + j, factor);
#pragma unroll
      for (int n = 0; n < kVector; ++n) v[n] = gelu(v[n]) * factor[n];
      u.put(i, j, stored);
      a.put(i, j, packed(v));
    });
  }
};

// da is rounded to bf16, as where a product of its own leaves it. u is read where it is used, for
// want of registers; du may be u, of which a thread reads what it writes.
struct StoreGeluBackward {
  static constexpr bool kStaged = true;
  Dropout dropout;
  Target u, a, du;

  template <int kCols>
  using Early = Nothing;
  template <int kCount>
  __device__ void before(int row, int col, float (&d)[kCount], Nothing&) const {
    begin_with_zero(d);
    u.prefetch_rows<2 * kCount>(row, col);
  }
  template <int kCount>
  __device__ void after(int row, int col, const float (&d)[kCount], const Nothing&,
                        uint32_t stage) const {
    const LocalDropout local(dropout);
    Staged<2 * kCount, 2>::for_eights(stage, row, col, d, [&](int i, int j, const uint4& product) {
      float x[kVector], da[kVector], factor[kVector];
      unpack(u.get(i, j), x);
      unpack(product, da);
      local.factors(static_cast<int64_t>(i) * u.cols + j, factor);
#pragma unroll
      for (int n = 0; n < kVector; ++n) {
        da[n] *= gelu_derivative(x[n]) * factor[n];
        x[n] = gelu(x[n]) * factor[n];
      }
      du.put(i, j, packed(da));
      a.put(i, j, packed(x));
    });
  }
};

}  // namespace gf::cuda::hopper
