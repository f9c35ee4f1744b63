#include "column_sums.h"
#include "cuda_ops.h"
#include "kernel.cuh"
#include "products.h"

namespace gf::cuda {

void CudaOps::linear(const Act& x, const Linear& layer, const Act& y) {
  const Range range(device_, "linear");
  // cuBLASLt is as fast or faster at every wider shape of the models (tests/bench/bench_products).
  constexpr int64_t kNarrow = 64;
  if (y.cols <= kNarrow && hopper::takes(gpu_, x, layer.weight.act) && is_vectored(y)) {
    return hopper::linear(gpu_, x, layer.weight.act, layer.bias.value.data, y);
  }
  products_->run(x, transposed(layer.weight.act), y, layer.bias);
}

void CudaOps::linear_backward(const Act& dy, const Act& x, const Linear& layer, const Act& dx,
                              bool accumulate) {
  const Range range(device_, "linear_backward");
  parameter_gradients(dy, x, layer, layer.bias.grad.data);
  products_->run(dy, layer.weight.act, dx, accumulate);
}

// ---- Gradients of parameters -------------------------------------------------------------------

// One by one they are too small for the chip; cuda/hopper_gradient.cu says by how much.
void CudaOps::parameter_gradients(const Act& dy, const Act& x, const Linear& layer, float* bias) {
  if (hopper::takes(gpu_, dy, x)) {
    gradients_.push_back({dy, x, layer.weight.grad, bias});
    if (gradients_.size() == hopper::kMostGradients) make_gradients();
    return;
  }
  gpu_.beside([&] {
    products_->run(transposed(dy), x, layer.weight.grad);
    if (bias != nullptr) column_sums(gpu_, dy, bias);
  });
}

void CudaOps::make_gradients() {
  if (gradients_.empty()) return;
  const Range range(device_, "weight_gradients");
  gpu_.beside([&] { hopper::weight_gradients(gpu_, gradients_); });
  gradients_.clear();
}

void CudaOps::settle() {
  make_gradients();
  gpu_.settle();
}

void CudaOps::join() {
  make_gradients();
  gpu_.join();
}

void CudaOps::forget() {
  gradients_.clear();
  gpu_.forget();
}

}  // namespace gf::cuda
