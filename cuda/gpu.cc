#include "gpu.h"

#include <cudaTypedefs.h>

#include <algorithm>

namespace gf::cuda {
namespace {

std::string dotted(int version) {  // 13000 is CUDA 13.0
  return format("%d.%d", version / 1000, version % 1000 / 10);
}

// The number of GPUs; a driver that is missing or too old says so.
int count_gpus() {
  int count = 0, driver = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return count;
  cudaGetLastError();
  cudaDriverGetVersion(&driver);
  if (driver == 0) {
    throw_error(GF_ERROR_DEVICE, "device \"cuda\": no NVIDIA driver is loaded on this machine");
  }
  if (status == cudaErrorInsufficientDriver) {
    throw_error(GF_ERROR_DEVICE,
                "device \"cuda\": the NVIDIA driver supports CUDA %s, expected %s or later",
                dotted(driver).c_str(), dotted(CUDART_VERSION).c_str());
  }
  throw_error(GF_ERROR_DEVICE, "device \"cuda\": no GPU can be used: %s",
              cudaGetErrorString(status));
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // what can be cleared is
  throw_error(GF_ERROR_DEVICE, "%s: %s (%s)", what, cudaGetErrorString(status),
              cudaGetErrorName(status));
}

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw_error(GF_ERROR_DEVICE, "%s: cuBLAS: %s", what, cublasLtGetStatusString(status));
}

void* find_driver_function(const char* name, unsigned version) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  if (cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found) !=
      cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  return function;
}

CUcontext current_context() {
  static const auto get = driver_function<PFN_cuCtxGetCurrent_v4000>("cuCtxGetCurrent", 4000);
  CUcontext context = nullptr;
  if (get) get(&context);
  return context;
}

// It fails only where the context is no more, and then so does all that is asked of it.
void set_current_context(CUcontext context) {
  static const auto set = driver_function<PFN_cuCtxSetCurrent_v4000>("cuCtxSetCurrent", 4000);
  if (set) set(context);
}

Gpu::Gpu(int index) : index_(index) {
  const int count = count_gpus();
  if (count == 0) throw_error(GF_ERROR_DEVICE, "device \"cuda\": there is no GPU on this machine");
  if (index < 0 || index >= count) {
    throw_error(GF_ERROR_DEVICE, "device \"cuda:%d\": this machine's GPUs are cuda:0 to cuda:%d",
                index, count - 1);
  }
  check(cudaSetDevice(index), "cudaSetDevice");
  context_ = current_context();
  if (!context_) throw_error(GF_ERROR_DEVICE, "device \"cuda:%d\": it has no context", index);
  check(cudaGetDeviceProperties(&properties_, index), "cudaGetDeviceProperties");
  if (architecture() < 80) {
    throw_error(GF_ERROR_DEVICE,
                "device \"cuda:%d\": %s has compute capability %d.%d, expected 8.0 or later", index,
                properties_.name, properties_.major, properties_.minor);
  }
  try {
    make_queue(main_);
    make_queue(side_);
    for (cudaEvent_t* event : {&forked_, &settled_[0], &settled_[1]}) {
      check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cudaEventCreate");
    }
    check(cublasLtCreate(&cublas_), "cublasLtCreate");
  } catch (...) {
    destroy();
    throw;
  }
}

Gpu::~Gpu() {
  destroy();
}

void Gpu::destroy() {
  for (const Queue* queue : {&side_, &main_}) {
    if (queue->stream) cudaStreamSynchronize(queue->stream);
  }
  for (void* memory : memory_) cudaFree(memory);
  if (cublas_) cublasLtDestroy(cublas_);
  for (cudaEvent_t event : {forked_, settled_[0], settled_[1]}) {
    if (event) cudaEventDestroy(event);
  }
  for (const Queue* queue : {&side_, &main_}) {
    if (queue->stream) cudaStreamDestroy(queue->stream);
  }
  cudaGetLastError();  // after a failed kernel all of the above fails too
}

void* Gpu::allocate(size_t bytes, const char* what) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, std::max<size_t>(bytes, 1));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    throw_error(GF_ERROR_OUT_OF_MEMORY,
                "no memory for %zu bytes of %s: %zu of the %zu bytes of %s are free", bytes, what,
                available, total, properties_.name);
  }
  check(status, what);
  memory_.insert(memory);
  return memory;
}

void Gpu::release(void* memory) {
  if (memory_.erase(memory) > 0) cudaFree(memory);
}

void Gpu::make_queue(Queue& queue) {
  check(cudaStreamCreateWithFlags(&queue.stream, cudaStreamNonBlocking), "cudaStreamCreate");
}

// When first asked for: what runs beside seldom needs one.
void* Gpu::workspace() {
  if (!queue_->workspace) queue_->workspace = allocate(kWorkspaceBytes, "workspace of cuBLAS");
  return queue_->workspace;
}

void* Gpu::scratch_bytes(size_t bytes) {
  if (bytes > queue_->scratch_size) {
    queue_->scratch = allocate(bytes, "scratch of an operation");
    queue_->scratch_size = bytes;
  }
  return queue_->scratch;
}

void* Gpu::kept_bytes(size_t bytes) {
  Kept& kept = kept_[part_];
  if (kept.next == kept.blocks.size()) kept.blocks.emplace_back(nullptr, 0);
  auto& [memory, size] = kept.blocks[kept.next++];
  if (bytes > size) {
    memory = allocate(bytes, "sums of an operation");
    size = bytes;
  }
  return memory;
}

// ---- What runs beside --------------------------------------------------------------------------

void Gpu::fork() {
  check(cudaEventRecord(forked_, main_.stream), "cudaEventRecord");
  check(cudaStreamWaitEvent(side_.stream, forked_), "cudaStreamWaitEvent");
  is_forked_ = true;
  queue_ = &side_;
}

// An error shows at the next call that is checked.
void Gpu::end_fork() noexcept {
  queue_ = &main_;
  if (!is_serial_) return;
  cudaEventRecord(forked_, side_.stream);
  cudaStreamWaitEvent(main_.stream, forked_);
}

void Gpu::settle() {
  const int last = 1 - part_;
  if (is_pending_[last]) {
    check(cudaStreamWaitEvent(main_.stream, settled_[last]), "cudaStreamWaitEvent");
    is_pending_[last] = false;
  }
  if (is_forked_) check(cudaEventRecord(settled_[part_], side_.stream), "cudaEventRecord");
  is_pending_[part_] = is_forked_;
  is_forked_ = false;
  part_ = last;
  kept_[part_].next = 0;
}

void Gpu::join() {
  settle();
  settle();
}

void Gpu::forget() {
  is_forked_ = is_pending_[0] = is_pending_[1] = false;
}

}  // namespace gf::cuda
