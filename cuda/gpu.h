#pragma once

// What the operations on a GPU share: its stream, its library handles, scratch memory, errors.

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <set>

#include "base/error.h"

namespace gf::cuda {

// Throws GF_ERROR_DEVICE with CUDA's own words unless the status is a success.
void check(cudaError_t status, const char* what);
void check(cublasStatus_t status, const char* what);

// One GPU with one stream. Everything here is used by one thread at a time.
class Gpu {
 public:
  explicit Gpu(int index);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  int index() const { return index_; }
  int multiprocessors() const { return properties_.multiProcessorCount; }
  int architecture() const { return properties_.major * 10 + properties_.minor; }  // 90: Hopper
  const cudaDeviceProp& properties() const { return properties_; }
  cudaStream_t stream() const { return stream_; }
  cublasLtHandle_t cublas() const { return cublas_; }

  // Makes it the calling thread's current GPU, which CUDA's calls work on.
  void activate() const;

  // Of cudaMalloc; throws GF_ERROR_OUT_OF_MEMORY naming the bytes wanted, the bytes free and
  // `what`.
  void* allocate(size_t bytes, const char* what);
  void release(void* memory);

  // At least this much device memory for the use of one operation: what stands in it is lost when
  // the next operation asks. Grows where it must; what has been handed out stays valid, since a
  // recorded graph may hold it.
  template <class T>
  T* scratch(int64_t count) {
    return static_cast<T*>(scratch_bytes(static_cast<size_t>(count) * sizeof(T)));
  }
  // For the same purpose, memory of its own for cuBLAS.
  void* workspace() const { return workspace_; }
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

 private:
  void* scratch_bytes(size_t bytes);
  void destroy();

  int index_;
  cudaDeviceProp properties_ = {};
  cudaStream_t stream_ = nullptr;
  cublasLtHandle_t cublas_ = nullptr;
  void* workspace_ = nullptr;
  std::set<void*> memory_;  // all that is allocated
  void* scratch_ = nullptr;
  size_t scratch_size_ = 0;
};

}  // namespace gf::cuda
