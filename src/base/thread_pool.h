#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace gf {

// Threads that share the parts of a loop. How many parts there are is the caller's choice and must
// depend on the problem's shape alone, never on size(): then results do not depend on the number of
// threads. Used by one caller at a time, who works along.
class ThreadPool {
 public:
  // The calling thread and threads - 1 more. threads = 0: one per core this process may run on.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(part) for every part in [0, parts), each once, in any order and on any thread;
  // returns when all are done. Rethrows the first exception of a body; the other parts still run.
  template <class Body>
  void run(int64_t parts, const Body& body) {
    run_erased(
        parts, [](const void* b, int64_t part) { (*static_cast<const Body*>(b))(part); }, &body);
  }

 private:
  using Call = void (*)(const void* body, int64_t part);
  void run_erased(int64_t parts, Call call, const void* body);
  void work();
  void take_parts();

  std::vector<std::thread> workers_;
  std::atomic<uint64_t> round_{0};  // raised to start a loop
  std::atomic<int64_t> next_{0};    // first part nobody has taken
  std::atomic<int> active_{0};      // workers that have not finished this round
  std::atomic<bool> stop_{false};
  int64_t parts_ = 0;
  Call call_ = nullptr;
  const void* body_ = nullptr;
  std::atomic_flag failed_ = ATOMIC_FLAG_INIT;
  std::exception_ptr failure_;
};

}  // namespace gf
