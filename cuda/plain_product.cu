#include "plain_product.h"

#include <algorithm>

#include "kernel.cuh"

namespace gf::cuda {
namespace {

constexpr int kTile = 64, kInner = 16, kThreads = 256, kEach = 4;
constexpr int kSide = kTile / kEach;  // threads along a side of the tile

// Element (i, j) of an operand as it enters the product lies at data[i * row + j * col].
template <class T>
struct Strided {
  T* data;
  int64_t row, col;

  __device__ T& at(int64_t i, int64_t j) const { return data[i * row + j * col]; }
};

template <class T>
Strided<T> strided(const Operand& m) {
  T* data = static_cast<T*>(m.data);
  if (m.transposed) return {data, 1, m.ld};
  return {data, m.ld, 1};
}

struct Sizes {
  int64_t rows, cols, inner;
};

// tile[k][i] = m(first_i + i, first_k + k), 0 outside of [i_end, k_end]. Neighbouring threads
// follow the direction in which the elements are neighbours.
template <class T>
__device__ void load_tile(const Strided<const T>& m, int64_t first_i, int64_t i_end,
                          int64_t first_k, int64_t k_end, float (*tile)[kTile + 1]) {
  const bool along_k = m.col == 1;
  for (int e = threadIdx.x; e < kTile * kInner; e += kThreads) {
    const int i = along_k ? e / kInner : e % kTile, k = along_k ? e % kInner : e / kTile;
    const bool inside = first_i + i < i_end && first_k + k < k_end;
    tile[k][i] = inside ? to_float(m.at(first_i + i, first_k + k)) : 0.0f;
  }
}

// A block makes a tile of 64 x 64, a thread 4 x 4 elements of it that lie 16 apart.
template <class T, class C>
__global__ void __launch_bounds__(kThreads)
    plain_product_kernel(Strided<const T> a, Strided<const T> b_transposed, Strided<C> c,
                         Sizes sizes, bool accumulate, const float* bias) {
  wait_for_inputs();
  __shared__ float a_tile[kInner][kTile + 1], b_tile[kInner][kTile + 1];
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kTile;
  const int64_t first_col = static_cast<int64_t>(blockIdx.y) * kTile;
  const int x = threadIdx.x % kSide, y = threadIdx.x / kSide;
  float sum[kEach][kEach] = {};
  for (int64_t k = 0; k < sizes.inner; k += kInner) {
    load_tile(a, first_row, sizes.rows, k, sizes.inner, a_tile);
    load_tile(b_transposed, first_col, sizes.cols, k, sizes.inner, b_tile);
    __syncthreads();
#pragma unroll
    for (int step = 0; step < kInner; ++step) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) {
          sum[i][j] += a_tile[step][y + i * kSide] * b_tile[step][x + j * kSide];
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int64_t row = first_row + y + i * kSide, col = first_col + x + j * kSide;
      if (row >= sizes.rows || col >= sizes.cols) continue;
      C& out = c.at(row, col);
      float value = sum[i][j];
      if (bias != nullptr) value += bias[col];
      if (accumulate) value += to_float(out);
      out = from_float<C>(value);
    }
  }
}

template <class T, class C>
void plain_product_of(Gpu& gpu, const Operand& a, const Operand& b, const Operand& c,
                      bool accumulate, const float* bias) {
  const dim3 blocks(static_cast<unsigned>(ceil_div(c.rows, kTile)),
                    static_cast<unsigned>(ceil_div(c.cols, kTile)));
  const Sizes sizes = {c.rows, c.cols, a.transposed ? a.rows : a.cols};
  launch(gpu, "plain_product", plain_product_kernel<T, C>, blocks, kThreads, 0, strided<const T>(a),
         strided<const T>(transposed(b)), strided<C>(c), sizes, accumulate, bias);
}

// Bytes: c once each way. A block takes 8 rows of 32 columns at a time.
template <class C>
__global__ void add_bias_kernel(C* c, int64_t rows, int64_t cols, int64_t ld, const float* bias) {
  wait_for_inputs();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  for (int64_t j = threadIdx.x; j < cols; j += kWarp) {
    c[row * ld + j] = from_float<C>(to_float(c[row * ld + j]) + bias[j]);
  }
}

template <class C>
void add_bias_of(Gpu& gpu, const Operand& c, const float* bias) {
  constexpr int kRows = 8;
  launch(gpu, "add_bias", add_bias_kernel<C>, static_cast<unsigned>(ceil_div(c.rows, kRows)),
         dim3(kWarp, kRows), 0, static_cast<C*>(c.data), c.rows, c.cols, c.ld, bias);
}

}  // namespace

void plain_product(Gpu& gpu, const Operand& a, const Operand& b, const Operand& c, bool accumulate,
                   const float* bias) {
  if (a.element == sizeof(float)) {
    plain_product_of<float, float>(gpu, a, b, c, accumulate, bias);
  } else if (c.element == sizeof(float)) {
    plain_product_of<bf16, float>(gpu, a, b, c, accumulate, bias);
  } else {
    plain_product_of<bf16, bf16>(gpu, a, b, c, accumulate, bias);
  }
}

void add_bias(Gpu& gpu, const Operand& c, const float* bias) {
  if (c.element == sizeof(float)) {
    add_bias_of<float>(gpu, c, bias);
  } else {
    add_bias_of<bf16>(gpu, c, bias);
  }
}

}  // namespace gf::cuda
