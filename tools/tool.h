#pragma once

#include <functional>
#include <stdexcept>

namespace tools {

// A mistake on the command line; the text names the flag. Exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Anything else that stops a tool; the text names the file or the number at fault. Exit code 1.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Runs a tool and returns its exit code: the body's own, or after an exception, whose text goes to
// stderr, 2 for a UsageError and else 1.
int run_tool(const char* name, const std::function<int()>& body);

}  // namespace tools
