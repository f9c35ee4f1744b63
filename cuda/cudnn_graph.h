#pragma once

// cuDNN's graphs of operations through its backend interface. Only where its header is installed;
// the library itself is opened at run time.

#include <cudnn.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gpu.h"

namespace gf::cuda {

// The library and a handle on the stream of a GPU.
class Cudnn {
 public:
  // Throws GF_ERROR_UNSUPPORTED where there is none or one that is too old.
  explicit Cudnn(cudaStream_t stream);
  ~Cudnn();
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  // Throws GF_ERROR_DEVICE with cuDNN's own words unless the status is a success.
  void check(cudnnStatus_t status, const char* what) const;
  // cuDNN's own words for the failure that this thread has just seen.
  std::string words(cudnnStatus_t status) const;

  cudnnHandle_t handle = nullptr;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
  decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&cudnnBackendFinalize) finalize = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;

 private:
  void open();

  void* library_ = nullptr;
  decltype(&cudnnGetVersion) get_version_ = nullptr;
  decltype(&cudnnGetErrorString) get_error_string_ = nullptr;
  decltype(&cudnnGetLastErrorString) get_last_error_string_ = nullptr;
  decltype(&cudnnCreate) create_ = nullptr;
  decltype(&cudnnDestroy) destroy_ = nullptr;
  decltype(&cudnnSetStream) set_stream_ = nullptr;
};

// One of cuDNN's descriptors.
class CudnnDescriptor {
 public:
  CudnnDescriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type);

  cudnnBackendDescriptor_t get() const { return descriptor_.get(); }
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values);
  void set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value);
  void finalize(const char* what);

 private:
  const Cudnn* cudnn_;
  std::shared_ptr<void> descriptor_;
};

// What a graph became: kernels that were chosen once.
class CudnnPlan {
 public:
  CudnnPlan(const Cudnn& cudnn, CudnnDescriptor plan);

  size_t workspace_bytes() const { return workspace_bytes_; }
  // Addresses by the identities of tensors; those of scalars are on the host.
  void run(const std::vector<std::pair<int64_t, const void*>>& operands, void* workspace) const;

 private:
  const Cudnn& cudnn_;
  CudnnDescriptor plan_;
  size_t workspace_bytes_;
};

// A graph in the making. Operations read and write tensors of four dimensions.
class CudnnGraph {
 public:
  struct Shape {
    std::array<int64_t, 4> sizes, strides;
  };
  using Tensor = const CudnnDescriptor&;

  explicit CudnnGraph(const Cudnn& cudnn) : cudnn_(cudnn) {}

  // In device memory, known by an identity that the caller chooses.
  Tensor memory(int64_t identity, cudnnDataType_t type, const Shape& shape);
  // One fp32 number on the host.
  Tensor scalar(int64_t identity);
  // Exists inside of a kernel only.
  Tensor temporary(cudnnDataType_t type, const Shape& shape);

  void matmul(Tensor a, Tensor b, Tensor c);
  // y = mode(x) or mode(x, b), in fp32.
  void pointwise(cudnnPointwiseMode_t mode, Tensor x, Tensor y);
  void pointwise(cudnnPointwiseMode_t mode, Tensor x, Tensor b, Tensor y);
  // y = x where its index of dimension 2 is at least that of dimension 3, else `other`.
  void lower_triangle(Tensor x, Tensor other, const Shape& shape, Tensor y);
  // Over the dimensions in which y has size 1.
  void reduce(cudnnReduceTensorOp_t operation, Tensor x, Tensor y);
  // The same elements seen through y's sizes and strides.
  void reshape(Tensor x, Tensor y);

  // By cuDNN's heuristics and never by timing, deterministic.
  std::unique_ptr<CudnnPlan> plan(const char* what);

 private:
  struct Pointwise {
    cudnnPointwiseMode_t mode;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    int64_t axis = -1;
  };

  Tensor tensor(int64_t identity, cudnnDataType_t type, const Shape& shape, bool is_virtual,
                bool by_value);
  void pointwise(const Pointwise& kind, Tensor x, const CudnnDescriptor* b,
                 const CudnnDescriptor* mask, Tensor y);
  std::vector<CudnnDescriptor> engine_configurations(const CudnnDescriptor& graph) const;
  bool is_deterministic(const CudnnDescriptor& configuration) const;

  const Cudnn& cudnn_;
  std::vector<std::unique_ptr<CudnnDescriptor>> tensors_;
  std::vector<CudnnDescriptor> operations_;
  int64_t next_identity_ = int64_t{1} << 32;  // of temporary tensors
};

}  // namespace gf::cuda
