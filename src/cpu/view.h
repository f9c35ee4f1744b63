#pragma once

#include "base/mat.h"

namespace gf {

// The CPU's product precision is fp32, so an Act is a Mat there.
inline Mat f32(const Act& act) {
  return {reinterpret_cast<float*>(act.data), act.rows, act.cols, act.ld};
}

}  // namespace gf
