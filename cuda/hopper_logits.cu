#include "hopper.h"
#include "hopper_epilogue.cuh"
#include "hopper_stream.cuh"

// At R = 4096, V = 30522, D = 256: 64 GFLOP, 90 us at 709 TFLOP/s; tokens are read once (15.6 MB),
// h by every block (270 MB from L2); 125 million exponentials, 16 of a multiprocessor in a cycle:
// 34 us beside the products. Measured on one H100: 100 us.

namespace gf::cuda::hopper {
namespace {

// A tile's width is one of two, so that for both vocabularies (30522 = 131.6 * 232,
// 50257 = 261.8 * 192) each of the 132 multiprocessors gets whole tiles of its own.
constexpr int kWide = 232, kNarrow = 192, kMultiprocessors = 132;

bool is_wide(int64_t vocabulary) {
  const auto cost = [=](int64_t width) {
    return ceil_div(ceil_div(vocabulary, width), kMultiprocessors) * width;
  };
  return cost(kWide) < cost(kNarrow);
}

struct SumExp {
  static constexpr bool kStaged = false;
  const float* shift;
  int rows, vocabulary;
  float* sums;  // [tiles, rows]

  // Of both rows, times -log2(e).
  template <int kCols>
  struct Early {
    float shift[2];
  };

  template <int kCount>
  __device__ void before(int row, int, float (&d)[kCount], Early<2 * kCount>& early) const {
    begin_with_zero(d);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      early.shift[half] = row + 8 * half < rows ? -kLog2e * shift[row + 8 * half] : 0.0f;
    }
  }

  template <int kCount>
  __device__ void after(int row, int col, float (&d)[kCount], const Early<2 * kCount>& early,
                        uint32_t) const {
    constexpr int kCols = 2 * kCount, kTiles = kCols / 8;
    const int quad = static_cast<int>(threadIdx.x) % 4;
    if (col + kCols > vocabulary) drop_past_end(col + 2 * quad, d);
    float sum[2] = {};
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        d[4 * j + i] = exp2_approx(fmaf(d[4 * j + i], kLog2e, early.shift[i / 2]));
        sum[i / 2] += d[4 * j + i];
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      sum[half] += __shfl_xor_sync(0xFFFFFFFFu, sum[half], 1);
      sum[half] += __shfl_xor_sync(0xFFFFFFFFu, sum[half], 2);
      const int i = row + 8 * half;
      if (quad == 0 && i < rows) sums[static_cast<int64_t>(col / kCols) * rows + i] = sum[half];
    }
  }

 private:
  // Logits of no token: their exponential is 0.
  template <int kCount>
  __device__ void drop_past_end(int first, float (&d)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (first + i / 4 * 8 + i % 2 >= vocabulary) d[i] = -INFINITY;
    }
  }
};

template <int kCols>
void run(Gpu& gpu, const Act& h, const Act& tokens, const float* shift, float* sums) {
  const SumExp epilogue = {shift, static_cast<int>(h.rows), static_cast<int>(tokens.rows), sums};
  if (h.cols <= kStreamInner) {
    const int64_t tiles = ceil_div(tokens.rows, kCols), blocks = gpu.multiprocessors();
    launch_stream<Stream<kCols, 3, 1>>(gpu, "exp_sums", h, tokens, h.rows, tokens.rows, blocks,
                                       std::max<int64_t>(1, blocks / tiles), epilogue);
  } else {
    launch_product<Tile<128, kCols, 4, 1>>(gpu, "exp_sums", h, tokens, h.rows, tokens.rows, h.cols,
                                           epilogue);
  }
}

}  // namespace

int64_t exp_sums_tiles(int64_t vocabulary) {
  return ceil_div(vocabulary, is_wide(vocabulary) ? kWide : kNarrow);
}

void exp_sums(Gpu& gpu, const Act& h, const Act& tokens, const float* shift, float* sums) {
  if (is_wide(tokens.rows)) {
    run<kWide>(gpu, h, tokens, shift, sums);
  } else {
    run<kNarrow>(gpu, h, tokens, shift, sums);
  }
}

}  // namespace gf::cuda::hopper
