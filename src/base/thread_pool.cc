#include "base/thread_pool.h"

#include <sched.h>

#include <system_error>
#include <utility>

#include "base/error.h"

namespace gf {
namespace {

int usable_cores() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  const int wanted = threads > 0 ? threads : std::max(1, usable_cores());
  try {
    for (int i = 1; i < wanted; ++i) workers_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    const size_t started = workers_.size();
    stop_ = true;
    round_.fetch_add(1);
    round_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    throw_error(GF_ERROR_OUT_OF_MEMORY, "cannot start thread %zu of %d: %s", started + 2, wanted,
                error.what());
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  round_.fetch_add(1);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(int64_t parts, Call call, const void* body) {
  parts_ = parts;
  call_ = call;
  body_ = body;
  next_.store(0, std::memory_order_relaxed);
  const bool alone = workers_.empty() || parts <= 1;
  if (!alone) {
    active_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
  }
  take_parts();
  if (!alone) {
    for (int left = active_.load(std::memory_order_acquire); left != 0;
         left = active_.load(std::memory_order_acquire)) {
      active_.wait(left, std::memory_order_acquire);
    }
  }
  if (failure_) {
    failed_.clear();
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

void ThreadPool::work() {
  uint64_t seen = 0;
  for (;;) {
    round_.wait(seen, std::memory_order_acquire);
    seen = round_.load(std::memory_order_acquire);
    if (stop_) return;
    take_parts();
    if (active_.fetch_sub(1, std::memory_order_acq_rel) == 1) active_.notify_one();
  }
}

void ThreadPool::take_parts() {
  for (int64_t part = next_.fetch_add(1, std::memory_order_relaxed); part < parts_;
       part = next_.fetch_add(1, std::memory_order_relaxed)) {
    try {
      call_(body_, part);
    } catch (...) {
      if (!failed_.test_and_set()) failure_ = std::current_exception();
    }
  }
}

}  // namespace gf
