#pragma once

// What the operations on a GPU share: its stream, its library handles, scratch memory, errors.

#include <cublasLt.h>
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"

namespace gf::cuda {

// Throws GF_ERROR_DEVICE with CUDA's own words unless the status is a success.
void check(cudaError_t status, const char* what);
void check(cublasStatus_t status, const char* what);

// A function of the driver of the version that its type (PFN_..._vVERSION) names; null where there
// is none. Nothing links the driver, so that a machine without one is told so.
void* find_driver_function(const char* name, unsigned version);
template <class Function>
Function driver_function(const char* name, unsigned version) {
  return reinterpret_cast<Function>(find_driver_function(name, version));
}

// The context that the calling thread's calls of CUDA work on, the runtime's included; null where
// it has none yet. cudaSetDevice() is no way back to it: on a GPU that has no context it makes one,
// and of a GPU that has several it takes its own.
CUcontext current_context();
void set_current_context(CUcontext context);

// Puts back in the end what is the calling thread's current context in the beginning.
class KeptContext {
 public:
  KeptContext() : context_(current_context()) {}
  ~KeptContext() { set_current_context(context_); }
  KeptContext(const KeptContext&) = delete;
  KeptContext& operator=(const KeptContext&) = delete;

 private:
  CUcontext context_;
};

// A stream and the memory of what runs on it.
struct Queue {
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;  // of cuBLAS
  void* scratch = nullptr;
  size_t scratch_size = 0;
};

// One GPU. Operations are queued one after the other, but for work that they run beside each other:
// gradients of parameters, which nothing waits for before the end of the backward pass. Everything
// here is used by one thread at a time, whose current context must be this GPU's.
class Gpu {
 public:
  // Makes its context the calling thread's.
  explicit Gpu(int index);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  int index() const { return index_; }
  CUcontext context() const { return context_; }  // the one that CUDA's runtime works on
  int multiprocessors() const { return properties_.multiProcessorCount; }
  int architecture() const { return properties_.major * 10 + properties_.minor; }  // 90: Hopper
  const cudaDeviceProp& properties() const { return properties_; }
  cudaStream_t stream() const { return queue_->stream; }  // of what runs now
  cublasLtHandle_t cublas() const { return cublas_; }

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
  void* workspace();
  static constexpr size_t kWorkspaceBytes = size_t{16} << 20;

  // Runs body beside what follows, after all that has been queued so far.
  template <class Body>
  void beside(const Body& body) {
    const Fork fork(*this);
    body();
  }
  // For timing: what follows waits for it at once.
  void set_serial(bool on) { is_serial_ = on; }
  // Device memory that stays as it is until settle() has been called twice: for what is written
  // here and read beside.
  template <class T>
  T* kept(int64_t count) {
    return static_cast<T*>(kept_bytes(static_cast<size_t>(count) * sizeof(T)));
  }
  // What follows waits for the work that ran beside before the last call.
  void settle();
  // What follows waits for all of it.
  void join();
  // After an error: nothing is waited for any more.
  void forget();

 private:
  // Memory of a part of the backward pass, handed out in order.
  struct Kept {
    std::vector<std::pair<void*, size_t>> blocks;
    size_t next = 0;
  };

  void* scratch_bytes(size_t bytes);
  void* kept_bytes(size_t bytes);
  void fork();
  void end_fork() noexcept;
  struct Fork {
    explicit Fork(Gpu& g) : gpu(g) { gpu.fork(); }
    ~Fork() { gpu.end_fork(); }
    Gpu& gpu;
  };
  void make_queue(Queue& queue);
  void destroy();

  int index_;
  CUcontext context_ = nullptr;
  cudaDeviceProp properties_ = {};
  cublasLtHandle_t cublas_ = nullptr;
  std::set<void*> memory_;  // all that is allocated
  Queue main_, side_;
  Queue* queue_ = &main_;
  cudaEvent_t forked_ = nullptr;
  cudaEvent_t settled_[2] = {};  // what ran beside until the last settle(), and the one before
  bool is_pending_[2] = {};      // whether any did
  bool is_forked_ = false;       // since the last settle()
  bool is_serial_ = false;
  Kept kept_[2];
  int part_ = 0;  // of the backward pass, modulo 2
};

}  // namespace gf::cuda
