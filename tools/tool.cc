#include "tool.h"

#include <cstdio>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace tools {

int run_tool(const char* name, const std::function<int()>& body) {
#if defined(__GLIBC__)
  // glibc raises this threshold to the largest block it has seen freed: the text of a corpus, once
  // encoded, would then stay with the process. Fixed, such blocks go back to the system.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
  try {
    return body();
  } catch (const UsageError& error) {
    std::fprintf(stderr, "%s: %s\nTry '%s --help'.\n", name, error.what(), name);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace tools
