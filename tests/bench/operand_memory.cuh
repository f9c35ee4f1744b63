#pragma once

// Where bench_products takes its operands from.

#include "kernel.cuh"

namespace gf::cuda::bench {

static __global__ void fill_kernel(bf16* to, int64_t count, float scale) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    uint32_t bits = static_cast<uint32_t>(i) * 2654435761u;
    bits = (bits ^ bits >> 16) * 0x85EBCA6Bu;
    bits = (bits ^ bits >> 13) * 0xC2B2AE35u;
    bits ^= bits >> 16;
    to[i] = __float2bfloat16_rn(scale * (static_cast<float>(bits >> 8) * 0x1p-23f - 1.0f));
  }
}

// Inputs are random: zeros would draw less power and so run at a higher clock. Results go
// elsewhere.
struct Memory {
  static constexpr int64_t kElements = int64_t{32768} * 1024;  // the largest
  static constexpr int64_t kBytes = kElements * sizeof(bf16);

  explicit Memory(Gpu& gpu)
      : x(input(gpu, 1.0f)), w(input(gpu, 0.0625f)), y(output(gpu)), z(output(gpu)) {
    bias.value = {reinterpret_cast<float*>(output(gpu)), 1, 1, 1};
    bias.act = {input(gpu, 1.0f), 1, 1, 1, sizeof(bf16)};
    dropout = {dropout_threshold(0.1f), 1, reinterpret_cast<StepState*>(output(gpu))};
  }

  static std::byte* output(Gpu& gpu) {
    auto* to = static_cast<std::byte*>(gpu.allocate(kBytes, "a matrix"));
    check(cudaMemsetAsync(to, 0, kBytes, gpu.stream()), "cudaMemsetAsync");
    return to;
  }
  static std::byte* input(Gpu& gpu, float scale) {
    auto* to = static_cast<std::byte*>(gpu.allocate(kBytes, "a matrix"));
    fill_kernel<<<1024, 256, 0, gpu.stream()>>>(reinterpret_cast<bf16*>(to), kElements, scale);
    check(cudaGetLastError(), "fill_kernel");
    return to;
  }

  std::byte *x, *w, *y, *z;
  Param bias;
  Dropout dropout;
};

inline Act bf16_matrix(std::byte* data, int64_t rows, int64_t cols, int64_t ld = 0) {
  return {data, rows, cols, ld == 0 ? cols : ld, sizeof(bf16)};
}
inline Mat fp32_matrix(std::byte* data, int64_t rows, int64_t cols) {
  return {reinterpret_cast<float*>(data), rows, cols, cols};
}

}  // namespace gf::cuda::bench
