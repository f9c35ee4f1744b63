#pragma once

// Scalar formulas, each stated once for host and device. CPU kernels rely on the compiler to
// vectorise them: no branches, no library calls in the ones that run per element.

#include <bit>
#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define GF_INLINE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define GF_INLINE inline __attribute__((always_inline))
#else
#define GF_INLINE inline
#endif

namespace gf {

inline constexpr float kLayerNormEpsilon = 1e-5f;
inline constexpr float kPlueckerEpsilon = 1e-8f;  // floor of a Plücker vector's norm

GF_INLINE bool is_finite(double x) {
  return x - x == 0;
}

// ---- Random bits -----------------------------------------------------------------------------
// Counter-based, so that the CPU and a GPU draw the same numbers in any order:
// bits = f(seed, step, stream, index).

struct Bits4 {
  uint32_t v[4];
};

// a b, all 64 bits of it. For a GPU it is said which instruction that is: its compiler widens what
// surrounds a product of two uint64_t and then multiplies by their upper halves too.
GF_INLINE uint64_t wide_product(uint32_t a, uint32_t b) {
#if defined(__CUDA_ARCH__)
  uint64_t product;
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
  return product;
#else
  return uint64_t{a} * b;
#endif
}

// Philox4x32-10: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
GF_INLINE Bits4 philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = wide_product(0xD2511F53u, c0), p1 = wide_product(0xCD9E8D57u, c2);
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Streams of random numbers that never meet. Dropout sites are numbered from 0 upwards.
enum RandomStream : uint32_t {
  kStreamInit = 0xF0000000u,
  kStreamShuffle = 0xF0000001u,
  kStreamSample = 0xF0000002u,
};

GF_INLINE Bits4 random_bits(uint64_t seed, uint64_t step, uint32_t stream, uint64_t block) {
  // 16 bits of the step lie above 48 bits of the block: 2^48 steps, 2^48 blocks of a tensor.
  return philox(seed, static_cast<uint32_t>(block),
                static_cast<uint32_t>(block >> 32) | static_cast<uint32_t>(step >> 32) << 16,
                static_cast<uint32_t>(step), stream);
}

// Uniform in (0, 1], 24 bits.
GF_INLINE float uniform(uint32_t bits) {
  return (static_cast<float>(bits >> 8) + 1.0f) * 0x1p-24f;
}

// ---- Dropout ---------------------------------------------------------------------------------
// Element i of a site takes the 16-bit word i % 8 of block i / 8 (word w: half w % 2 of v[w / 2],
// low half first) and is dropped where the word is below the threshold.

GF_INLINE uint32_t dropout_threshold(float probability) {
  return static_cast<uint32_t>(probability * 65536.0f + 0.5f);
}

// What a kept element is multiplied by; the inverse of the share that is kept exactly.
GF_INLINE float dropout_scale(uint32_t threshold) {
  return 65536.0f / static_cast<float>(65536u - threshold);
}

// ---- Keyed permutation -----------------------------------------------------------------------
// Image of i in a permutation of 0 .. n - 1 chosen by (seed, epoch): a balanced Feistel network
// over the next even power of two, walked until it lands below n (Black & Rogaway, "Ciphers with
// Arbitrary Finite Domains", 2002). Its state is its arguments, so a shuffle resumes in O(1).
// From n on i counts from the front again, where the walk would have no end: a step behind a
// stopped one may ask for that.
GF_INLINE uint64_t permuted(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n) {
  i %= n;
  uint32_t half = 1;
  while ((uint64_t{1} << (2 * half)) < n) ++half;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = i >> half, right = i & mask;
    for (uint32_t round = 0; round < 6; ++round) {
      const Bits4 f = random_bits(seed, epoch, kStreamShuffle, right | uint64_t{round} << 44);
      const uint64_t mixed = left ^ ((f.v[0] | uint64_t{f.v[1]} << 32) & mask);
      left = right;
      right = mixed;
    }
    i = left << half | right;
  } while (i >= n);
  return i;
}

// ---- Activations -----------------------------------------------------------------------------

// 1 / x; on a GPU by its own instruction, to 1 ulp, instead of a division of ten.
GF_INLINE float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / x;
#endif
}

// e^x to 2 ulp without a library call: 2^n times a polynomial in the rest (Cody & Waite reduction).
// On a GPU by its own instruction, to 2 + |x| ulp, which is as good where e^x counts beside 1; what
// is below 2^-126 becomes 0.
GF_INLINE float fast_exp(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f));
  return y;
#else
  const float c = x > -87.0f ? (x < 88.0f ? x : 88.0f) : -87.0f;  // NaN too becomes a number here
  const float n = std::nearbyintf(c * 1.44269504f);
  const float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const float value = p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return x == x ? value : x;
#endif
}

GF_INLINE float sigmoid(float x) {
  return reciprocal(1.0f + fast_exp(-x));
}

// The standard normal's density and distribution function at x.
struct Normal {
  float density;
  float distribution;
};

// The upper tail at z >= 0 is e^(-z²/2) t P(t), t = 1 / (1 + 0.3 z): the form of Abramowitz &
// Stegun, Handbook of Mathematical Functions, 7.1.26, with P of degree 7 fitted to a relative error
// of 1.5e-7.
GF_INLINE Normal normal(float x) {
  const float z = x < 0.0f ? -x : x;
  const float e = fast_exp(-0.5f * z * z);
  const float t = reciprocal(1.0f + 0.3f * z);
  float p = 0.0356747583f;
  p = p * t - 0.157203019f;
  p = p * t + 0.206353396f;
  p = p * t - 0.0536835417f;
  p = p * t + 0.128561571f;
  p = p * t + 0.0999135077f;
  p = p * t + 0.120753951f;
  p = p * t + 0.119629301f;
  const float tail = e * t * p;
  return {0.398942280f * e, x < 0.0f ? tail : 1.0f - tail};
}

// gelu(x) = x Φ(x), the exact form and not its tanh approximation. n is normal(x), for those who
// want both.
GF_INLINE float gelu(float x, const Normal& n) {
  return x * n.distribution;
}
GF_INLINE float gelu(float x) {
  return gelu(x, normal(x));
}

GF_INLINE float gelu_derivative(float x, const Normal& n) {
  return n.distribution + x * n.density;
}
GF_INLINE float gelu_derivative(float x) {
  return gelu_derivative(x, normal(x));
}

// ---- Learning rate ---------------------------------------------------------------------------

enum class ScheduleKind : int32_t { kCosine = 0, kCosineEpoch = 1, kConstant = 2 };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double lr = 6e-4;
  double min_lr = 6e-5;
  int64_t warmup_steps = 100;
  int64_t total_steps = 0;
  int64_t steps_per_epoch = 0;
  int64_t epochs = 0;
};

// Rate of step i, counted from 0: linear warm-up lr (i + 1) / (warmup + 1), then by kind.
GF_INLINE double learning_rate(const Schedule& s, int64_t i) {
  constexpr double kPi = 3.14159265358979323846;
  if (i < s.warmup_steps) {
    return s.lr * static_cast<double>(i + 1) / static_cast<double>(s.warmup_steps + 1);
  }
  if (s.kind == ScheduleKind::kConstant) return s.lr;
  double progress = 0;
  if (s.kind == ScheduleKind::kCosineEpoch) {
    progress = static_cast<double>(i / s.steps_per_epoch) / static_cast<double>(s.epochs);
  } else if (s.total_steps - 1 > s.warmup_steps) {
    progress = static_cast<double>(i - s.warmup_steps) /
               static_cast<double>(s.total_steps - 1 - s.warmup_steps);
  }
  return s.min_lr + 0.5 * (s.lr - s.min_lr) * (1.0 + std::cos(kPi * progress));
}

// ---- Optimizer -------------------------------------------------------------------------------

struct AdamW {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  double clip = 1.0;  // largest global gradient norm; 0: none
  Schedule schedule;
};

// What all elements share in one step.
struct AdamWStep {
  float grad_scale;      // of clipping
  float share1, share2;  // 1 - beta: the new gradient's share of a moment
  float decay;           // 1 - learning rate * weight decay
  float rate;            // learning rate / (1 - beta1^t)
  float inverse_spread;  // 1 / sqrt(1 - beta2^t)
  float epsilon;
};

// Of the step after `step` others, for gradients with this sum of squares.
GF_INLINE AdamWStep adamw_step(const AdamW& o, int64_t step, double squared_norm) {
  const double rate = learning_rate(o.schedule, step), t = static_cast<double>(step + 1);
  const double clip = o.clip > 0 ? o.clip / (std::sqrt(squared_norm) + 1e-6) : 1.0;
  AdamWStep s;
  s.grad_scale = static_cast<float>(clip < 1.0 ? clip : 1.0);
  s.share1 = static_cast<float>(1.0 - o.beta1);
  s.share2 = static_cast<float>(1.0 - o.beta2);
  s.decay = static_cast<float>(1.0 - rate * o.weight_decay);
  s.rate = static_cast<float>(rate / (1.0 - std::pow(o.beta1, t)));
  s.inverse_spread = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(o.beta2, t)));
  s.epsilon = static_cast<float>(o.epsilon);
  return s;
}

GF_INLINE void adamw_update(const AdamWStep& s, float grad, float& value, float& moment1,
                            float& moment2) {
  const float g = grad * s.grad_scale;
  moment1 += s.share1 * (g - moment1);
  moment2 += s.share2 * (g * g - moment2);
  value = s.decay * value - s.rate * moment1 / (std::sqrt(moment2) * s.inverse_spread + s.epsilon);
}

}  // namespace gf
