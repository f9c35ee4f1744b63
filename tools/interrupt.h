#pragma once

#include <grassflow.h>

namespace tools {

// While one lives, the first Ctrl-C (or SIGTERM) only leaves a note, so that the work under way can
// be finished and saved; the second ends the process at once.
class InterruptGuard {
 public:
  // An evaluation on the context, which must outlive the guard, is not finished but cancelled.
  explicit InterruptGuard(gf_context* context = nullptr);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static int signal();  // 0 while none has come
};

}  // namespace tools
