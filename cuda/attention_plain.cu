#include "attention_plain.h"

#include "kernel.cuh"

// Blocks of 256 threads take 64 queries (or keys) of one head and 64 columns of the result, and go
// through the keys (or queries) 64 at a time. Scores are made anew for every 64 columns, so that no
// head is too wide. A thread owns rows y + 16 i and columns x + 16 j of every 64 x 64 tile: with
// rows of an odd number of words no two lanes meet in a bank. Reading shared memory, half a word a
// multiplication, is what bounds it: at B * H = 128, T = 128, head size 64 about 15 us forward, 60
// us backward.

namespace gf::cuda {
namespace {

constexpr int kTile = 64, kDepth = 32, kSide = 16, kOwn = kTile / kSide;
constexpr int kThreads = kSide * kSide;

template <class T>
struct Operands {
  const T* qkv;
  T* out;  // read only by the backward pass
  float* lse;
  const T* dout;
  T* dqkv;
  int64_t qkv_ld, out_ld, lse_ld, dout_ld, dqkv_ld;
  int64_t width, size;  // D, D / H
  int length, heads;
  float scale;  // 1 / sqrt(size)
};

// A head's columns in the rows of its sequence.
template <class T>
struct View {
  T* data;
  int64_t ld;
};

template <class T>
struct Head {
  View<const T> q, k, v, dout;
  View<T> out, dq, dk, dv;
  View<float> lse;  // one column

  __device__ explicit Head(const Operands<T>& o) {
    const unsigned heads = static_cast<unsigned>(o.heads), head = blockIdx.x % heads;
    const int64_t row = static_cast<int64_t>(blockIdx.x / heads) * o.length;
    const int64_t column = head * o.size;
    const T* const qkv = o.qkv + row * o.qkv_ld + column;
    T* const dqkv = o.dqkv + row * o.dqkv_ld + column;
    q = {qkv, o.qkv_ld}, k = {qkv + o.width, o.qkv_ld}, v = {qkv + 2 * o.width, o.qkv_ld};
    dq = {dqkv, o.dqkv_ld}, dk = {dqkv + o.width, o.dqkv_ld};
    dv = {dqkv + 2 * o.width, o.dqkv_ld};
    out = {o.out + row * o.out_ld + column, o.out_ld};
    dout = {o.dout + row * o.dout_ld + column, o.dout_ld};
    lse = {o.lse + row * o.lse_ld + head, o.lse_ld};
  }
};

struct Shared {
  float a[kTile][kDepth + 1], b[kTile][kDepth + 1];  // operands of a product
  float p[kTile][kTile + 1], ds[kTile][kTile + 1];
  float x[kTile][kTile + 1];          // what p or ds weight
  float max[kTile], sum[kTile];       // forward: of the scores so far
  float correction[kTile];            // forward: of what was summed with an older maximum
  float row_lse[kTile], mean[kTile];  // backward: lse and rowsum(dout out) of the queries
};

// A thread's part of a 64 x 64 tile.
using Part = float[kOwn][kOwn];

__device__ __forceinline__ int part_row(int i) {
  return static_cast<int>(threadIdx.x) / kSide + kSide * i;
}
__device__ __forceinline__ int part_column(int j) {
  return static_cast<int>(threadIdx.x) % kSide + kSide * j;
}

// Elements outside of [rows, columns] are 0.
template <int kColumns, class T>
__device__ void load_block(const View<T>& from, int first_row, int rows, int64_t first_column,
                           int64_t columns, float (&to)[kTile][kColumns + 1]) {
#pragma unroll 4
  for (int i = threadIdx.x; i < kTile * kColumns; i += kThreads) {
    const int row = i / kColumns, column = i % kColumns;
    const bool valid = first_row + row < rows && first_column + column < columns;
    to[row][column] =
        valid ? to_float(from.data[(first_row + row) * from.ld + first_column + column]) : 0.0f;
  }
}

// c += a b over `depth` columns of a and rows of b; b is transposed where that is how it stands.
template <int kDepthOf, bool kTransposed, int kA, int kB>
__device__ __forceinline__ void add_product(const float (&a)[kTile][kA],
                                            const float (&b)[kTile][kB], Part& c) {
#pragma unroll 8
  for (int k = 0; k < kDepthOf; ++k) {
    float left[kOwn], right[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      left[i] = a[part_row(i)][k];
      right[i] = kTransposed ? b[part_column(i)][k] : b[k][part_column(i)];
    }
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
#pragma unroll
      for (int j = 0; j < kOwn; ++j) c[i][j] += left[i] * right[j];
    }
  }
}

// c = a b^T of 64 rows of a and 64 of b.
template <class T>
__device__ void row_products(Shared& s, const Operands<T>& o, const View<const T>& a, int a_first,
                             const View<const T>& b, int b_first, Part& c) {
#pragma unroll
  for (int i = 0; i < kOwn * kOwn; ++i) c[i / kOwn][i % kOwn] = 0;
  for (int64_t column = 0; column < o.size; column += kDepth) {
    __syncthreads();
    load_block<kDepth>(a, a_first, o.length, column, o.size, s.a);
    load_block<kDepth>(b, b_first, o.length, column, o.size, s.b);
    __syncthreads();
    add_product<kDepth, true>(s.a, s.b, c);
  }
}

template <class T>
__device__ void store_block(const Operands<T>& o, const View<T>& to, int first_row,
                            int64_t first_column, float factor, const Part& c) {
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    const int row = first_row + part_row(i);
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      const int64_t column = first_column + part_column(j);
      if (row < o.length && column < o.size) {
        to.data[row * to.ld + column] = from_float<T>(c[i][j] * factor);
      }
    }
  }
}

// ---- Forward ---------------------------------------------------------------------------------

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) {
    x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, lane));
  }
  return x;
}

// Online softmax of the rows of s.p: scores become e^(score - max) for the maximum so far, which is
// finite, since every query sees the first key.
__device__ void soften(Shared& s) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int row = static_cast<int>(threadIdx.x) / kWarp; row < kTile; row += kThreads / kWarp) {
    const float low = s.p[row][lane], high = s.p[row][lane + kWarp], old = s.max[row];
    const float max = fmaxf(old, warp_max(fmaxf(low, high)));
    const float p_low = expf(low - max), p_high = expf(high - max);
    const float sum = warp_sum(p_low + p_high), correction = expf(old - max);
    s.p[row][lane] = p_low;
    s.p[row][lane + kWarp] = p_high;
    __syncwarp();
    if (lane == 0) {
      s.max[row] = max;
      s.sum[row] = s.sum[row] * correction + sum;
      s.correction[row] = correction;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1) plain_attention_kernel(const Operands<T> o) {
  wait_for_inputs();
  extern __shared__ __align__(16) unsigned char memory[];
  Shared& s = *reinterpret_cast<Shared*>(memory);
  const Head<T> head(o);
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * kTile;
  const int64_t column = static_cast<int64_t>(blockIdx.z) * kTile;
  if (threadIdx.x < kTile) s.max[threadIdx.x] = -INFINITY, s.sum[threadIdx.x] = 0;
  Part out = {};
  for (int key = 0; key <= first; key += kTile) {
    Part c;
    row_products(s, o, head.q, first, head.k, key, c);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        const bool seen = key + part_column(j) <= first + part_row(i);
        s.p[part_row(i)][part_column(j)] = seen ? c[i][j] * o.scale : -INFINITY;
      }
    }
    load_block<kTile>(head.v, key, o.length, column, o.size, s.x);
    __syncthreads();
    soften(s);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kOwn * kOwn; ++i) {
      out[i / kOwn][i % kOwn] *= s.correction[part_row(i / kOwn)];
    }
    add_product<kTile, false>(s.p, s.x, out);
  }
#pragma unroll
  for (int i = 0; i < kOwn * kOwn; ++i) out[i / kOwn][i % kOwn] /= s.sum[part_row(i / kOwn)];
  store_block(o, head.out, first, column, 1.0f, out);
  const int row = first + static_cast<int>(threadIdx.x);
  if (threadIdx.x < kTile && row < o.length && column == 0) {
    head.lse.data[row * head.lse.ld] = s.max[threadIdx.x] + logf(s.sum[threadIdx.x]);
  }
}

// ---- Backward --------------------------------------------------------------------------------

template <class T>
__device__ void make_row_stats(Shared& s, const Operands<T>& o, const Head<T>& head, int first) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int i = static_cast<int>(threadIdx.x) / kWarp; i < kTile; i += kThreads / kWarp) {
    const int row = first + i;
    float sum = 0;
    if (row < o.length) {
      for (int64_t j = lane; j < o.size; j += kWarp) {
        sum += to_float(head.dout.data[row * head.dout.ld + j]) *
               to_float(head.out.data[row * head.out.ld + j]);
      }
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      s.mean[i] = sum;
      s.row_lse[i] = row < o.length ? head.lse.data[row * head.lse.ld] : 0.0f;
    }
  }
}

// s.p = P and s.ds = P (dout v^T - rowsum(dout out)) of 64 queries and 64 keys, or their
// transposes. s.row_lse and s.mean are those of the queries.
template <bool kKeysAreRows, class T>
__device__ void score_gradients(Shared& s, const Operands<T>& o, const Head<T>& head, int query,
                                int key) {
  Part c, dp;
  if constexpr (kKeysAreRows) {
    row_products(s, o, head.k, key, head.q, query, c);
    row_products(s, o, head.v, key, head.dout, query, dp);
  } else {
    row_products(s, o, head.q, query, head.k, key, c);
    row_products(s, o, head.dout, query, head.v, key, dp);
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      const int row = part_row(i), column = part_column(j);
      const int q = kKeysAreRows ? column : row, k = kKeysAreRows ? row : column;
      const bool seen = key + k <= query + q && query + q < o.length;
      const float p = seen ? expf(c[i][j] * o.scale - s.row_lse[q]) : 0.0f;
      s.p[row][column] = p;
      s.ds[row][column] = p * (dp[i][j] - s.mean[q]);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1) plain_dq_kernel(const Operands<T> o) {
  wait_for_inputs();
  extern __shared__ __align__(16) unsigned char memory[];
  Shared& s = *reinterpret_cast<Shared*>(memory);
  const Head<T> head(o);
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * kTile;
  const int64_t column = static_cast<int64_t>(blockIdx.z) * kTile;
  make_row_stats(s, o, head, first);
  Part dq = {};
  for (int key = 0; key <= first; key += kTile) {
    score_gradients<false>(s, o, head, first, key);
    load_block<kTile>(head.k, key, o.length, column, o.size, s.x);
    __syncthreads();
    add_product<kTile, false>(s.ds, s.x, dq);
  }
  store_block(o, head.dq, first, column, o.scale, dq);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1) plain_dkv_kernel(const Operands<T> o) {
  wait_for_inputs();
  extern __shared__ __align__(16) unsigned char memory[];
  Shared& s = *reinterpret_cast<Shared*>(memory);
  const Head<T> head(o);
  const int first = static_cast<int>(blockIdx.y) * kTile;
  const int64_t column = static_cast<int64_t>(blockIdx.z) * kTile;
  Part dk = {}, dv = {};
  for (int query = first; query < o.length; query += kTile) {
    make_row_stats(s, o, head, query);
    score_gradients<true>(s, o, head, query, first);
    load_block<kTile>(head.dout, query, o.length, column, o.size, s.x);
    __syncthreads();
    add_product<kTile, false>(s.p, s.x, dv);
    __syncthreads();
    load_block<kTile>(head.q, query, o.length, column, o.size, s.x);
    __syncthreads();
    add_product<kTile, false>(s.ds, s.x, dk);
  }
  store_block(o, head.dk, first, column, o.scale, dk);
  store_block(o, head.dv, first, column, 1.0f, dv);
}

// ---- Launch ----------------------------------------------------------------------------------

template <class T>
Operands<T> operands(const Act& qkv, const Act& out, const Mat& lse, int64_t length,
                     int64_t heads) {
  Operands<T> o = {};
  o.qkv = data<T>(qkv), o.qkv_ld = qkv.ld;
  o.out = data<T>(out), o.out_ld = out.ld;
  o.lse = lse.data, o.lse_ld = lse.ld;
  o.width = out.cols, o.size = out.cols / heads;
  o.length = static_cast<int>(length), o.heads = static_cast<int>(heads);
  o.scale = 1.0f / std::sqrt(static_cast<float>(o.size));
  return o;
}

template <class T>
void run(Gpu& gpu, const char* what, void (*kernel)(const Operands<T>), int64_t sequences,
         const Operands<T>& o) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared)),
        what);
  const dim3 blocks(static_cast<unsigned>(sequences * o.heads),
                    static_cast<unsigned>(ceil_div(o.length, kTile)),
                    static_cast<unsigned>(ceil_div(o.size, kTile)));
  launch(gpu, what, kernel, blocks, kThreads, sizeof(Shared), o);
}

}  // namespace

void plain_attention(Gpu& gpu, const Act& qkv, int64_t sequences, int64_t length, int64_t heads,
                     const Act& out, const Mat& lse) {
  with_element(qkv, [&](auto element) {
    using T = decltype(element);
    run(gpu, "plain_attention", plain_attention_kernel<T>, sequences,
        operands<T>(qkv, out, lse, length, heads));
  });
}

void plain_attention_backward(Gpu& gpu, const Act& dout, const Act& qkv, const Act& out,
                              const Mat& lse, int64_t sequences, int64_t length, int64_t heads,
                              const Act& dqkv) {
  with_element(qkv, [&](auto element) {
    using T = decltype(element);
    Operands<T> o = operands<T>(qkv, out, lse, length, heads);
    o.dout = data<T>(dout), o.dout_ld = dout.ld;
    o.dqkv = data<T>(dqkv), o.dqkv_ld = dqkv.ld;
    run(gpu, "plain_dq", plain_dq_kernel<T>, sequences, o);
    run(gpu, "plain_dkv", plain_dkv_kernel<T>, sequences, o);
  });
}

}  // namespace gf::cuda
