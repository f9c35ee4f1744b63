#pragma once

#include "base/mat.h"

namespace gf {

// The CPU's product precision is fp32, so an Act is a Mat there.
inline Mat f32(const Act& act) {
  return {reinterpret_cast<float*>(act.data), act.rows, act.cols, act.ld};
}

inline Mat block(const Mat& mat, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  return {mat.row(row) + col, rows, cols, mat.ld};
}

}  // namespace gf
