#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "json_file.h"

namespace tools {

// A part of the status line; where the terminal is too narrow the highest ranks go first.
struct StatusField {
  int rank;
  std::string text;
};

// The fields that fit into `width` columns, in their order.
std::string fit_status(std::vector<StatusField> fields, size_t width);

// What a tool shows while it works. To people: lines, and on a terminal below them one status line
// that is rewritten in place; elsewhere the status is a plain line every few seconds. To machines:
// one JSON object per line.
class Display {
 public:
  enum class Mode { kHuman, kMachine, kQuiet };

  explicit Display(Mode mode);
  ~Display() { clear_status(); }
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;

  void line(const std::string& text);
  void event(const Json& value);

  bool status_due() const;  // whether it is time for another status()
  void status(const std::vector<StatusField>& fields);
  void clear_status();

 private:
  using Clock = std::chrono::steady_clock;

  Mode mode_;
  bool terminal_;
  bool status_shown_ = false;
  Clock::time_point last_status_;
};

}  // namespace tools
