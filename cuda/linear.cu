#include "linear.h"

#include "column_sums.h"
#include "cuda_ops.h"
#include "hopper.h"
#include "kernel.cuh"

namespace gf::cuda {
namespace {

// Which of the products go to cuda/hopper.h where it takes their operands, by the shape of the
// result and the length of the sums; the others go to cuBLASLt.
struct Shape {
  int64_t rows, cols, inner;
};

// y = x weight^T + bias: [M, out] over in.
bool prefers_hopper_linear(const Shape&) {
  return true;
}
// dx = dy weight: [M, in] over out.
bool prefers_hopper_dx(const Shape&) {
  return true;
}
// dweight = dy^T x: [out, in] over M. cuBLASLt needs a pass over dy for the bias.
bool prefers_hopper_gradient(const Shape&) {
  return true;
}

}  // namespace

void linear_gradient(Gpu& gpu, Products& products, const Act& dy, const Act& x,
                     const Linear& layer) {
  const Mat &weight = layer.weight.grad, &bias = layer.bias.grad;
  if (hopper::takes(gpu, dy, x) && prefers_hopper_gradient({weight.rows, weight.cols, dy.rows})) {
    return hopper::weight_gradient(gpu, dy, x, weight, bias.data, false);
  }
  products.run(transposed(dy), x, weight);
  column_sums(gpu, dy, bias.data);
}

void CudaOps::linear(const Act& x, const Linear& layer, const Act& y) {
  const Range range(device_, "linear");
  const Act& weight = layer.weight.act;
  if (hopper::takes(gpu_, x, weight) && is_vectored(y) &&
      prefers_hopper_linear({y.rows, y.cols, x.cols})) {
    return hopper::linear(gpu_, x, weight, layer.bias.value.data, y);
  }
  products_->run(x, transposed(weight), y, layer.bias);
}

void CudaOps::linear_backward(const Act& dy, const Act& x, const Linear& layer, const Act& dx,
                              bool accumulate) {
  const Range range(device_, "linear_backward");
  gpu_.beside([&] { linear_gradient(gpu_, *products_, dy, x, layer); });
  const Act& weight = layer.weight.act;
  if (hopper::takes(gpu_, dy, weight) && is_vectored(dx) &&
      prefers_hopper_dx({dx.rows, dx.cols, dy.cols})) {
    return hopper::linear_dx(gpu_, dy, weight, dx, accumulate);
  }
  products_->run(dy, weight, dx, accumulate);
}

}  // namespace gf::cuda
