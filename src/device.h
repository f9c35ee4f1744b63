#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/profile.h"
#include "ops.h"

namespace gf {

// A list of work that is run again and again: on a GPU the first run is an ordinary one, the second
// is recorded as a graph, and from then on the graph is launched.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void run() = 0;
};

// Where a context's work runs: owns memory, threads or streams, library handles, and hands out its
// operations. Used by one thread at a time, which is bound to it (see Binding). Work may be
// asynchronous but keeps its order; download() and synchronize() wait for it.
class Device {
 public:
  virtual ~Device() = default;

  // For Binding.
  virtual void* bind() noexcept = 0;
  virtual void unbind(void* before) noexcept = 0;

  virtual Ops& ops() = 0;

  virtual std::string description() const = 0;  // "cpu, 2 threads, fp32"
  virtual int32_t product_bytes() const = 0;    // of an Act's element: 4 or 2

  // Zeroed memory, aligned to 256 bytes. `what` names it in the text of GF_ERROR_OUT_OF_MEMORY.
  virtual void* allocate(size_t bytes, const char* what) = 0;
  virtual void release(void* memory) = 0;
  // The same, but memory that the host too may read, once synchronize() has returned.
  virtual void* allocate_shared(size_t bytes, const char* what) = 0;

  virtual void upload(void* to, const void* from_host, size_t bytes) = 0;
  virtual void download(void* to_host, const void* from, size_t bytes) = 0;
  virtual void zero(void* memory, size_t bytes) = 0;
  virtual void synchronize() = 0;

  // `work` calls operations, zero() and nothing else, on the same memory every time; what differs
  // from one run to the next stands in that memory.
  virtual std::unique_ptr<Recording> record(std::function<void()> work) = 0;

  // Renews the product-precision copy of all parameters from their fp32 values.
  virtual void refresh(const Parameters& parameters) = 0;

  // ---- Profile ---------------------------------------------------------------------------------

  // Between enter() and leave(), which nest, runs what `name` (a literal, or kept by the caller)
  // says: an operation, or a part of the model around several.
  virtual void enter(const char* name) = 0;
  virtual void leave() = 0;
  // While it is on, the time of every operation is taken, and recordings run as plain lists.
  virtual void set_profiling(bool on) = 0;
  virtual std::vector<ProfileEntry> profile() = 0;  // since it was set on
};

// While one lives, what the calling thread asks of CUDA goes to the device, and afterwards where it
// went before: a program may use GPUs by itself. Every call of the C API is inside one. Without one
// a thread works on CUDA's first GPU: right only where that is the device, as in tests.
class Binding {
 public:
  explicit Binding(Device& device) : device_(device), before_(device.bind()) {}
  ~Binding() { device_.unbind(before_); }
  Binding(const Binding&) = delete;
  Binding& operator=(const Binding&) = delete;

 private:
  Device& device_;
  void* before_;
};

// A named part of a device's work.
class Range {
 public:
  Range(Device& device, const char* name) : device_(device) { device_.enter(name); }
  ~Range() { device_.leave(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  Device& device_;
};

struct CpuOptions {
  int threads = 0;  // 0: one per core this process may run on
  void* (*allocate)(size_t bytes, size_t alignment, void* user) = nullptr;
  void (*release)(void* memory, size_t bytes, void* user) = nullptr;
  void* user = nullptr;
};

std::shared_ptr<Device> make_cpu_device(const CpuOptions& options);

struct CudaOptions {
  int index = 0;                 // of the GPU among those that CUDA shows
  bool bf16 = true;              // products in bf16, else in fp32
  bool cudnn_attention = false;  // through cuDNN instead of the library's own kernels
};

// From the library libgrassflow_cuda, loaded on first use. Throws GF_ERROR_UNSUPPORTED when there
// is none or it is of another build, GF_ERROR_DEVICE without a GPU it can use; both name the
// reason.
std::shared_ptr<Device> make_cuda_device(const CudaOptions& options);

}  // namespace gf
