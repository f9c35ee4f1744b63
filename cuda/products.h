#pragma once

#include <array>
#include <map>
#include <memory>

#include "base/mat.h"
#include "gpu.h"

namespace gf::cuda {

class ProductPlan;

// A matrix as it enters or leaves a product: fp32 or bf16 by its element size.
struct Operand {
  void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t ld = 0;
  int32_t element = sizeof(float);
  bool transposed = false;  // stands for the transpose of what is stored

  Operand(const Act& a) : data(a.data), rows(a.rows), cols(a.cols), ld(a.ld), element(a.element) {}
  Operand(const Mat& m) : data(m.data), rows(m.rows), cols(m.cols), ld(m.ld) {}
};

inline Operand transposed(Operand m) {
  m.transposed = !m.transposed;
  return m;
}

// Matrix products through cuBLASLt, accumulated in fp32 (never TF32). The plan of a shape is made
// once, by cuBLASLt's heuristics and never by timing: the same shape runs the same kernel, and so
// gives the same bits, every time.
class Products {
 public:
  explicit Products(Gpu& gpu);
  ~Products();

  // c = a b + bias, bias [columns of c] fp32 or null; with accumulate c = c + a b + bias. a and b
  // are of one element size; c is fp32 or of theirs, and not transposed.
  void run(const Operand& a, const Operand& b, const Operand& c, bool accumulate = false,
           const float* bias = nullptr);
  // c = a b + bias, the bias taken at c's precision: never a second pass over c, which an fp32 bias
  // on a bf16 c costs.
  void run(const Operand& a, const Operand& b, const Operand& c, const Param& bias);

 private:
  using Key = std::array<int64_t, 16>;

  void multiply(const Operand& a, const Operand& b, const Operand& c, bool accumulate,
                const void* bias_as_c, const float* bias);
  ProductPlan& plan(const Operand& a, const Operand& b, const Operand& c, bool accumulate,
                    const void* bias);

  Gpu& gpu_;
  std::map<Key, std::unique_ptr<ProductPlan>> plans_;
};

}  // namespace gf::cuda
