#pragma once

#include <algorithm>

#include "base/thread_pool.h"
#include "cpu/view.h"

namespace gf {

// A factor of a product: a matrix as it is or transposed.
struct Factor {
  Mat mat;
  bool is_transposed;

  Factor(const Mat& m) : Factor(m, false) {}
  Factor(const Mat& m, bool transposed) : mat(m), is_transposed(transposed) {}

  int64_t inner_of_left() const { return is_transposed ? mat.rows : mat.cols; }
  // The rows first .. first + count - 1 of this factor, and the columns likewise.
  Factor rows(int64_t first, int64_t count) const;
  Factor columns(int64_t first, int64_t count) const;
};

inline Factor transposed(const Mat& mat) {
  return {mat, true};
}

// c = alpha a b + beta c, on the calling thread.
void gemm(float alpha, const Factor& a, const Factor& b, float beta, const Mat& c);

// Part of a product's result and where it stands there.
struct Tile {
  Mat mat;
  int64_t row;
  int64_t col;
};

// How a result is cut into tiles: a function of its shape alone.
class Tiling {
 public:
  explicit Tiling(const Mat& c);
  int64_t count() const { return down_ * across_; }
  Tile tile(int64_t i) const;

 private:
  Mat c_;
  int64_t rows_, cols_;  // of a tile
  int64_t down_, across_;
};

// c = a b + beta c by tiles shared among the threads.
void gemm(ThreadPool& pool, const Factor& a, const Factor& b, float beta, const Mat& c);

// c = a b + bias in every row, likewise; finish(tile) is called on each tile while it is still in
// the cache.
template <class Finish>
void gemm_bias(ThreadPool& pool, const Factor& a, const Factor& b, const float* bias, const Mat& c,
               const Finish& finish) {
  const Tiling tiling(c);
  pool.run(tiling.count(), [&](int64_t i) {
    const Tile tile = tiling.tile(i);
    const Mat& part = tile.mat;
    // BLAS would fill a result with zeros and add to it: so it may as well begin with the bias.
    for (int64_t r = 0; r < part.rows; ++r) std::copy_n(bias + tile.col, part.cols, part.row(r));
    gemm(1.0f, a.rows(tile.row, part.rows), b.columns(tile.col, part.cols), 1.0f, part);
    finish(tile);
  });
}

}  // namespace gf
