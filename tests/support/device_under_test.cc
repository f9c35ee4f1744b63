#include "support/device_under_test.h"

#include <cstdlib>
#include <string>

#include "support/support.h"

namespace gf_test {
namespace {

std::string named_device() {
  const char* name = std::getenv("GF_TEST_DEVICE");
  return name && *name ? name : "cpu";
}

}  // namespace

bool in_bf16() {
  return named_device() == "cuda:bf16";
}

bool on_gpu() {
  return in_bf16() || named_device() == "cuda:fp32";
}

std::shared_ptr<gf::Device> make_test_device(int threads) {
  if (on_gpu()) return gf::make_cuda_device({.bf16 = in_bf16()});
  if (named_device() != "cpu") {
    fail_msg("GF_TEST_DEVICE is \"%s\", expected cpu, cuda:fp32 or cuda:bf16",
             named_device().c_str());
  }
  return gf::make_cpu_device({.threads = threads});
}

}  // namespace gf_test
