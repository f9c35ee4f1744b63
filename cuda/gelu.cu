#include <algorithm>

#include "cuda_ops.h"
#include "gelu.cuh"
#include "hopper.h"
#include "kernel.cuh"
#include "products.h"

namespace gf::cuda {
namespace {

constexpr int kThreads = 256;

// A matrix as the elementwise kernels see it.
template <class T>
struct View {
  T* data;
  int64_t ld;
};

// Blocks of 256 threads, the next power of two of a row's vectors side by side: no thread divides
// to learn its place.
struct Grid {
  dim3 blocks, threads;

  explicit Grid(const Act& m) {
    const int64_t vectors = ceil_div(m.cols, kVector);
    unsigned side = 1;
    while (side < kThreads && side < vectors) side *= 2;
    threads = dim3(side, kThreads / side);
    blocks = dim3(static_cast<unsigned>(ceil_div(m.rows, threads.y)));
  }
};

// a = dropout(gelu(u)). Bytes at 4096 x 1024 in bf16: 8 MB in, 8 MB out, 4 us. Operations: about
// 250 instructions a vector of eight; 4 million of a warp, 4.5 us at four a cycle on 132
// multiprocessors.
template <bool kWhole, class T>
__global__ void __launch_bounds__(kThreads)
    gelu_kernel(View<const T> u, int64_t rows, int64_t cols, Dropout dropout, View<T> a) {
  wait_for_inputs();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int64_t step = static_cast<int64_t>(blockDim.x) * kVector;
  for (int64_t j = static_cast<int64_t>(threadIdx.x) * kVector; j < cols; j += step) {
    float v[kVector], factor[kVector];
    load<kWhole>(u.data + row * u.ld + j, cols - j, v);
    dropout8<kWhole>(dropout, row * cols + j, factor);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = gelu(v[i], normal_for<T>(v[i])) * factor[i];
    store<kWhole>(a.data + row * a.ld + j, cols - j, v);
  }
}

// On entry du holds da = dy weight; du = dropout'(da) gelu'(u), and u becomes a = dropout(gelu(u)).
// Both take the normal distribution at u, which the compiler evaluates once. Bytes at 4096 x 1024
// in bf16: 16 MB in, 16 MB out, 8 us; operations as above and 60 more, 6 us.
template <bool kWhole, class T>
__global__ void __launch_bounds__(kThreads)
    gelu_backward_kernel(View<T> u, int64_t rows, int64_t cols, Dropout dropout, View<T> du) {
  wait_for_inputs();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int64_t step = static_cast<int64_t>(blockDim.x) * kVector;
  for (int64_t j = static_cast<int64_t>(threadIdx.x) * kVector; j < cols; j += step) {
    float v[kVector], da[kVector], factor[kVector];
    load<kWhole>(u.data + row * u.ld + j, cols - j, v);
    load<kWhole>(du.data + row * du.ld + j, cols - j, da);
    dropout8<kWhole>(dropout, row * cols + j, factor);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const Normal n = normal_for<T>(v[i]);
      da[i] *= gelu_derivative(v[i], n) * factor[i];
      v[i] = gelu(v[i], n) * factor[i];
    }
    store<kWhole>(u.data + row * u.ld + j, cols - j, v);
    store<kWhole>(du.data + row * du.ld + j, cols - j, da);
  }
}

template <class T>
View<T> view(const Act& m) {
  return {data<T>(m), m.ld};
}

template <bool kWhole, class T>
void gelu_of(Gpu& gpu, const Act& u, const Dropout& dropout, const Act& a) {
  const Grid grid(u);
  launch(gpu, "gelu", gelu_kernel<kWhole, T>, grid.blocks, grid.threads, 0, view<const T>(u),
         u.rows, u.cols, dropout, view<T>(a));
}

template <bool kWhole, class T>
void gelu_backward_of(Gpu& gpu, const Act& u, const Dropout& dropout, const Act& du) {
  const Grid grid(u);
  launch(gpu, "gelu_backward", gelu_backward_kernel<kWhole, T>, grid.blocks, grid.threads, 0,
         view<T>(u), u.rows, u.cols, dropout, view<T>(du));
}

void gelu_backward(Gpu& gpu, const Act& u, const Dropout& dropout, const Act& du) {
  with_element(u, [&](auto element) {
    using T = decltype(element);
    if (is_vectored(u) && is_vectored(du)) {
      gelu_backward_of<true, T>(gpu, u, dropout, du);
    } else {
      gelu_backward_of<false, T>(gpu, u, dropout, du);
    }
  });
}

}  // namespace

void CudaOps::linear_gelu(const Act& x, const Linear& layer, const Dropout& dropout, const Act& u,
                          const Act& a) {
  const Range range(device_, "linear_gelu");
  if (hopper::takes(gpu_, x, layer.weight.act) && is_vectored(layer.bias.value) && is_vectored(u) &&
      is_vectored(a)) {
    return hopper::linear_gelu(gpu_, x, layer.weight.act, layer.bias.value.data, dropout, u, a);
  }
  products_->run(x, transposed(layer.weight.act), u, layer.bias);
  with_element(u, [&](auto element) {
    using T = decltype(element);
    if (is_vectored(u) && is_vectored(a)) {
      gelu_of<true, T>(gpu_, u, dropout, a);
    } else {
      gelu_of<false, T>(gpu_, u, dropout, a);
    }
  });
}

void CudaOps::gelu_linear_backward(const Act& dy, const Act& u, const Dropout& dropout,
                                   const Linear& layer, const Act& du) {
  const Range range(device_, "gelu_linear_backward");
  if (hopper::takes(gpu_, dy, layer.weight.act) && is_vectored(u) && is_vectored(du)) {
    hopper::gelu_backward(gpu_, dy, layer.weight.act, u, dropout, u, du);
  } else {
    products_->run(dy, layer.weight.act, du);
    gelu_backward(gpu_, u, dropout, du);
  }
  parameter_gradients(dy, u, layer, layer.bias.grad.data);
}

}  // namespace gf::cuda
