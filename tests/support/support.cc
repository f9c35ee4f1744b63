#include "support/support.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace gf_test {
namespace fs = std::filesystem;

std::string source_path(const std::string& relative) {
  const char* moved = std::getenv("GF_TEST_DIR");  // where the programs came from another machine
  return std::string(moved ? moved : GF_TEST_SOURCE_DIR) + "/" + relative;
}

std::string data_directory(const char* skipped) {
  const char* named = std::getenv("GF_DATA_DIR");
  for (const std::string& candidate : {std::string(named ? named : ""), source_path("../data")}) {
    if (!candidate.empty() && fs::exists(candidate + "/wikitext-2/wiki.train.tokens")) {
      return candidate;
    }
  }
  print_message("[  SKIPPED ] %s: no data; run tools/fetch-data.sh or set GF_DATA_DIR\n", skipped);
  return "";
}

std::string scratch_directory() {
  struct Scratch {
    std::string path;
    Scratch() {
      std::string pattern = (fs::temp_directory_path() / "gf-test-XXXXXX").string();
      path = ::mkdtemp(pattern.data()) ? pattern : "";
    }
    ~Scratch() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  };
  static const Scratch scratch;
  return scratch.path;
}

void* allocate_aligned(size_t bytes, size_t alignment) {
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void assert_fails(gf_status status, const char* part, const std::function<void()>& body) {
  try {
    body();
  } catch (const gf::Error& error) {
    if (error.status() != status || std::string(error.what()).find(part) == std::string::npos) {
      fail_msg("wanted %s with \"%s\", got %s: %s", gf_status_name(status), part,
               gf_status_name(error.status()), error.what());
    }
    return;
  }
  fail_msg("wanted %s with \"%s\", but nothing failed", gf_status_name(status), part);
}

}  // namespace gf_test
