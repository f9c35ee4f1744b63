#pragma once

#include <cstdarg>
#include <exception>
#include <string>

#include "grassflow.h"

namespace gf {

// What every failing function inside the library throws; src/api turns it into its status and text.
class Error : public std::exception {
 public:
  Error(gf_status status, std::string text) : status_(status), text_(std::move(text)) {}

  gf_status status() const { return status_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  gf_status status_;
  std::string text_;
};

// printf-style text as a std::string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

// Throws Error with a printf-style text that names the file, size or option at fault and what was
// expected of it.
[[noreturn, gnu::format(printf, 2, 3)]] void throw_error(gf_status status, const char* pattern,
                                                         ...);

}  // namespace gf
