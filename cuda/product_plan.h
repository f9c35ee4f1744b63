#pragma once

#include <cublasLt.h>

#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "products.h"

namespace gf::cuda {

// One way to make a product, as cuBLASLt describes it.
struct ProductAlgorithm {
  cublasLtMatmulAlgo_t algo = {};
  int32_t rank = 0;        // among cuBLASLt's proposals; 0 is its own choice
  int32_t parts = 1;       // that the inner dimension is cut into, added up by a second kernel
  float waves = 0;         // its blocks, in multiples of what the chip runs at once
  size_t workspace = 0;    // bytes
  int32_t tile = 0;        // cublasLtMatmulTile_t
  int32_t stages = 0;      // cublasLtMatmulStages_t
  int32_t cluster = 0;     // cublasLtClusterShape_t
  uint32_t reduction = 0;  // cublasLtReductionScheme_t
};

struct ProductSize {
  int64_t rows, cols, inner;
};

// The rule that chooses: the index of the algorithm to take, or none where none will do. It is
// asked with cuBLASLt's proposals, in its order; if none of them will do, once more with their cuts
// behind them, in the same order and each into ever more parts. If none of these will do either,
// the first of all is taken.
std::optional<size_t> choose_algorithm(const std::vector<ProductAlgorithm>& offered,
                                       const ProductSize& size);

// A shape of product as cuBLASLt is told of it, and the algorithm for it.
class ProductPlan {
 public:
  // bias: of c's type, or null. Of the pointers only the alignment counts.
  ProductPlan(Gpu& gpu, const Operand& a, const Operand& b, const Operand& c, const void* bias);

  // None where cuBLASLt has no kernel for the layout.
  const std::optional<ProductAlgorithm>& chosen() const { return chosen_; }

  // c = a b + bias, with accumulate c = c + a b + bias.
  void run(const ProductAlgorithm& algorithm, const Operand& a, const Operand& b, const Operand& c,
           bool accumulate, const void* bias);

  // cuBLASLt's proposals, its own choice first.
  std::vector<ProductAlgorithm> proposals() const;
  // The algorithm with the inner dimension cut, if it can be.
  std::optional<ProductAlgorithm> cut(const ProductAlgorithm& algorithm, int32_t parts) const;

 private:
  template <auto destroy>
  struct Destroy {
    template <class T>
    void operator()(T* description) const {
      destroy(description);
    }
  };
  template <class Handle, auto destroy>
  using Owner = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;
  using Layout = Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
  using Description = Owner<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
  using Preference = Owner<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value);
  template <class T>
  void prefer(cublasLtMatmulPreferenceAttributes_t attribute, const T& value);
  static Layout layout_of(const Operand& m);
  void describe(const Operand& a, const Operand& b, const Operand& c, const void* bias);
  void state_preferences(const Operand& a, const Operand& b, const Operand& c, const void* bias);
  void choose();

  Gpu& gpu_;
  ProductSize size_;
  Description description_;
  Preference preference_;
  Layout first_, second_, out_;  // of b, a, c
  std::optional<ProductAlgorithm> chosen_;
};

// The largest power of two that divides the address, 16 at most: what vector loads and TMA ask for.
inline uint32_t alignment(const void* data) {
  const auto address = reinterpret_cast<uintptr_t>(data) | 16;
  return static_cast<uint32_t>(address & (~address + 1));
}

}  // namespace gf::cuda
