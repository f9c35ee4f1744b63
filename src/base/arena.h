#pragma once

#include <cstdint>
#include <memory>

#include "base/mat.h"
#include "device.h"

namespace gf {

// One allocation carved into matrices. A layout is a function of an Arena and runs twice: once over
// an empty one, which only counts the bytes (all that gf-train --dry-run does), and once over
// memory of that size.
//
//   Arena measured;                layout(measured);
//   Arena arena(device, measured.bytes(), "activations");   layout(arena);
class Arena {
 public:
  // Bytes: suits vector loads, cache lines and what product libraries wish for.
  static constexpr size_t kAlignment = 256;

  Arena() = default;
  Arena(std::shared_ptr<Device> device, size_t bytes, const char* what);
  // The next so many bytes of another, which must outlive it: for a layout of their own.
  Arena(Arena& whole, size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  Mat mat(int64_t rows, int64_t cols);
  Act act(int64_t rows, int64_t cols, int32_t element_bytes);
  template <class T>
  T* array(int64_t count) {
    return reinterpret_cast<T*>(take(static_cast<size_t>(count) * sizeof(T)));
  }

  // What the layout needs: the furthest that it has reached.
  size_t bytes() const { return peak_; }
  // What there is; 0 while measuring.
  size_t size() const { return size_; }

  // Gives up all that was taken since mark() returned this place: matrices whose lives do not
  // overlap share it. rewind(0) begins another layout.
  size_t mark() const { return used_; }
  void rewind(size_t mark) { used_ = mark; }

 private:
  std::byte* take(size_t bytes);

  std::shared_ptr<Device> device_;  // null where nothing is owned
  std::byte* base_ = nullptr;       // null while measuring
  size_t size_ = 0;
  size_t used_ = 0;
  size_t peak_ = 0;
};

}  // namespace gf
