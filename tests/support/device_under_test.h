#pragma once

#include <memory>

#include "device.h"

namespace gf_test {

// The device under test. The environment variable GF_TEST_DEVICE names it: "cpu" (or unset),
// "cuda:fp32" or "cuda:bf16", by the precision of its products. `threads` are the CPU's.
std::shared_ptr<gf::Device> make_test_device(int threads);
bool on_gpu();
bool in_bf16();

// Of two bounds the one that suits the precision of the products under test.
inline double by_precision(double fp32, double bf16) {
  return in_bf16() ? bf16 : fp32;
}

}  // namespace gf_test
