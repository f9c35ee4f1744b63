#include "products.h"

#include <algorithm>
#include <type_traits>

#include "plain_product.h"

namespace gf::cuda {
namespace {

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
using Candidate = cublasLtMatmulHeuristicResult_t;

constexpr int kCandidates = 16;

cudaDataType_t type_of(const Operand& m) {
  return m.element == sizeof(float) ? CUDA_R_32F : CUDA_R_16BF;
}

int64_t inner_size(const Operand& a) {
  return a.transposed ? a.rows : a.cols;
}

// The largest power of two that divides the address, 16 at most: what vector loads and TMA ask for.
uint32_t alignment(const void* data) {
  const auto address = reinterpret_cast<uintptr_t>(data) | 16;
  return static_cast<uint32_t>(address & (~address + 1));
}

// cuBLASLt counts in columns: a stored row-major matrix is, to it, the transpose.
Layout layout_of(const Operand& m) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, type_of(m), static_cast<uint64_t>(m.cols),
                                   static_cast<uint64_t>(m.rows), m.ld),
        "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

template <class T>
void set(const Description& description, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check(cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof(value)),
        "cublasLtMatmulDescSetAttribute");
}

template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute,
         const T& value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
        "cublasLtMatmulPreferenceSetAttribute");
}

Description describe(const Operand& a, const Operand& b, const Operand& c, const void* bias) {
  cublasLtMatmulDesc_t created = nullptr;
  check(cublasLtMatmulDescCreate(&created, CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "cublasLtMatmulDescCreate");
  Description description(created);
  // c^T = b^T a^T, so b comes first.
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (bias != nullptr) {
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(type_of(c)));
    set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  return description;
}

Preference prefer(const Operand& a, const Operand& b, const Operand& c, const void* bias) {
  cublasLtMatmulPreference_t created = nullptr;
  check(cublasLtMatmulPreferenceCreate(&created), "cublasLtMatmulPreferenceCreate");
  Preference preference(created);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{Gpu::kWorkspaceBytes});
  // A product whose inner dimension is cut leaves its parts in fp32 in the workspace and a second
  // kernel adds them up, in an order of its own: the same bits every time. Adding in place makes
  // no promise of the order, and both it and parts of the output's type would round each part to
  // bf16. A product that is not cut is allowed by any mask.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(b.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(a.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(c.data));
  // No preference names the bias; it is read with the vectors that d is written with.
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
      std::min(alignment(c.data), alignment(bias)));
  return preference;
}

}  // namespace

struct Products::Plan {
  Description description;
  Layout first, second, out;  // of b, a, c
  Candidate chosen = {};
  bool supported = false;

  void choose(Gpu& gpu, const Preference& preference, int64_t inner);
  bool cut(Gpu& gpu, float wanted_waves, Candidate& candidate) const;
};

// The first candidate, cuBLASLt's own choice, unless its blocks fill less of the chip than the
// length of the inner dimension deserves: a [256, 256] gradient is four tiles, and unsplit each
// would walk over thousands of rows. Then the first one that fills it, or else the first that can
// be cut until it does. Three quarters of a wave are wanted from K = 24576 on and fewer below,
// where adding up the parts costs more than the walk.
void Products::Plan::choose(Gpu& gpu, const Preference& preference, int64_t inner) {
  std::array<Candidate, kCandidates> found = {};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      gpu.cublas(), description.get(), first.get(), second.get(), out.get(), out.get(),
      preference.get(), kCandidates, found.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return;
  check(status, "cublasLtMatmulAlgoGetHeuristic");

  const auto end = std::remove_if(found.begin(), found.begin() + count, [](const Candidate& c) {
    return c.state != CUBLAS_STATUS_SUCCESS || c.workspaceSize > Gpu::kWorkspaceBytes;
  });
  if (end == found.begin()) return;
  supported = true;
  const float wanted = std::min(0.75f, static_cast<float>(inner) / 32768.0f);
  const auto fills = [=](const Candidate& c) { return c.wavesCount >= wanted; };
  auto choice = std::find_if(found.begin(), end, fills);
  if (choice == end) {
    choice = std::find_if(found.begin(), end, [&](Candidate& c) { return cut(gpu, wanted, c); });
  }
  chosen = choice == end ? found.front() : *choice;
}

// Cuts the candidate's inner dimension into the fewest parts, a power of two, that fill the chip.
bool Products::Plan::cut(Gpu& gpu, float wanted_waves, Candidate& candidate) const {
  constexpr uint32_t kScheme = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  for (int32_t parts = 2; parts <= 64; parts *= 2) {
    cublasLtMatmulAlgo_t algorithm = candidate.algo;
    if (cublasLtMatmulAlgoConfigSetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts,
                                             sizeof(parts)) != CUBLAS_STATUS_SUCCESS ||
        cublasLtMatmulAlgoConfigSetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                             &kScheme, sizeof(kScheme)) != CUBLAS_STATUS_SUCCESS) {
      return false;
    }
    Candidate found = {};
    const cublasStatus_t status =
        cublasLtMatmulAlgoCheck(gpu.cublas(), description.get(), first.get(), second.get(),
                                out.get(), out.get(), &algorithm, &found);
    if (status != CUBLAS_STATUS_SUCCESS || found.workspaceSize > Gpu::kWorkspaceBytes) return false;
    if (found.wavesCount >= wanted_waves) {
      candidate = found;
      candidate.algo = algorithm;
      return true;
    }
  }
  return false;
}

Products::Products(Gpu& gpu) : gpu_(gpu) {}
Products::~Products() = default;

Products::Plan& Products::plan(const Operand& a, const Operand& b, const Operand& c,
                               bool accumulate, const void* bias) {
  const int64_t bias_alignment = bias == nullptr ? 0 : alignment(bias);
  const Key key = {a.rows,
                   a.cols,
                   a.ld,
                   a.transposed,
                   b.rows,
                   b.cols,
                   b.ld,
                   b.transposed,
                   c.ld,
                   a.element,
                   c.element,
                   accumulate,
                   alignment(a.data),
                   alignment(b.data),
                   alignment(c.data),
                   bias_alignment};
  std::unique_ptr<Plan>& plan = plans_[key];
  if (plan == nullptr) {
    auto made = std::make_unique<Plan>();
    made->description = describe(a, b, c, bias);
    made->first = layout_of(b);
    made->second = layout_of(a);
    made->out = layout_of(c);
    made->choose(gpu_, prefer(a, b, c, bias), inner_size(a));
    plan = std::move(made);
  }
  return *plan;
}

void Products::multiply(const Operand& a, const Operand& b, const Operand& c, bool accumulate,
                        const void* bias_as_c, const float* bias) {
  Plan& p = plan(a, b, c, accumulate, bias_as_c);
  if (!p.supported) {
    plain_product(gpu_, a, b, c, accumulate, bias);
    return;
  }
  if (bias_as_c != nullptr) {
    set(p.description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias_as_c);
  }
  const float alpha = 1.0f, beta = accumulate ? 1.0f : 0.0f;
  check(cublasLtMatmul(gpu_.cublas(), p.description.get(), &alpha, b.data, p.first.get(), a.data,
                       p.second.get(), &beta, c.data, p.out.get(), c.data, p.out.get(),
                       &p.chosen.algo, gpu_.workspace(), Gpu::kWorkspaceBytes, gpu_.stream()),
        "cublasLtMatmul");
}

void Products::run(const Operand& a, const Operand& b, const Operand& c, bool accumulate,
                   const float* bias) {
  // cuBLASLt takes a bias of the output's type only.
  if (bias == nullptr || c.element == sizeof(float)) {
    multiply(a, b, c, accumulate, bias, bias);
  } else {
    multiply(a, b, c, accumulate, nullptr, nullptr);
    add_bias(gpu_, c, bias);
  }
}

void Products::run(const Operand& a, const Operand& b, const Operand& c, const Param& bias) {
  const void* as_c = bias.value.data;
  if (c.element != sizeof(float)) as_c = bias.act.data;
  multiply(a, b, c, false, as_c, bias.value.data);
}

}  // namespace gf::cuda
