#include <nvtx3/nvToolsExt.h>

#include <map>
#include <string>
#include <vector>

#include "cuda_ops.h"
#include "device.h"
#include "gpu.h"
#include "library.h"
#include "refresh.h"

namespace gf::cuda {
namespace {

// Times of operations, by pairs of events in the stream.
class Profile {
 public:
  explicit Profile(Gpu& gpu) : gpu_(gpu) {}
  ~Profile() { clear(); }
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  bool is_on() const { return is_on_; }
  void set(bool on) {
    if (on) clear();
    is_on_ = on;
  }

  void enter(const char* name) {
    if (!is_on_) return;
    if (!open_.empty()) open_.back().is_innermost = false;
    open_.push_back({name, make_event(), make_event(), true});
    closed_.reserve(closed_.size() + open_.size());
    check(cudaEventRecord(open_.back().begin, gpu_.stream()), "cudaEventRecord");
  }
  // Called by a destructor: does not throw. An event that could not be recorded shows when it is
  // read.
  void leave() noexcept {
    if (open_.empty()) return;
    const Interval interval = open_.back();
    open_.pop_back();
    if (interval.is_innermost) {
      cudaEventRecord(interval.end, gpu_.stream());
      closed_.push_back(interval);
    } else {
      destroy(interval);
    }
  }

  std::vector<ProfileEntry> entries() {
    std::map<std::string, ProfileEntry> sums;
    check(cudaStreamSynchronize(gpu_.stream()), "cudaStreamSynchronize");
    for (const Interval& interval : closed_) {
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, interval.begin, interval.end),
            "cudaEventElapsedTime");
      ProfileEntry& entry = sums[interval.name];
      entry = {interval.name, entry.calls + 1, entry.seconds + 1e-3 * milliseconds};
    }
    return by_time(sums);
  }

 private:
  struct Interval {
    const char* name;
    cudaEvent_t begin, end;
    bool is_innermost;  // only operations are: what stands around them is not counted twice
  };

  static cudaEvent_t make_event() {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "cudaEventCreate");
    return event;
  }
  static void destroy(const Interval& interval) noexcept {
    cudaEventDestroy(interval.begin);
    cudaEventDestroy(interval.end);
  }
  void clear() {
    for (const Interval& interval : open_) destroy(interval);
    for (const Interval& interval : closed_) destroy(interval);
    open_.clear();
    closed_.clear();
  }

  Gpu& gpu_;
  bool is_on_ = false;
  std::vector<Interval> open_, closed_;
};

// The first run makes what is made once (plans, scratch memory, loaded kernels), so that the second
// can be captured.
class GraphRecording final : public Recording {
 public:
  GraphRecording(Gpu& gpu, CudaOps& ops, const Profile& profile, std::function<void()> work)
      : gpu_(gpu), ops_(ops), profile_(profile), work_(std::move(work)) {}
  ~GraphRecording() override {
    if (graph_) cudaGraphExecDestroy(graph_);
  }

  void run() override {
    if (profile_.is_on() || !has_run_) {
      work_();
      has_run_ = true;
      return;
    }
    if (!graph_) capture();
    check(cudaGraphLaunch(graph_, gpu_.stream()), "cudaGraphLaunch");
  }

 private:
  void capture() {
    cudaGraph_t graph = nullptr;
    ops_.join();
    check(cudaStreamBeginCapture(gpu_.stream(), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
    try {
      work_();
    } catch (...) {
      ops_.forget();
      cudaStreamEndCapture(gpu_.stream(), &graph);
      if (graph) cudaGraphDestroy(graph);
      cudaGetLastError();
      throw;
    }
    check(cudaStreamEndCapture(gpu_.stream(), &graph), "cudaStreamEndCapture");
    const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
  }

  Gpu& gpu_;
  CudaOps& ops_;
  const Profile& profile_;
  std::function<void()> work_;
  bool has_run_ = false;
  cudaGraphExec_t graph_ = nullptr;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(const CudaOptions& options)
      : gpu_(options.index), is_bf16_(options.bf16), profile_(gpu_), ops_(gpu_, *this, options) {}
  ~CudaDevice() override {
    for (void* memory : shared_) cudaFreeHost(memory);
  }

  void* bind() noexcept override {
    CUcontext before = current_context();
    set_current_context(gpu_.context());
    return before;
  }
  void unbind(void* before) noexcept override {
    set_current_context(static_cast<CUcontext>(before));
  }

  Ops& ops() override { return ops_; }
  std::string description() const override {
    return format("cuda:%d, %s, %s", gpu_.index(), gpu_.properties().name,
                  is_bf16_ ? "bf16" : "fp32");
  }
  int32_t product_bytes() const override { return is_bf16_ ? 2 : 4; }

  void* allocate(size_t bytes, const char* what) override {
    void* memory = gpu_.allocate(bytes, what);
    zero(memory, bytes);
    return memory;
  }
  void release(void* memory) override {
    if (!memory) return;
    if (shared_.erase(memory) > 0) {
      cudaStreamSynchronize(gpu_.stream());  // cudaFreeHost waits for nobody
      cudaFreeHost(memory);
    } else {
      gpu_.release(memory);
    }
  }
  void* allocate_shared(size_t bytes, const char* what) override {
    void* memory = nullptr;
    const cudaError_t status = cudaHostAlloc(&memory, bytes, cudaHostAllocMapped);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw_error(GF_ERROR_OUT_OF_MEMORY, "no pinned host memory for %zu bytes of %s", bytes, what);
    }
    check(status, what);
    shared_.insert(memory);
    std::fill_n(static_cast<char*>(memory), bytes, '\0');
    return memory;
  }

  void upload(void* to, const void* from, size_t bytes) override {
    ops_.join();
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, gpu_.stream()), "upload");
  }
  void download(void* to, const void* from, size_t bytes) override {
    ops_.join();
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, gpu_.stream()), "download");
    synchronize();
  }
  void zero(void* memory, size_t bytes) override {
    check(cudaMemsetAsync(memory, 0, bytes, gpu_.stream()), "cudaMemsetAsync");
  }
  void synchronize() override {
    ops_.join();
    check(cudaStreamSynchronize(gpu_.stream()), "an operation on the GPU failed");
  }
  std::unique_ptr<Recording> record(std::function<void()> work) override {
    return std::make_unique<GraphRecording>(gpu_, ops_, profile_, std::move(work));
  }

  void refresh(const Parameters& parameters) override {
    refresh_copy(gpu_, parameters.value, parameters.act);
  }

  void enter(const char* name) override {
    nvtxRangePushA(name);
    profile_.enter(name);
  }
  void leave() override {
    profile_.leave();
    nvtxRangePop();
  }
  void set_profiling(bool on) override {
    gpu_.set_serial(on);
    profile_.set(on);
  }
  std::vector<ProfileEntry> profile() override { return profile_.entries(); }

 private:
  Gpu gpu_;
  bool is_bf16_;
  Profile profile_;
  CudaOps ops_;
  std::set<void*> shared_;  // pinned host memory
};

}  // namespace

std::shared_ptr<Device> make_device(const CudaOptions& options) {
  const KeptContext of_maker;
  return {new CudaDevice(options), [](CudaDevice* device) {
            const KeptContext of_last_owner;
            device->bind();
            delete device;
          }};
}

}  // namespace gf::cuda
