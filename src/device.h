#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "ops.h"

namespace gf {

// Where a context's work runs: owns memory, threads or streams, library handles, and hands out its
// operations. Used by one thread at a time. Work may be asynchronous but keeps its order;
// download() and synchronize() wait for it.
class Device {
 public:
  virtual ~Device() = default;

  virtual Ops& ops() = 0;

  virtual std::string description() const = 0;  // "cpu, 2 threads, fp32"
  virtual int32_t product_bytes() const = 0;    // of an Act's element: 4 or 2

  // Zeroed memory, aligned to 256 bytes. `what` names it in the text of GF_ERROR_OUT_OF_MEMORY.
  virtual void* allocate(size_t bytes, const char* what) = 0;
  virtual void release(void* memory) = 0;

  virtual void upload(void* to, const void* from_host, size_t bytes) = 0;
  virtual void download(void* to_host, const void* from, size_t bytes) = 0;
  virtual void zero(void* memory, size_t bytes) = 0;
  virtual void synchronize() = 0;

  // Renews the product-precision copy of all parameters from their fp32 values.
  virtual void refresh(const Parameters& parameters) = 0;
};

struct CpuOptions {
  int threads = 0;  // 0: one per core this process may run on
  void* (*allocate)(size_t bytes, size_t alignment, void* user) = nullptr;
  void (*release)(void* memory, size_t bytes, void* user) = nullptr;
  void* user = nullptr;
};

std::shared_ptr<Device> make_cpu_device(const CpuOptions& options);

}  // namespace gf
