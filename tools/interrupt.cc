#include "interrupt.h"

#include <atomic>
#include <csignal>

namespace tools {
namespace {

volatile std::sig_atomic_t noted = 0;
std::atomic<gf_context*> evaluating = nullptr;  // lock-free, as a handler needs it
static_assert(std::atomic<gf_context*>::is_always_lock_free);

void note(int signal) {
  noted = signal;
  gf_context_cancel(evaluating, 1);
}

void handle(int signal, int flags, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(signal, &action, nullptr);
}

void set_handlers(int flags, void (*handler)(int)) {
  handle(SIGINT, flags, handler);
  handle(SIGTERM, flags, handler);
}

}  // namespace

InterruptGuard::InterruptGuard(gf_context* context) {
  evaluating = context;
  set_handlers(SA_RESETHAND | SA_RESTART, note);
}

InterruptGuard::~InterruptGuard() {
  set_handlers(0, SIG_DFL);
  evaluating = nullptr;
}

int InterruptGuard::signal() {
  return noted;
}

}  // namespace tools
