#pragma once

namespace tools {

// While one lives, the first Ctrl-C (or SIGTERM) only leaves a note, so that the work under way can
// be finished and saved; the second ends the process at once.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static int signal();  // 0 while none has come
};

}  // namespace tools
