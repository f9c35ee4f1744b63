#include "cpu/gemm.h"

#include <cblas.h>

namespace gf {

Factor Factor::rows(int64_t first, int64_t count) const {
  return {is_transposed ? block(mat, 0, mat.rows, first, count) : mat.row_range(first, count),
          is_transposed};
}

Factor Factor::columns(int64_t first, int64_t count) const {
  return {is_transposed ? mat.row_range(first, count) : block(mat, 0, mat.rows, first, count),
          is_transposed};
}

void gemm(float alpha, const Factor& a, const Factor& b, float beta, const Mat& c) {
  const auto form = [](const Factor& f) { return f.is_transposed ? CblasTrans : CblasNoTrans; };
  const auto size = [](int64_t n) { return static_cast<blasint>(n); };
  cblas_sgemm(CblasRowMajor, form(a), form(b), size(c.rows), size(c.cols), size(a.inner_of_left()),
              alpha, a.mat.data, size(a.mat.ld), b.mat.data, size(b.mat.ld), beta, c.data,
              size(c.ld));
}

// Tiles of 256 x 256 keep 9 tenths of OpenBLAS's speed at the inner lengths that occur here.
// Results of few of them are cut finer, columns first because that costs less, to have work for
// threads.
Tiling::Tiling(const Mat& c) : c_(c), rows_(256), cols_(256) {
  constexpr int64_t kFewestTiles = 4, kShortest = 128;
  const auto cut = [&] {
    down_ = (c.rows + rows_ - 1) / rows_;
    across_ = (c.cols + cols_ - 1) / cols_;
    return down_ * across_;
  };
  while (cut() < kFewestTiles && rows_ > kShortest) (cols_ > kShortest ? cols_ : rows_) /= 2;
}

Tile Tiling::tile(int64_t i) const {
  const int64_t row = i / across_ * rows_, col = i % across_ * cols_;
  return {block(c_, row, std::min(rows_, c_.rows - row), col, std::min(cols_, c_.cols - col)), row,
          col};
}

void gemm(ThreadPool& pool, const Factor& a, const Factor& b, float beta, const Mat& c) {
  const Tiling tiling(c);
  pool.run(tiling.count(), [&](int64_t i) {
    const Tile tile = tiling.tile(i);
    gemm(1.0f, a.rows(tile.row, tile.mat.rows), b.columns(tile.col, tile.mat.cols), beta, tile.mat);
  });
}

}  // namespace gf
