#include "display.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace tools {
namespace {

constexpr std::chrono::milliseconds kTerminalPeriod{100};
constexpr std::chrono::seconds kPlainPeriod{5};
constexpr const char* kClearLine = "\r\x1b[K";
constexpr const char* kGap = "  ";

// The last column stays free: some terminals wrap as soon as it is filled.
size_t terminal_width() {
  winsize size = {};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - 1u : 79u;
}

std::string join(const std::vector<StatusField>& fields) {
  std::string text;
  for (const StatusField& field : fields) text += (text.empty() ? "" : kGap) + field.text;
  return text;
}

}  // namespace

std::string fit_status(std::vector<StatusField> fields, size_t width) {
  while (fields.size() > 1 && join(fields).size() > width) {
    fields.erase(std::max_element(fields.begin(), fields.end(),
                                  [](const auto& a, const auto& b) { return a.rank < b.rank; }));
  }
  return join(fields).substr(0, width);
}

Display::Display(Mode mode)
    : mode_(mode),
      terminal_(isatty(STDOUT_FILENO) != 0),
      last_status_(Clock::now() - kPlainPeriod) {}

void Display::line(const std::string& text) {
  if (mode_ != Mode::kHuman) return;
  clear_status();
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

void Display::event(const Json& value) {
  if (mode_ != Mode::kMachine) return;
  std::printf("%s\n", value.dump().c_str());
  std::fflush(stdout);
}

bool Display::status_due() const {
  if (mode_ != Mode::kHuman) return false;
  const auto waited = Clock::now() - last_status_;
  return terminal_ ? waited >= kTerminalPeriod : waited >= kPlainPeriod;
}

void Display::status(const std::vector<StatusField>& fields) {
  if (mode_ != Mode::kHuman || (!terminal_ && !status_due())) return;
  if (terminal_) {
    std::printf("%s%s", kClearLine, fit_status(fields, terminal_width()).c_str());
    status_shown_ = true;
  } else {
    std::printf("%s\n", join(fields).c_str());
  }
  std::fflush(stdout);
  last_status_ = Clock::now();
}

void Display::clear_status() {
  if (!status_shown_) return;
  std::fputs(kClearLine, stdout);
  std::fflush(stdout);
  status_shown_ = false;
}

}  // namespace tools
