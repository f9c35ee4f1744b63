#pragma once

// What follows a product on its accumulators. Of 8 columns a thread holds two of each of two rows;
// through shared memory, rounded to bf16, it then gets 8 columns of a row, which is what a store of
// 16 bytes and a block of dropout's random bits take.

#include "gelu.cuh"
#include "hopper_gemm.cuh"

namespace gf::cuda::hopper {

// A bf16 matrix that an epilogue reads or writes, eight columns at a time. The last columns % 8 are
// for_rest's.
struct Target {
  bf16* data;
  int ld;
  int rows;
  int cols;

  __device__ bool has_eight(int row, int col) const { return row < rows && col + kVector <= cols; }
  __device__ bf16* at(int row, int col) const { return data + (int64_t{row} * ld + col); }
  __device__ void put(int row, int col, const uint4& v) const {
    if (has_eight(row, col)) *reinterpret_cast<uint4*>(at(row, col)) = v;
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
  return {data<bf16>(a), static_cast<int>(a.ld), static_cast<int>(a.rows),
          static_cast<int>(a.cols)};
}

// Accumulators begin as the bias: adding it costs nothing. Columns past the last are not stored and
// take any bias, since a choice here would keep the compiler from overlapping products. kPairs: the
// bias begins on 8 bytes and `cols` is even.
template <bool kPairs = false, int kCount>
__device__ __forceinline__ void begin_with(const float* bias, int col, int cols,
                                           float (&d)[kCount]) {
  const int first = col + static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int j = 0; j < kCount / 4; ++j) {
    float2 pair;
    if constexpr (kPairs) {
      pair = *reinterpret_cast<const float2*>(bias + min(first + 8 * j, cols - 2));
    } else {
      pair =
          make_float2(bias[min(first + 8 * j, cols - 1)], bias[min(first + 8 * j + 1, cols - 1)]);
    }
    d[4 * j] = d[4 * j + 2] = pair.x;
    d[4 * j + 1] = d[4 * j + 3] = pair.y;
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

// Dropout of what is packed in bf16, with kDrop; else nothing. Kept elements are taken to be scaled
// already, so that dropping is a mask. Made on the host: what it holds then costs no registers.
template <bool kDrop>
struct PackedDropout {
  uint32_t site;
  uint32_t below;  // twice the threshold - 1
  const StepState* state;

  explicit PackedDropout(const Dropout& from)
      : site(from.site), below((from.threshold - 1) * 0x10001u), state(from.state) {}

  struct Key {
    uint64_t seed, step;
  };
  __device__ __forceinline__ Key key() const {
    if constexpr (!kDrop) return {};
    return {state->seed, static_cast<uint64_t>(state->step)};
  }
  // Ones for what is kept of eight elements, the block of that number of the site's.
  __device__ __forceinline__ uint4 kept(const Key& key, uint64_t block) const {
    if constexpr (!kDrop) return {};
    const Bits4 bits = random_bits(key.seed, key.step, site, block);
    return make_uint4(kept2(bits.v[0]), kept2(bits.v[1]), kept2(bits.v[2]), kept2(bits.v[3]));
  }
  __device__ __forceinline__ static uint4 masked(const uint4& v, const uint4& kept) {
    if constexpr (!kDrop) return v;
    return make_uint4(v.x & kept.x, v.y & kept.y, v.z & kept.z, v.w & kept.w);
  }

 private:
  // Both halves of a word at once, by Hopper's instructions for pairs: 1 where the half is above
  // `below`, then as many ones as it has bits.
  __device__ __forceinline__ uint32_t kept2(uint32_t bits) const {
    return __vminu2(__vmaxu2(bits, below) - below, 0x10001u) * 0xFFFFu;
  }
};

// The 16 rows of a warp, rounded to bf16, through shared memory of its own: a thread gets eights of
// rows that its neighbours continue, so that stores write whole lines of 128 bytes. Piece p of row
// r of 64 columns lies at piece p ^ (r % 8), where neither way meets a bank twice. A thread's
// eights stand in kSteps rows, kRows apart, and in each of these kParts times, kPartCols apart.
template <int kCols, int kAtOnce = 4>
struct Staged {
  static constexpr int kPartCols = kCols < 64 ? kCols : 64, kPieces = kPartCols / kVector;
  static constexpr int kParts = kCols / kPartCols, kRows = kWarp / kPieces, kSteps = 16 / kRows;
  static constexpr uint32_t kPartBytes = 16 * 128, kBytes = kParts * kPartBytes;  // of a warp
  static_assert(kCols % 64 == 0 || kCols == 32);

  __device__ static void put(uint32_t stage, const float (&d)[kCols / 2]) {
    const int thread = lane(), row = thread % 16;
    const uint32_t at = stage + row * 128 + (thread / 16 ^ row % 8) * 16;
    __syncwarp();  // what was there has been read
#pragma unroll
    for (int j = 0; j < kCols / kVector; j += 2) {
      const uint32_t w[4] = {pack2(d[4 * j], d[4 * j + 1]), pack2(d[4 * j + 2], d[4 * j + 3]),
                             pack2(d[4 * j + 4], d[4 * j + 5]), pack2(d[4 * j + 6], d[4 * j + 7])};
      store_matrices((at ^ j % 8 * 16) + j / 8 * kPartBytes, w);
    }
    __syncwarp();
  }
  // Where the thread's first eight lies.
  __device__ static uint32_t first(uint32_t stage) {
    const int thread = lane(), row = thread / kPieces, piece = thread % kPieces;
    return stage + row * 128 + (piece ^ row) * 16;
  }
  __device__ static uint4 get(uint32_t first, int step, int part) {
    return load_shared4((first ^ step * kRows % 8 * 16) + step * kRows * 128 + part * kPartBytes);
  }

  // Calls body(row, col, eight) for each of the thread's eights; row is the thread's first one as
  // an accumulator's, col the tile's. kAtOnce rows are worked on together.
  template <class Body>
  __device__ static void for_eights(uint32_t stage, int row, int col, const float (&d)[kCols / 2],
                                    const Body& body) {
    put(stage, d);
    const uint32_t from = first(stage);
    const int thread = lane(), i = row - thread / 4 + thread / kPieces;
    const int j = col + thread % kPieces * kVector;
#pragma unroll kAtOnce
    for (int n = 0; n < kSteps; ++n) {
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        body(i + n * kRows, j + part * kPartCols, get(from, n, part));
      }
    }
  }

  // A thread's eights of a row of a target, then of its next one. row is the thread's first one as
  // an accumulator's, col the tile's.
  class Place {
   public:
    __device__ Place(const Target& m, int row, int col) : Place(m, row, col, lane()) {}
    __device__ void next() { row_ += kRows, at_ += step_; }
    __device__ void put(int part, const uint4& v) const {
      if (has(part)) *reinterpret_cast<uint4*>(at_ + part * kPartCols) = v;
    }
    __device__ uint4 get(int part) const {
      if (!has(part)) return make_uint4(0, 0, 0, 0);
      return *reinterpret_cast<const uint4*>(at_ + part * kPartCols);
    }

   private:
    __device__ Place(const Target& m, int row, int col, int thread)
        : row_(row - thread / 4 + thread / kPieces),
          rows_(m.rows),
          at_(m.at(row_, col + thread % kPieces * kVector)),
          step_(int64_t{kRows} * m.ld) {
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        has_[part] = col + thread % kPieces * kVector + part * kPartCols + kVector <= m.cols;
      }
    }
    __device__ bool has(int part) const {
      return row_ < rows_ && has_[part];
    }

    int row_, rows_;
    bf16* at_;
    int64_t step_;
    bool has_[kParts];
  };

  // The number of the thread's first eight in its dropout site, from which that of another follows;
  // the target has whole eights.
  __device__ static uint64_t first_block(const Target& m, int row, int col) {
    const int thread = lane();
    const int64_t i = row - thread / 4 + thread / kPieces;
    return static_cast<uint64_t>(i * (m.cols / kVector) + col / kVector + thread % kPieces);
  }
  __device__ static uint64_t block(uint64_t first, const Target& m, int step, int part) {
    return first + static_cast<uint32_t>(step * kRows * (m.cols / kVector) + part * kPieces);
  }

 private:
  // Anew each time: nothing that depends on it is to stay in registers from tile to tile.
  __device__ static int lane() {
    int thread = static_cast<int>(threadIdx.x % kWarp);
    asm volatile("" : "+r"(thread));
    return thread;
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
    Staged<2 * kCount>::for_eights(stage, row, col, d,
                                   [&](int i, int j, const uint4& v) { y.put(i, j, v); });
    for_rest(d, row, col, y, [](bf16* to, float v) { *to = from_float<bf16>(v); });
  }
};

// a is made of u as it was stored, and so is the same when it is made again. One row at a time, not
// all at once, which the cache of instructions would not hold.
template <bool kDrop>
struct StoreGelu {
  static constexpr bool kStaged = true;
  using Key = typename PackedDropout<kDrop>::Key;
  const float* bias;
  PackedDropout<kDrop> drop;
  ScaledNormal normal;
  Target u, a;

  template <int kCols>
  using Early = Key;
  template <int kCount>
  __device__ void before(int, int col, float (&d)[kCount], Key& key) const {
    key = drop.key();
    begin_with<true>(bias, col, u.cols, d);
  }
  template <int kCount>
  __device__ void after(int row, int col, const float (&d)[kCount], const Key& key,
                        uint32_t stage) const {
    using Eights = Staged<2 * kCount>;
    Eights::put(stage, d);
    const uint32_t from = Eights::first(stage);
    const uint64_t block = Eights::first_block(u, row, col);
    typename Eights::Place to_u(u, row, col), to_a(a, row, col);
#pragma unroll 2 / Eights::kParts
    for (int n = 0; n < Eights::kSteps; ++n, to_u.next(), to_a.next()) {
#pragma unroll
      for (int part = 0; part < Eights::kParts; ++part) {
        const uint4 stored = Eights::get(from, n, part);
        float v[kVector];
        unpack(stored, v);
#pragma unroll
        for (int k = 0; k < kVector; ++k) v[k] = gelu(v[k], normal.at(v[k]));
        to_u.put(part, stored);
        to_a.put(part, drop.masked(packed(v), drop.kept(key, Eights::block(block, u, n, part))));
      }
    }
  }
};

// da is rounded to bf16, as where a product of its own leaves it. u is read a row ahead, for want
// of registers for all; a or du may be u, of which a thread reads what it writes.
template <bool kDrop>
struct StoreGeluBackward {
  static constexpr bool kStaged = true;
  PackedDropout<kDrop> drop;
  ScaledNormal normal;
  Target u, a, du;

  template <int kCols>
  struct Early {
    typename PackedDropout<kDrop>::Key key;
    uint4 u[Staged<kCols>::kParts];
  };
  template <int kCount>
  __device__ void before(int row, int col, float (&d)[kCount], Early<2 * kCount>& early) const {
    begin_with_zero(d);
    u.prefetch_rows<2 * kCount>(row, col);
    early.key = drop.key();
    const typename Staged<2 * kCount>::Place from(u, row, col);
#pragma unroll
    for (int part = 0; part < Staged<2 * kCount>::kParts; ++part) early.u[part] = from.get(part);
  }
  template <int kCount>
  __device__ void after(int row, int col, const float (&d)[kCount], Early<2 * kCount>& early,
                        uint32_t stage) const {
    using Eights = Staged<2 * kCount>;
    Eights::put(stage, d);
    const uint32_t products = Eights::first(stage);
    const uint64_t block = Eights::first_block(u, row, col);
    typename Eights::Place from(u, row, col), to_a(a, row, col), to_du(du, row, col);
#pragma unroll 2 / Eights::kParts
    for (int n = 0; n < Eights::kSteps; ++n, to_a.next(), to_du.next()) {
      uint4 next[Eights::kParts];
      from.next();
#pragma unroll
      for (int part = 0; part < Eights::kParts; ++part) {
        next[part] = n + 1 < Eights::kSteps ? from.get(part) : make_uint4(0, 0, 0, 0);
      }
#pragma unroll
      for (int part = 0; part < Eights::kParts; ++part) {
        float x[kVector], da[kVector];
        unpack(early.u[part], x);
        unpack(Eights::get(products, n, part), da);
#pragma unroll
        for (int k = 0; k < kVector; ++k) {
          const Normal at = normal.at(x[k]);
          da[k] *= gelu_derivative(x[k], at);
          x[k] = gelu(x[k], at);
        }
        const uint4 kept = drop.kept(early.key, Eights::block(block, u, n, part));
        to_du.put(part, drop.masked(packed(da), kept));
        to_a.put(part, drop.masked(packed(x), kept));
        early.u[part] = next[part];
      }
    }
  }
};

}  // namespace gf::cuda::hopper
