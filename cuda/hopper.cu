#include "hopper.h"

#include <cudaTypedefs.h>

#include <string>
#include <type_traits>

#include "hopper_epilogue.cuh"
#include "hopper_gemm.cuh"
#include "hopper_stream.cuh"

// At M = 4096 the products with GELU move 18 and 26 MB, of which most stays in the L2 cache, and do
// 2 GFLOP: 3 us at 700 TFLOP/s. An element takes 27 and 36 instructions (GELU 11 and 17, dropout 7
// and 8, the product 5): 3.8 and 5.1 us at four of a warp a cycle. At M = 32768 memory is what
// bounds them, 50 and 72 us at 3 TB/s, of which the instructions take 30 and 41. A narrow linear
// layer (out = 32) takes 1.9 us, cuBLASLt 3.0 us.

namespace gf::cuda::hopper {

CUtensorMap tensor_map(const Act& m, int box_rows) {
  const auto encode =
      driver_function<PFN_cuTensorMapEncodeTiled_v12000>("cuTensorMapEncodeTiled", 12000);
  if (encode == nullptr) throw Error(GF_ERROR_DEVICE, "the driver has no cuTensorMapEncodeTiled");
  CUtensorMap map;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(m.cols), static_cast<cuuint64_t>(m.rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(m.ld) * sizeof(bf16)};
  const cuuint32_t box[2] = {kSlab, static_cast<cuuint32_t>(box_rows)}, steps[2] = {1, 1};
  const CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, m.data, sizes, strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw Error(GF_ERROR_DEVICE, "cuTensorMapEncodeTiled: error " + std::to_string(status));
  }
  return map;
}

bool takes(const Gpu& gpu, const Act& a, const Act& b) {
  const auto fits = [](const Act& m) {
    return m.element == sizeof(bf16) && m.ld % kVector == 0 && m.rows > 0 && m.cols > 0 &&
           reinterpret_cast<uintptr_t>(m.data) % 16 == 0;
  };
  return gpu.architecture() == 90 && fits(a) && fits(b);
}

namespace {

template <class T, class Epilogue>
void run_stream(Gpu& gpu, const char* what, const Act& a, const Act& b, int64_t cols,
                const Epilogue& epilogue) {
  const int64_t tiles = ceil_div(cols, T::kCols);
  launch_stream<T>(gpu, what, a, b, a.rows, cols, tiles,
                   std::max<int64_t>(1, gpu.multiprocessors() / tiles), epilogue);
}

// Calls body(integral constant) with whether there is any.
template <class Body>
void with_dropout(const Dropout& dropout, const Body& body) {
  if (dropout.threshold > 0) {
    body(std::true_type());
  } else {
    body(std::false_type());
  }
}

}  // namespace

void linear(Gpu& gpu, const Act& x, const Act& weight, const float* bias, const Act& y) {
  const StoreLinear epilogue = {bias, target(y)};
  if (y.cols <= 32) {
    launch_product<Tile<64, 32, 4, 2>>(gpu, "linear", x, weight, x.rows, y.cols, x.cols, epilogue);
  } else {
    launch_product<Tile<128, 64, 4, 2>>(gpu, "linear", x, weight, x.rows, y.cols, x.cols, epilogue);
  }
}

void linear_gelu(Gpu& gpu, const Act& x, const Act& weight, const float* bias,
                 const Dropout& dropout, const Act& u, const Act& a) {
  with_dropout(dropout, [&](auto drops) {
    const StoreGelu<drops> epilogue = {bias, PackedDropout<drops>(dropout), ScaledNormal(dropout),
                                       target(u), target(a)};
    if (x.cols <= kStreamInner) {
      run_stream<Stream<128, 2, 1, false, 4>>(gpu, "linear_gelu", x, weight, weight.rows, epilogue);
    } else {
      launch_product<Tile<128, 128, 6, 1>>(gpu, "linear_gelu", x, weight, x.rows, weight.rows,
                                           x.cols, epilogue);
    }
  });
}

void gelu_backward(Gpu& gpu, const Act& dy, const Act& weight, const Act& u, const Dropout& dropout,
                   const Act& a, const Act& du) {
  with_dropout(dropout, [&](auto drops) {
    const StoreGeluBackward<drops> epilogue = {PackedDropout<drops>(dropout), ScaledNormal(dropout),
                                               target(u), target(a), target(du)};
    if (dy.cols <= kStreamInner) {
      run_stream<Stream<128, 2, 1, true, 4>>(gpu, "gelu_backward", dy, weight, weight.cols,
                                             epilogue);
    } else {
      launch_product<Tile<128, 128, 6, 1, false, true>>(gpu, "gelu_backward", dy, weight, dy.rows,
                                                        weight.cols, dy.cols, epilogue);
    }
  });
}

}  // namespace gf::cuda::hopper
