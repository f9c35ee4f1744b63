#include "product_plan.h"

#include <algorithm>
#include <array>

namespace gf::cuda {
namespace {

constexpr int kProposals = 16;
constexpr int32_t kMostParts = 64;

cudaDataType_t type_of(const Operand& m) {
  return m.element == sizeof(float) ? CUDA_R_32F : CUDA_R_16BF;
}

template <class T>
T config(const cublasLtMatmulAlgo_t& algo, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  T value = {};
  size_t written = 0;
  // What an algorithm does not know stays 0.
  cublasLtMatmulAlgoConfigGetAttribute(&algo, attribute, &value, sizeof(value), &written);
  return value;
}

ProductAlgorithm described(const cublasLtMatmulAlgo_t& algo,
                           const cublasLtMatmulHeuristicResult_t& found, int32_t rank) {
  ProductAlgorithm a = {algo, rank};
  a.parts = std::max(1, config<int32_t>(algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM));
  a.waves = found.wavesCount;
  a.workspace = found.workspaceSize;
  a.tile = static_cast<int32_t>(config<uint32_t>(algo, CUBLASLT_ALGO_CONFIG_TILE_ID));
  a.stages = static_cast<int32_t>(config<uint32_t>(algo, CUBLASLT_ALGO_CONFIG_STAGES_ID));
  a.cluster = config<uint16_t>(algo, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID);
  a.reduction = config<uint32_t>(algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
  return a;
}

}  // namespace

// ---- The rule ----------------------------------------------------------------------------------

// The first that fills as much of the chip as the length of the inner dimension deserves: a [256,
// 256] gradient is four tiles, and uncut each would walk over thousands of rows. Three quarters of
// a wave are wanted from K = 24576 on and fewer below, where adding up the parts costs more than
// the walk.
std::optional<size_t> choose_algorithm(const std::vector<ProductAlgorithm>& offered,
                                       const ProductSize& size) {
  const float wanted = std::min(0.75f, static_cast<float>(size.inner) / 32768.0f);
  for (size_t i = 0; i < offered.size(); ++i) {
    if (offered[i].waves >= wanted) return i;
  }
  return std::nullopt;
}

void ProductPlan::choose() {
  std::vector<ProductAlgorithm> offered = proposals();
  if (offered.empty()) return;
  std::optional<size_t> choice = choose_algorithm(offered, size_);
  if (!choice) {
    const size_t uncut = offered.size();
    for (size_t i = 0; i < uncut; ++i) {
      for (int32_t parts = 2; parts <= kMostParts; parts *= 2) {
        const std::optional<ProductAlgorithm> made = cut(offered[i], parts);
        if (!made) break;
        offered.push_back(*made);
      }
    }
    choice = choose_algorithm(offered, size_);
  }
  chosen_ = offered[choice.value_or(0)];
}

// ---- What there is to choose from --------------------------------------------------------------

std::vector<ProductAlgorithm> ProductPlan::proposals() const {
  std::array<cublasLtMatmulHeuristicResult_t, kProposals> found = {};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      gpu_.cublas(), description_.get(), first_.get(), second_.get(), out_.get(), out_.get(),
      preference_.get(), kProposals, found.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  std::vector<ProductAlgorithm> usable;
  for (int i = 0; i < count; ++i) {
    if (found[i].state != CUBLAS_STATUS_SUCCESS) continue;
    if (found[i].workspaceSize > Gpu::kWorkspaceBytes) continue;
    usable.push_back(described(found[i].algo, found[i], i));
  }
  return usable;
}

std::optional<ProductAlgorithm> ProductPlan::cut(const ProductAlgorithm& algorithm,
                                                 int32_t parts) const {
  constexpr uint32_t kScheme = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  cublasLtMatmulAlgo_t algo = algorithm.algo;
  if (cublasLtMatmulAlgoConfigSetAttribute(&algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts,
                                           sizeof(parts)) != CUBLAS_STATUS_SUCCESS ||
      cublasLtMatmulAlgoConfigSetAttribute(&algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &kScheme,
                                           sizeof(kScheme)) != CUBLAS_STATUS_SUCCESS) {
    return std::nullopt;
  }
  cublasLtMatmulHeuristicResult_t found = {};
  const cublasStatus_t status =
      cublasLtMatmulAlgoCheck(gpu_.cublas(), description_.get(), first_.get(), second_.get(),
                              out_.get(), out_.get(), &algo, &found);
  if (status != CUBLAS_STATUS_SUCCESS || found.workspaceSize > Gpu::kWorkspaceBytes) {
    return std::nullopt;
  }
  return described(algo, found, algorithm.rank);
}

// ---- What cuBLASLt is told ---------------------------------------------------------------------

ProductPlan::ProductPlan(Gpu& gpu, const Operand& a, const Operand& b, const Operand& c,
                         const void* bias)
    : gpu_(gpu), size_{c.rows, c.cols, a.transposed ? a.rows : a.cols} {
  describe(a, b, c, bias);
  state_preferences(a, b, c, bias);
  first_ = layout_of(b);
  second_ = layout_of(a);
  out_ = layout_of(c);
  choose();
}

template <class T>
void ProductPlan::set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check(cublasLtMatmulDescSetAttribute(description_.get(), attribute, &value, sizeof(value)),
        "cublasLtMatmulDescSetAttribute");
}

template <class T>
void ProductPlan::prefer(cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference_.get(), attribute, &value, sizeof(value)),
        "cublasLtMatmulPreferenceSetAttribute");
}

// cuBLASLt counts in columns: a stored row-major matrix is, to it, the transpose.
ProductPlan::Layout ProductPlan::layout_of(const Operand& m) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, type_of(m), static_cast<uint64_t>(m.cols),
                                   static_cast<uint64_t>(m.rows), m.ld),
        "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

void ProductPlan::describe(const Operand& a, const Operand& b, const Operand& c, const void* bias) {
  cublasLtMatmulDesc_t created = nullptr;
  check(cublasLtMatmulDescCreate(&created, CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "cublasLtMatmulDescCreate");
  description_.reset(created);
  // c^T = b^T a^T, so b comes first.
  set(CUBLASLT_MATMUL_DESC_TRANSA, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_TRANSB, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (bias != nullptr) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(type_of(c)));
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
}

void ProductPlan::state_preferences(const Operand& a, const Operand& b, const Operand& c,
                                    const void* bias) {
  cublasLtMatmulPreference_t created = nullptr;
  check(cublasLtMatmulPreferenceCreate(&created), "cublasLtMatmulPreferenceCreate");
  preference_.reset(created);
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{Gpu::kWorkspaceBytes});
  // A product whose inner dimension is cut leaves its parts in fp32 in the workspace and a second
  // kernel adds them up, in an order of its own: the same bits every time. Adding in place makes
  // no promise of the order, and both it and parts of the output's type would round each part to
  // bf16. A product that is not cut is allowed by any mask.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(b.data));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(a.data));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(c.data));
  // No preference names the bias; it is read with the vectors that d is written with.
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, std::min(alignment(c.data), alignment(bias)));
}

// ---- The product -------------------------------------------------------------------------------

void ProductPlan::run(const ProductAlgorithm& algorithm, const Operand& a, const Operand& b,
                      const Operand& c, bool accumulate, const void* bias) {
  if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  const float alpha = 1.0f, beta = accumulate ? 1.0f : 0.0f;
  check(cublasLtMatmul(gpu_.cublas(), description_.get(), &alpha, b.data, first_.get(), a.data,
                       second_.get(), &beta, c.data, out_.get(), c.data, out_.get(),
                       &algorithm.algo, gpu_.workspace(), Gpu::kWorkspaceBytes, gpu_.stream()),
        "cublasLtMatmul");
}

}  // namespace gf::cuda
