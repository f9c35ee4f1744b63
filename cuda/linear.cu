#include "column_sums.h"
#include "cuda_ops.h"
#include "products.h"

namespace gf::cuda {

void CudaOps::linear(const Act& x, const Linear& layer, const Act& y) {
  const Range range(device_, "linear");
  products_->run(x, transposed(layer.weight.act), y, layer.bias);
}

void CudaOps::linear_backward(const Act& dy, const Act& x, const Linear& layer, const Act& dx,
                              bool accumulate) {
  const Range range(device_, "linear_backward");
  gpu_.beside([&] {
    products_->run(transposed(dy), x, layer.weight.grad);
    column_sums(gpu_, dy, layer.bias.grad.data);
  });
  products_->run(dy, layer.weight.act, dx, accumulate);
}

}  // namespace gf::cuda
