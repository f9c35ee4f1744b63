#include "interrupt.h"

#include <csignal>

namespace tools {
namespace {

volatile std::sig_atomic_t noted = 0;

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

InterruptGuard::InterruptGuard() {
  set_handlers(SA_RESETHAND | SA_RESTART, [](int signal) { noted = signal; });
}

InterruptGuard::~InterruptGuard() {
  set_handlers(0, SIG_DFL);
}

int InterruptGuard::signal() {
  return noted;
}

}  // namespace tools
