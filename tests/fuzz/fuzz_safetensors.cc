// libFuzzer target: any bytes as a safetensors file. How to run it: tests/fuzz/CMakeLists.txt.
#include "fuzz/fuzz_safetensors.h"

#include <sys/mman.h>
#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int memory = ::memfd_create("input", 0);
  if (::ftruncate(memory, 0) != 0 ||
      ::pwrite(memory, data, size, 0) != static_cast<ssize_t>(size)) {
    __builtin_trap();
  }
  gf_test::read_safetensors("/proc/self/fd/" + std::to_string(memory));
  return 0;
}
