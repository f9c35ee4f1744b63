#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/error.h"
#include "cpu/cpu_ops.h"
#include "device.h"

namespace gf {
namespace {

constexpr size_t kAlignment = 256;

void* default_allocate(size_t bytes, size_t alignment, void*) {
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void default_release(void* memory, size_t, void*) {
  std::free(memory);
}

// Nothing is asynchronous here: a recording is its list.
class PlainRecording final : public Recording {
 public:
  explicit PlainRecording(std::function<void()> work) : work_(std::move(work)) {}
  void run() override { work_(); }

 private:
  std::function<void()> work_;
};

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(const CpuOptions& options)
      : options_(options), pool_(options.threads), ops_(pool_, *this) {
    if (!options_.allocate) {
      options_.allocate = default_allocate;
      options_.release = default_release;
    }
  }
  ~CpuDevice() override {
    for (const auto& [memory, bytes] : sizes_) options_.release(memory, bytes, options_.user);
  }

  void* bind() noexcept override { return nullptr; }  // any thread will do
  void unbind(void*) noexcept override {}

  Ops& ops() override { return ops_; }
  std::string description() const override {
    return format("cpu, %d thread%s, fp32", pool_.size(), pool_.size() == 1 ? "" : "s");
  }
  int32_t product_bytes() const override { return sizeof(float); }

  void* allocate(size_t bytes, const char* what) override {
    const size_t wanted = bytes > 0 ? bytes : kAlignment;
    void* memory = options_.allocate(wanted, kAlignment, options_.user);
    if (!memory) throw_error(GF_ERROR_OUT_OF_MEMORY, "no memory for %zu bytes of %s", bytes, what);
    sizes_[memory] = wanted;
    std::memset(memory, 0, wanted);
    return memory;
  }
  void release(void* memory) override {
    const auto entry = sizes_.find(memory);
    if (entry == sizes_.end()) return;
    options_.release(memory, entry->second, options_.user);
    sizes_.erase(entry);
  }

  void* allocate_shared(size_t bytes, const char* what) override { return allocate(bytes, what); }

  void upload(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void zero(void* memory, size_t bytes) override { std::memset(memory, 0, bytes); }
  void synchronize() override {}
  std::unique_ptr<Recording> record(std::function<void()> work) override {
    return std::make_unique<PlainRecording>(std::move(work));
  }
  void refresh(const Parameters&) override {}  // products read the fp32 values themselves

  void enter(const char* name) override {
    if (!is_profiling_) return;
    if (!ranges_.empty()) ranges_.back().is_innermost = false;
    ranges_.push_back({name, Clock::now(), true});
  }
  void leave() override {
    if (ranges_.empty()) return;
    const auto [name, begin, is_innermost] = ranges_.back();
    ranges_.pop_back();
    if (!is_innermost) return;
    const std::chrono::duration<double> taken = Clock::now() - begin;
    ProfileEntry& entry = profile_[name];
    entry = {name, entry.calls + 1, entry.seconds + taken.count()};
  }
  void set_profiling(bool on) override {
    is_profiling_ = on;
    ranges_.clear();
    if (on) profile_.clear();
  }
  std::vector<ProfileEntry> profile() override { return by_time(profile_); }

 private:
  using Clock = std::chrono::steady_clock;
  struct OpenRange {
    const char* name;
    Clock::time_point begin;
    bool is_innermost;  // only operations are: what stands around them is not counted twice
  };

  CpuOptions options_;
  ThreadPool pool_;
  CpuOps ops_;
  std::map<void*, size_t> sizes_;
  bool is_profiling_ = false;
  std::vector<OpenRange> ranges_;  // entered and not left
  std::map<std::string, ProfileEntry> profile_;
};

}  // namespace

std::shared_ptr<Device> make_cpu_device(const CpuOptions& options) {
  return std::make_shared<CpuDevice>(options);
}

}  // namespace gf
