#pragma once

// GELU's normal distribution as activations of either precision deserve it.

#include <cmath>

#include "kernel.cuh"

namespace gf::cuda {

// normal() of math.h times `scale`, for results that are rounded to bf16: two exponentials instead
// of one and a reciprocal, and half of its instructions. The lower tail at -z is 2^p(z), with p of
// degree 5 fitted to the logarithm, which is nearly a parabola: so the error is a relative one, of
// Φ and of gelu alike, and 2.5e-4, an eighth of bf16's rounding, from -5.5 up. Further down, where
// gelu is below 1e-7, it grows: 4e-3 at -6, 0.16 at -8; from -13 on gelu is 0. GELU's derivative is
// right to 1.3e-4, and below -1 to 3.1e-4 of itself.
struct ScaledNormal {
  float scale = 1.0f;
  float log2_tail = -1.00035910f;     // and the logarithm of scale
  float log2_density = -1.32574806f;  // log2(1 / sqrt(2 pi)), and the same

  ScaledNormal() = default;
  // Times what dropout scales by.
  explicit ScaledNormal(const Dropout& dropout) : scale(dropout_scale(dropout.threshold)) {
    log2_tail += std::log2(scale);
    log2_density += std::log2(scale);
  }

  __device__ __forceinline__ Normal at(float x) const {
    const float z = fabsf(x);
    float p = -0.000233251400f;
    p = p * z + 0.00486977454f;
    p = p * z - 0.0445990137f;
    p = p * z - 0.469681092f;
    p = p * z - 1.14626080f;
    const float tail = exp2_approx(p * z + log2_tail);
    const float density = exp2_approx(-0.5f * kLog2e * x * x + log2_density);
    return {density, x < 0.0f ? tail : scale - tail};
  }
};

// For results of type T.
template <class T>
__device__ __forceinline__ Normal normal_for(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return ScaledNormal().at(x);
  } else {
    return normal(x);
  }
}

}  // namespace gf::cuda
