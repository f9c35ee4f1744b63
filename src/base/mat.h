#pragma once

#include <cstddef>
#include <cstdint>

namespace gf {

// A matrix somewhere in device memory: a view, never an owner. Batch and time are flattened into
// rows: row b * T + t is token t of sequence b. Row i begins at data + i * ld.
struct Mat {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t ld = 0;

  int64_t size() const { return rows * cols; }
  float* row(int64_t i) const { return data + i * ld; }
  Mat first_rows(int64_t count) const { return row_range(0, count); }
  Mat row_range(int64_t first, int64_t count) const { return {row(first), count, cols, ld}; }
};

// The same for operands and results of matrix products, which are stored at the device's product
// precision: fp32 on the CPU, fp32 or bf16 on a GPU. Only a device looks inside.
struct Act {
  std::byte* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t ld = 0;
  int32_t element = sizeof(float);  // bytes

  int64_t size() const { return rows * cols; }
  Act row_range(int64_t first, int64_t count) const {
    return {data + first * ld * element, count, cols, ld, element};
  }
  Act columns(int64_t first, int64_t count) const {
    return {data + first * element, rows, count, ld, element};
  }
};

// A trainable tensor: its fp32 values, a copy of them at product precision (the values themselves
// where that is fp32), and its fp32 gradient. All three are contiguous; vectors have one row.
struct Param {
  Mat value;
  Act act;
  Mat grad;
};

}  // namespace gf
