#pragma once

// cmocka wants these before it, in C linkage.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
// cmocka's fail() would rewrite std::ios::fail in headers that come after it.
#undef fail
#undef fail_msg
#define fail_msg(...)                   \
  do {                                  \
    print_error("ERROR: " __VA_ARGS__); \
    print_error("\n");                  \
    _fail(__FILE__, __LINE__);          \
  } while (0)

#include <functional>
#include <string>

#include "grassflow.h"

namespace gf_test {

// A file of tests/, such as "golden/grassmann.safetensors".
std::string source_path(const std::string& relative);

// The directory with the unpacked public data: $GF_DATA_DIR, else data/ of the source tree (which
// tests/run.sh fills); "" and a message that says what is skipped when there is none.
std::string data_directory(const char* skipped);

// A fresh directory of this test program, removed when the program ends.
std::string scratch_directory();

// What an allocation callback can return, to be given to std::free().
void* allocate_aligned(size_t bytes, size_t alignment);

// What a program returns that has skipped all its tests.
inline constexpr int kSkipped = 77;

// Runs body, which must throw gf::Error with this status and a text that holds `part`.
void assert_fails(gf_status status, const char* part, const std::function<void()>& body);

}  // namespace gf_test
