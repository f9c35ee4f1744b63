#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/mat.h"
#include "base/thread_pool.h"

namespace gf {

// Rows go to the threads in parts of this many, whatever the number of threads.
inline constexpr int64_t kPartRows = 32;

inline int64_t row_parts(int64_t rows) {
  return (rows + kPartRows - 1) / kPartRows;
}

// Calls body(part, first, end) for every part of the rows.
template <class Body>
void for_row_parts(ThreadPool& pool, int64_t rows, const Body& body) {
  pool.run(row_parts(rows), [&](int64_t part) {
    const int64_t first = part * kPartRows;
    body(part, first, std::min(first + kPartRows, rows));
  });
}

// Sums over rows of one or more vectors, in an order that no schedule changes: every part of the
// rows adds to vectors of its own, and write() adds those up.
class ColumnSums {
 public:
  // `memory` holds the parts' vectors, all zero at first.
  ColumnSums(std::vector<float>& memory, int64_t rows, int64_t vectors, int64_t cols)
      : memory_(memory), parts_(row_parts(rows)), vectors_(vectors), cols_(cols) {
    memory_.assign(static_cast<size_t>(parts_ * vectors_ * cols_), 0.0f);
  }

  float* of_part(int64_t part, int64_t vector) const {
    return memory_.data() + (part * vectors_ + vector) * cols_;
  }

  void write(int64_t vector, const Mat& sum) const {
    std::copy_n(of_part(0, vector), cols_, sum.data);
    for (int64_t part = 1; part < parts_; ++part) {
      const float* __restrict from = of_part(part, vector);
      float* __restrict to = sum.data;
      for (int64_t j = 0; j < cols_; ++j) to[j] += from[j];
    }
  }

 private:
  std::vector<float>& memory_;
  int64_t parts_, vectors_, cols_;
};

}  // namespace gf
