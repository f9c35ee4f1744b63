#pragma once

// Attention in bf16 on tensor cores, never holding scores in global memory (Dao,
// "FlashAttention-2", arXiv 2307.08691), for head sizes 32, 64 and 128. What the kernels share
// stands here: tiles in shared memory, products of tiles by mma.sync m16n8k16, and how they are
// read and written.

#include "kernel.cuh"

namespace gf::cuda::flash {

// Operands of the kernels; element (row, column) of a matrix stands at row * ld + column. What a
// pass does not use is null.
struct Operands {
  const bf16* qkv;
  bf16* out;  // read only by the backward pass
  float* lse;
  const bf16* dout;
  bf16* dqkv;
  float2* stats;  // [heads of all sequences, whole blocks of rows], see RowStats
  int64_t qkv_ld, out_ld, lse_ld, dout_ld, dqkv_ld;
  int64_t width;                       // D
  int sequences, length, heads, size;  // size: D / H
  float scale;                         // 1 / sqrt(head size)
};

bool supports(int64_t head_size);
void forward(Gpu& gpu, const Operands& operands);
void backward(Gpu& gpu, const Operands& operands);

// ---- One head --------------------------------------------------------------------------------

inline constexpr int kBlock = 64;  // rows of queries or keys taken at a time

inline int blocks_of(int length) {
  return (length + kBlock - 1) / kBlock;
}

// Where the head of a block of threads (blockIdx.x) begins.
struct Head {
  int64_t row, column;
  int index;

  __device__ explicit Head(const Operands& o) {
    const unsigned heads = static_cast<unsigned>(o.heads);
    row = static_cast<int64_t>(blockIdx.x / heads) * o.length;
    index = static_cast<int>(blockIdx.x % heads);
    column = index * static_cast<int64_t>(o.size);
  }

  // third: 0 of the queries, 1 of the keys, 2 of the values.
  __device__ const bf16* qkv(const Operands& o, int third) const {
    return o.qkv + row * o.qkv_ld + third * o.width + column;
  }
  __device__ bf16* dqkv(const Operands& o, int third) const {
    return o.dqkv + row * o.dqkv_ld + third * o.width + column;
  }
  __device__ bf16* out(const Operands& o) const { return o.out + row * o.out_ld + column; }
  __device__ const bf16* dout(const Operands& o) const { return o.dout + row * o.dout_ld + column; }
  __device__ float* lse(const Operands& o, int i) const {
    return o.lse + (row + i) * o.lse_ld + index;
  }
};

// ---- Tiles in shared memory ------------------------------------------------------------------

__device__ __forceinline__ void copy16(uint32_t to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// All but the last `kPending` groups of copies of this thread have arrived.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Rows of kWidth bf16. The 16-byte chunks of a row are permuted by its number, so that one chunk of
// eight rows, which is what ldmatrix reads at a time, meets every bank once.
template <int kWidth>
struct Tile {
  static constexpr int kChunks = kWidth / 8;
  static constexpr int kBytes = kBlock * kWidth * 2;  // of a block of rows
  uint32_t base;

  __device__ __forceinline__ uint32_t at(int row, int chunk) const {
    const int permuted = kChunks >= 8 ? chunk ^ (row & 7) : chunk ^ (row >> 1 & 3);
    return base + static_cast<uint32_t>(row * kChunks + permuted) * 16;
  }
  // The tile that begins `row` rows, a multiple of 8, further.
  __device__ __forceinline__ Tile from_row(int row) const {
    return {base + static_cast<uint32_t>(row * kWidth * 2)};
  }
};

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Begins to copy `rows` rows from `first` on; those from `count` on become 0.
template <int kWidth>
__device__ __forceinline__ void load_tile(Tile<kWidth> tile, const bf16* from, int64_t ld,
                                          int first, int rows, int count) {
  constexpr int kChunks = Tile<kWidth>::kChunks;
  for (int i = threadIdx.x; i < rows * kChunks; i += blockDim.x) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool valid = first + row < count;
    copy16(tile.at(row, chunk), from + (valid ? (first + row) * ld : 0) + chunk * 8, valid);
  }
}

// ---- Fragments -------------------------------------------------------------------------------
// Lane 4 g + t holds of a 16 x 8 accumulator elements (g, 2 t), (g, 2 t + 1), (g + 8, 2 t),
// (g + 8, 2 t + 1).

using Fragment = uint32_t[4];

__device__ __forceinline__ int lane() {
  return static_cast<int>(threadIdx.x) % kWarp;
}

template <bool kTransposed>
__device__ __forceinline__ void load_matrices(uint32_t address, Fragment& f) {
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3])
                 : "r"(address)
                 : "memory");
  }
}

// Four 8 x 8 matrices of the 16 x 16 square at (row, 8 chunk), lower rows second: the left operand
// of a product over columns, or, transposed, the right operand of one over rows.
template <bool kTransposed, int kWidth>
__device__ __forceinline__ void load_rows_first(Tile<kWidth> tile, int row, int chunk,
                                                Fragment& f) {
  load_matrices<kTransposed>(
      tile.at(row + (lane() & 7) + (lane() >> 3 & 1) * 8, chunk + (lane() >> 4)), f);
}
// The same with the columns on the right second: the right operand of a product over columns, or,
// transposed, the left operand of one over rows.
template <bool kTransposed, int kWidth>
__device__ __forceinline__ void load_columns_first(Tile<kWidth> tile, int row, int chunk,
                                                   Fragment& f) {
  load_matrices<kTransposed>(
      tile.at(row + (lane() & 7) + (lane() >> 4) * 8, chunk + (lane() >> 3 & 1)), f);
}

// c += a b, a [16, 16], b [16, 8].
__device__ __forceinline__ void multiply(float (&c)[4], const Fragment& a, uint32_t b0,
                                         uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// s = a b^T: the first 16 rows of a, the first 8 kTiles of b.
template <int kSize, int kTiles>
__device__ __forceinline__ void scores(Tile<kSize> a, Tile<kSize> b, float (&s)[kTiles][4]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int k = 0; k < kSize / 16; ++k) {
    Fragment left;
    load_rows_first<false>(a, 0, 2 * k, left);
#pragma unroll
    for (int n = 0; n < kTiles / 2; ++n) {
      Fragment right;
      load_columns_first<false>(b, 16 * n, 2 * k, right);
      multiply(s[2 * n], left, right[0], right[1]);
      multiply(s[2 * n + 1], left, right[2], right[3]);
    }
  }
}

// An accumulator [16, 8 kTiles] in bf16 is the left operand of the next product as it stands.
template <int kTiles>
struct Weights {
  uint32_t pair[kTiles][2];  // rows g and g + 8

  __device__ __forceinline__ void set(int n, const float (&x)[4]) {
    pair[n][0] = pack2(x[0], x[1]);
    pair[n][1] = pack2(x[2], x[3]);
  }
};

// c += weights b: the first 8 kTiles rows of b.
template <int kSize, int kTiles>
__device__ __forceinline__ void add_weighted(const Weights<kTiles>& weights, Tile<kSize> b,
                                             float (&c)[kSize / 8][4]) {
#pragma unroll
  for (int k = 0; k < kTiles / 2; ++k) {
    const Fragment left = {weights.pair[2 * k][0], weights.pair[2 * k][1],
                           weights.pair[2 * k + 1][0], weights.pair[2 * k + 1][1]};
#pragma unroll
    for (int n = 0; n < kSize / 16; ++n) {
      Fragment right;
      load_rows_first<true>(b, 16 * k, 2 * n, right);
      multiply(c[2 * n], left, right[0], right[1]);
      multiply(c[2 * n + 1], left, right[2], right[3]);
    }
  }
}

// ---- Results ---------------------------------------------------------------------------------

// Four lanes that hold word `lane` of items 0 to 3 come to hold item `lane`, words 0 to 3.
__device__ __forceinline__ void transpose_quad(uint32_t (&w)[4]) {
#pragma unroll
  for (int step = 1; step <= 2; step *= 2) {
    const bool high = lane() & step;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int i = step == 1 ? 2 * j : j;
      const uint32_t other = __shfl_xor_sync(0xFFFFFFFFu, high ? w[i] : w[i + step], step);
      (high ? w[i] : w[i + step]) = other;
    }
  }
}

// One store of 16 bytes, where the compiler would make four.
__device__ __forceinline__ void store16(bf16* to, const uint32_t (&w)[4]) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(w[0]), "r"(w[1]),
               "r"(w[2]), "r"(w[3])
               : "memory");
}

// Rows 0 to 15 of `to` = c times the factor of rows g or g + 8; those from `count` on are left as
// they are. 16 bytes a lane, 32 adjacent ones a row.
template <int kTiles>
__device__ __forceinline__ void store_rows(const float (&c)[kTiles][4], float factor_low,
                                           float factor_high, bf16* to, int64_t ld, int count) {
  const int t = lane() % 4, row = lane() / 4 + t / 2 * 8;
#pragma unroll
  for (int n = 0; n < kTiles; n += 2) {
    uint32_t w[4] = {pack2(c[n][0] * factor_low, c[n][1] * factor_low),
                     pack2(c[n + 1][0] * factor_low, c[n + 1][1] * factor_low),
                     pack2(c[n][2] * factor_high, c[n][3] * factor_high),
                     pack2(c[n + 1][2] * factor_high, c[n + 1][3] * factor_high)};
    transpose_quad(w);
    if (row < count) store16(to + row * ld + (n + t % 2) * 8, w);
  }
}

}  // namespace gf::cuda::flash
