#if __has_include(<cudnn.h>)

#include "cudnn_graph.h"

#include <dlfcn.h>

namespace gf::cuda {
namespace {

constexpr size_t kOldestVersion = 90800, kNewestMajor = 9;

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function) {
    throw_error(GF_ERROR_UNSUPPORTED, "cuDNN: libcudnn.so.9 has no function %s", name);
  }
}

}  // namespace

// ---- Library ---------------------------------------------------------------------------------

Cudnn::Cudnn(cudaStream_t stream) {
  library_ = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
  if (!library_) {
    const char* reason = dlerror();
    throw_error(GF_ERROR_UNSUPPORTED, "cuDNN cannot be loaded: %s", reason ? reason : "unknown");
  }
  open();
  check(create_(&handle), "cudnnCreate");
  const cudnnStatus_t status = set_stream_(handle, stream);
  if (status != CUDNN_STATUS_SUCCESS) destroy_(handle);
  check(status, "cudnnSetStream");
}

// The library stays loaded: what it has registered with CUDA outlives a handle.
Cudnn::~Cudnn() {
  destroy_(handle);
}

void Cudnn::open() {
  find(library_, "cudnnGetVersion", get_version_);
  const size_t version = get_version_();
  if (version < kOldestVersion || version / 10000 > kNewestMajor) {
    throw_error(GF_ERROR_UNSUPPORTED, "cuDNN is version %zu.%zu.%zu, expected %zu.%zu or later",
                version / 10000, version / 100 % 100, version % 100, kOldestVersion / 10000,
                kOldestVersion / 100 % 100);
  }
  find(library_, "cudnnGetErrorString", get_error_string_);
  find(library_, "cudnnGetLastErrorString", get_last_error_string_);
  find(library_, "cudnnCreate", create_);
  find(library_, "cudnnDestroy", destroy_);
  find(library_, "cudnnSetStream", set_stream_);
  find(library_, "cudnnBackendCreateDescriptor", create_descriptor);
  find(library_, "cudnnBackendDestroyDescriptor", destroy_descriptor);
  find(library_, "cudnnBackendSetAttribute", set_attribute);
  find(library_, "cudnnBackendGetAttribute", get_attribute);
  find(library_, "cudnnBackendFinalize", finalize);
  find(library_, "cudnnBackendExecute", execute);
}

void Cudnn::check(cudnnStatus_t status, const char* what) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw_error(GF_ERROR_DEVICE, "%s: cuDNN: %s", what, words(status).c_str());
}

std::string Cudnn::words(cudnnStatus_t status) const {
  char reason[512] = "";
  get_last_error_string_(reason, sizeof(reason));
  return format("%s: %s", get_error_string_(status), reason);
}

// ---- Descriptors -----------------------------------------------------------------------------

CudnnDescriptor::CudnnDescriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type)
    : cudnn_(&cudnn) {
  cudnnBackendDescriptor_t made = nullptr;
  cudnn.check(cudnn.create_descriptor(type, &made), "cudnnBackendCreateDescriptor");
  descriptor_ = {made, cudnn.destroy_descriptor};
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                          int64_t count, const void* values) {
  cudnn_->check(cudnn_->set_attribute(get(), name, type, count, values),
                "cudnnBackendSetAttribute");
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
  const cudnnBackendDescriptor_t descriptor = value.get();
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &descriptor);
}

void CudnnDescriptor::finalize(const char* what) {
  cudnn_->check(cudnn_->finalize(get()), what);
}

// ---- Plans -----------------------------------------------------------------------------------

CudnnPlan::CudnnPlan(const Cudnn& cudnn, CudnnDescriptor plan)
    : cudnn_(cudnn), plan_(std::move(plan)) {
  int64_t count = 0, bytes = 0;
  cudnn_.check(cudnn_.get_attribute(plan_.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                    CUDNN_TYPE_INT64, 1, &count, &bytes),
               "cuDNN's workspace");
  workspace_bytes_ = static_cast<size_t>(bytes);
}

void CudnnPlan::run(const std::vector<std::pair<int64_t, const void*>>& operands,
                    void* workspace) const {
  std::vector<int64_t> identities;
  std::vector<const void*> addresses;
  for (const auto& [identity, address] : operands) {
    identities.push_back(identity);
    addresses.push_back(address);
  }
  const int64_t count = static_cast<int64_t>(operands.size());
  CudnnDescriptor pack(cudnn_, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, addresses.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, identities.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  pack.finalize("cuDNN's operands");
  cudnn_.check(cudnn_.execute(cudnn_.handle, plan_.get(), pack.get()), "cudnnBackendExecute");
}

// ---- Graphs ----------------------------------------------------------------------------------

CudnnGraph::Tensor CudnnGraph::memory(int64_t identity, cudnnDataType_t type, const Shape& shape) {
  return tensor(identity, type, shape, false, false);
}

CudnnGraph::Tensor CudnnGraph::scalar(int64_t identity) {
  return tensor(identity, CUDNN_DATA_FLOAT, {{1, 1, 1, 1}, {1, 1, 1, 1}}, false, true);
}

CudnnGraph::Tensor CudnnGraph::temporary(cudnnDataType_t type, const Shape& shape) {
  return tensor(next_identity_++, type, shape, true, false);
}

CudnnGraph::Tensor CudnnGraph::tensor(int64_t identity, cudnnDataType_t type, const Shape& shape,
                                      bool is_virtual, bool by_value) {
  const int64_t alignment = 16;
  auto made = std::make_unique<CudnnDescriptor>(cudnn_, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made->set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &identity);
  made->set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  made->set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
  made->set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, shape.sizes.data());
  made->set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, shape.strides.data());
  made->set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
  made->set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
  made->finalize("a tensor of cuDNN");
  tensors_.push_back(std::move(made));
  return *tensors_.back();
}

void CudnnGraph::matmul(Tensor a, Tensor b, Tensor c) {
  const cudnnDataType_t type = CUDNN_DATA_FLOAT;
  CudnnDescriptor kind(cudnn_, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  kind.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  kind.finalize("a product of cuDNN");
  CudnnDescriptor operation(cudnn_, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, kind);
  operation.finalize("a product of cuDNN");
  operations_.push_back(std::move(operation));
}

void CudnnGraph::pointwise(cudnnPointwiseMode_t mode, Tensor x, Tensor y) {
  pointwise({mode}, x, nullptr, nullptr, y);
}

void CudnnGraph::pointwise(cudnnPointwiseMode_t mode, Tensor x, Tensor b, Tensor y) {
  pointwise({mode}, x, &b, nullptr, y);
}

void CudnnGraph::lower_triangle(Tensor x, Tensor other, const Shape& shape, Tensor y) {
  Tensor row = temporary(CUDNN_DATA_INT32, shape), column = temporary(CUDNN_DATA_INT32, shape);
  Tensor mask = temporary(CUDNN_DATA_BOOLEAN, shape);
  pointwise({CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32, 2}, x, nullptr, nullptr, row);
  pointwise({CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32, 3}, x, nullptr, nullptr, column);
  pointwise({CUDNN_POINTWISE_CMP_GE, CUDNN_DATA_BOOLEAN}, row, &column, nullptr, mask);
  pointwise({CUDNN_POINTWISE_BINARY_SELECT}, x, &other, &mask, y);
}

void CudnnGraph::pointwise(const Pointwise& kind, Tensor x, const CudnnDescriptor* b,
                           const CudnnDescriptor* mask, Tensor y) {
  CudnnDescriptor mode(cudnn_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  mode.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &kind.mode);
  mode.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &kind.type);
  if (kind.axis >= 0) mode.set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &kind.axis);
  mode.finalize("an elementwise operation of cuDNN");
  CudnnDescriptor operation(cudnn_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, mode);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  if (b) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
  if (mask) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, *mask);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  operation.finalize("an elementwise operation of cuDNN");
  operations_.push_back(std::move(operation));
}

void CudnnGraph::reduce(cudnnReduceTensorOp_t kind, Tensor x, Tensor y) {
  const cudnnDataType_t type = CUDNN_DATA_FLOAT;
  CudnnDescriptor reduction(cudnn_, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  reduction.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &kind);
  reduction.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  reduction.finalize("a reduction of cuDNN");
  CudnnDescriptor operation(cudnn_, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, reduction);
  operation.finalize("a reduction of cuDNN");
  operations_.push_back(std::move(operation));
}

void CudnnGraph::reshape(Tensor x, Tensor y) {
  CudnnDescriptor operation(cudnn_, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
  operation.finalize("a reshape of cuDNN");
  operations_.push_back(std::move(operation));
}

std::unique_ptr<CudnnPlan> CudnnGraph::plan(const char* what) {
  std::vector<cudnnBackendDescriptor_t> operations;
  for (const CudnnDescriptor& operation : operations_) operations.push_back(operation.get());
  CudnnDescriptor graph(cudnn_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &cudnn_.handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
            static_cast<int64_t>(operations.size()), operations.data());
  graph.finalize(what);
  std::string reason = "it proposes none";
  for (const CudnnDescriptor& configuration : engine_configurations(graph)) {
    if (!is_deterministic(configuration)) continue;
    CudnnDescriptor plan(cudnn_, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &cudnn_.handle);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    // A proposal that cannot be built after all is passed over.
    const cudnnStatus_t status = cudnn_.finalize(plan.get());
    if (status == CUDNN_STATUS_SUCCESS) {
      return std::make_unique<CudnnPlan>(cudnn_, std::move(plan));
    }
    reason = cudnn_.words(status);
  }
  throw_error(GF_ERROR_UNSUPPORTED, "%s: cuDNN has no deterministic kernel for this shape: %s",
              what, reason.c_str());
}

std::vector<CudnnDescriptor> CudnnGraph::engine_configurations(const CudnnDescriptor& graph) const {
  const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
  CudnnDescriptor heuristics(cudnn_, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  heuristics.finalize("cuDNN's heuristics");
  int64_t count = 0;
  cudnn_.check(cudnn_.get_attribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
               "cuDNN's heuristics");
  std::vector<CudnnDescriptor> configurations;
  std::vector<cudnnBackendDescriptor_t> results;
  for (int64_t i = 0; i < count; ++i) {
    configurations.emplace_back(cudnn_, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    results.push_back(configurations.back().get());
  }
  cudnn_.check(cudnn_.get_attribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, results.data()),
               "cuDNN's heuristics");
  configurations.erase(configurations.begin() + count, configurations.end());
  return configurations;
}

bool CudnnGraph::is_deterministic(const CudnnDescriptor& configuration) const {
  CudnnDescriptor engine(cudnn_, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t descriptor = engine.get();
  int64_t count = 0;
  cudnn_.check(cudnn_.get_attribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &descriptor),
               "a kernel of cuDNN");
  cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT] = {};
  cudnn_.check(
      cudnn_.get_attribute(descriptor, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                           CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes),
      "the notes of a kernel of cuDNN");
  for (int64_t i = 0; i < count; ++i) {
    if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) return false;
  }
  return true;
}

}  // namespace gf::cuda

#endif
