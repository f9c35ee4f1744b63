#include "base/arena.h"

#include <algorithm>

#include "base/error.h"

namespace gf {

Arena::Arena(std::shared_ptr<Device> device, size_t bytes, const char* what)
    : device_(std::move(device)),
      base_(static_cast<std::byte*>(device_->allocate(bytes, what))),
      size_(bytes) {}

Arena::Arena(Arena& whole, size_t bytes) : base_(whole.take(bytes)), size_(bytes) {}

Arena::~Arena() {
  if (device_) device_->release(base_);
}

Mat Arena::mat(int64_t rows, int64_t cols) {
  return {array<float>(rows * cols), rows, cols, cols};
}

Act Arena::act(int64_t rows, int64_t cols, int32_t element_bytes) {
  return {take(static_cast<size_t>(rows * cols * element_bytes)), rows, cols, cols, element_bytes};
}

std::byte* Arena::take(size_t bytes) {
  const size_t offset = used_;
  used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  peak_ = std::max(peak_, used_);
  if (!base_) return nullptr;
  if (used_ > size_)
    throw_error(GF_ERROR_INTERNAL, "arena of %zu bytes asked for %zu", size_, used_);
  return base_ + offset;
}

}  // namespace gf
