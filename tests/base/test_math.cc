#include "math.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "support/support.h"

namespace {

using gf::Bits4;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void assert_close(double value, double expected, double tolerance) {
  if (!(std::fabs(value - expected) <= tolerance)) {
    fail_msg("%.17g: expected %.17g to within %g", value, expected, tolerance);
  }
}

// ---- Random bits -----------------------------------------------------------------------------

// Known answers for philox4x32-10 that Random123 publishes with its tests (kat_vectors).
void philox_gives_the_published_words(void**) {
  struct Known {
    uint32_t counter[4];
    uint64_t key;
    uint32_t words[4];
  };
  const Known known[] = {
      {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, ~uint64_t{0}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       0x299f31d0a4093822,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Known& k : known) {
    const Bits4 bits = gf::philox(k.key, k.counter[0], k.counter[1], k.counter[2], k.counter[3]);
    assert_memory_equal(bits.v, k.words, sizeof k.words);
  }
}

void streams_steps_blocks_and_seeds_never_meet(void**) {
  std::set<std::array<uint32_t, 4>> drawn;
  size_t draws = 0;
  for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32}) {
    for (const uint32_t stream :
         {0u, 1u, 17u, +gf::kStreamInit, +gf::kStreamShuffle, +gf::kStreamSample}) {
      for (const uint64_t step : {0ull, 1ull, 7ull, 1ull << 32, 7ull << 32, (1ull << 48) - 1}) {
        for (const uint64_t block : {0ull, 1ull, 7ull, 1ull << 32, 7ull << 32, (1ull << 48) - 1}) {
          const Bits4 bits = gf::random_bits(seed, step, stream, block);
          drawn.insert({bits.v[0], bits.v[1], bits.v[2], bits.v[3]});
          ++draws;
        }
      }
    }
  }
  assert_int_equal(drawn.size(), draws);
}

void uniform_is_in_range_and_even(void**) {
  assert_true(gf::uniform(0) == 0x1p-24f);
  assert_true(gf::uniform(~0u) == 1.0f);
  constexpr int kDraws = 1 << 18;
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws / 4; ++i) {
    const Bits4 bits = gf::random_bits(1, 0, gf::kStreamInit, static_cast<uint64_t>(i));
    for (const uint32_t v : bits.v) {
      const double u = gf::uniform(v);
      assert_true(u > 0 && u <= 1);
      sum += u;
      squares += u * u;
    }
  }
  // Five standard deviations of the two means.
  assert_close(sum / kDraws, 1.0 / 2, 5 * std::sqrt(1.0 / 12 / kDraws));
  assert_close(squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kDraws));
}

// ---- Dropout ---------------------------------------------------------------------------------

void dropout_keeps_the_mean(void**) {
  assert_int_equal(gf::dropout_threshold(0.0f), 0);
  assert_int_equal(gf::dropout_threshold(0.1f), 6554);
  assert_int_equal(gf::dropout_threshold(0.5f), 32768);
  assert_true(gf::dropout_scale(0) == 1.0f);
  for (const float p : {0.001f, 0.1f, 1.0f / 3.0f, 0.5f, 0.9f, 0.999f}) {
    const uint32_t threshold = gf::dropout_threshold(p);
    assert_close(threshold / 65536.0, p, 0.5 / 65536);
    const double kept = (65536.0 - threshold) / 65536.0;
    assert_close(kept * static_cast<double>(gf::dropout_scale(threshold)), 1.0, 1e-7);
  }
}

// ---- Keyed permutation -----------------------------------------------------------------------

std::vector<uint64_t> permutation(uint64_t seed, uint64_t epoch, uint64_t n) {
  std::vector<uint64_t> images(n);
  for (uint64_t i = 0; i < n; ++i) images[i] = gf::permuted(seed, epoch, i, n);
  return images;
}

void permuted_is_a_permutation(void**) {
  for (const uint64_t n : {1, 2, 3, 4, 5, 6, 16, 17, 63, 64, 65, 100, 1023, 1025, 9343, 17412}) {
    for (uint64_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<uint64_t> images = permutation(42, epoch, n);
      std::sort(images.begin(), images.end());
      for (uint64_t i = 0; i < n; ++i) assert_int_equal(images[i], i);
    }
  }
}

void permuted_counts_from_the_front_again_after_the_end(void**) {
  for (const uint64_t n : {1, 3, 10, 17, 1000}) {
    for (uint64_t i = 0; i < 70; ++i) {
      assert_int_equal(gf::permuted(5, 2, n + i, n), gf::permuted(5, 2, i % n, n));
    }
  }
}

void permuted_depends_on_seed_and_epoch(void**) {
  const auto base = permutation(42, 0, 1000);
  assert_true(base == permutation(42, 0, 1000));
  for (const auto& other : {permutation(42, 1, 1000), permutation(43, 0, 1000),
                            permutation(42 + (1ull << 32), 0, 1000)}) {
    int fixed = 0;  // Poisson of mean 1
    for (size_t i = 0; i < base.size(); ++i) fixed += base[i] == other[i];
    assert_in_range(fixed, 0, 10);
  }
}

// Over epochs, element i lands everywhere alike, and what follows it does so too. Chi-square of n -
// 1 degrees of freedom has mean n - 1 and variance 2 (n - 1); six standard deviations.
void permuted_is_uniform(void**) {
  for (const uint64_t n : {2, 3, 5, 17, 100}) {
    const auto epochs = static_cast<int>(200 * n);
    for (const uint64_t i : {uint64_t{0}, n / 2, n - 1}) {
      std::vector<int> landed(n), distance(n);
      for (int epoch = 0; epoch < epochs; ++epoch) {
        const auto e = static_cast<uint64_t>(epoch);
        const uint64_t here = gf::permuted(7, e, i, n), next = gf::permuted(7, e, (i + 1) % n, n);
        ++landed[here];
        ++distance[(next + n - here) % n];
      }
      double uneven = 0, apart = 0;
      for (const int count : landed) uneven += (count - 200.0) * (count - 200.0) / 200.0;
      const double expected = epochs / static_cast<double>(n - 1);
      for (size_t d = 1; d < n; ++d) {
        apart += (distance[d] - expected) * (distance[d] - expected) / expected;
      }
      const double limit = static_cast<double>(n - 1) + 6 * std::sqrt(2.0 * (n - 1));
      if (uneven > limit || apart > limit) {
        fail_msg("n %d, i %d: chi-square %g and %g", int(n), int(i), uneven, apart);
      }
    }
  }
}

// ---- Activations -----------------------------------------------------------------------------

// Calls visit(x) for floats over [-limit, limit], as dense near 0 as far from it.
template <class Visit>
void for_floats(float limit, const Visit& visit) {
  const auto last = std::bit_cast<uint32_t>(limit);
  for (uint32_t bits = 0; bits < last; bits += 997) {
    visit(std::bit_cast<float>(bits));
    visit(-std::bit_cast<float>(bits));
  }
  visit(limit);
  visit(-limit);
}

void fast_exp_is_exact_to_two_ulp(void**) {
  double worst = 0;
  for_floats(87.0f, [&](float x) {
    const double exact = std::exp(static_cast<double>(x));
    const float rounded = static_cast<float>(exact);
    const double ulp = std::nextafterf(rounded, kInfinity) - rounded;
    worst = std::max(worst, std::fabs(gf::fast_exp(x) - exact) / ulp);
  });
  assert_close(worst, 0, 2.0);
}

void fast_exp_stays_finite_and_positive(void**) {
  for (const float x : {87.5f, 88.0f, 89.0f, 1e30f, kInfinity}) {
    assert_close(gf::fast_exp(x) / std::exp(std::min<double>(x, 88)), 1, 3e-7);
    assert_close(gf::fast_exp(-x) / std::exp(-87.0), 1, 3e-7);
  }
  assert_true(std::isnan(gf::fast_exp(std::nanf(""))));
}

void sigmoid_is_exact_to_rounding(void**) {
  double worst = 0;
  for_floats(87.0f, [&](float x) {
    const double exact = 1 / (1 + std::exp(-static_cast<double>(x)));
    worst = std::max(worst, std::fabs(gf::sigmoid(x) / exact - 1));
  });
  assert_close(worst, 0, 4e-7);
  for (const float x : {100.0f, 1e30f, kInfinity}) {
    assert_true(gf::sigmoid(x) == 1.0f);
    assert_close(gf::sigmoid(-x), 0, 1e-38);
  }
}

// ---- Learning rate ---------------------------------------------------------------------------

gf::Schedule study(int64_t total_steps) {
  gf::Schedule s;
  s.total_steps = total_steps;
  return s;
}

void study_rate_warms_up_and_falls_to_its_minimum(void**) {
  const gf::Schedule s = study(1001);  // 900 steps from the top to the end
  assert_close(gf::learning_rate(s, 0), 6e-4 / 101, 1e-18);
  assert_close(gf::learning_rate(s, 49), 6e-4 * 50 / 101, 1e-18);
  assert_close(gf::learning_rate(s, 99), 6e-4 * 100 / 101, 1e-18);
  assert_close(gf::learning_rate(s, 100), 6e-4, 1e-18);
  assert_close(gf::learning_rate(s, 400), 6e-5 + 5.4e-4 * 0.75, 1e-18);  // cos(pi / 3)
  assert_close(gf::learning_rate(s, 550), 3.3e-4, 1e-18);
  assert_close(gf::learning_rate(s, 700), 6e-5 + 5.4e-4 * 0.25, 1e-18);
  assert_true(gf::learning_rate(s, 1000) == 6e-5);
}

void document_rate_is_constant_within_an_epoch(void**) {
  gf::Schedule s;
  s.kind = gf::ScheduleKind::kCosineEpoch;
  s.lr = 3e-4;
  s.min_lr = 0;
  s.warmup_steps = 0;
  s.steps_per_epoch = 10;
  s.epochs = 4;
  s.total_steps = 40;
  const double half_root = std::sqrt(0.5);
  const double by_epoch[] = {3e-4, 1.5e-4 * (1 + half_root), 1.5e-4, 1.5e-4 * (1 - half_root)};
  for (int64_t i = 0; i < 40; ++i) {
    assert_close(gf::learning_rate(s, i), by_epoch[i / 10], 1e-18);
  }
}

void constant_rate_follows_its_warm_up(void**) {
  gf::Schedule s = study(5);
  s.kind = gf::ScheduleKind::kConstant;
  s.warmup_steps = 1;
  assert_close(gf::learning_rate(s, 0), 3e-4, 1e-18);
  for (int64_t i = 1; i < 5; ++i) assert_true(gf::learning_rate(s, i) == 6e-4);
}

void short_runs_have_a_rate_too(void**) {
  assert_close(gf::learning_rate(study(1), 0), 6e-4 / 101, 1e-18);  // ends while warming up
  assert_close(gf::learning_rate(study(100), 99), 6e-4 * 100 / 101, 1e-18);
  assert_true(gf::learning_rate(study(101), 100) == 6e-4);  // top and end are one step
  assert_true(gf::learning_rate(study(102), 100) == 6e-4);
  assert_true(gf::learning_rate(study(102), 101) == 6e-5);
  gf::Schedule s = study(1);
  s.warmup_steps = 0;
  assert_true(gf::learning_rate(s, 0) == 6e-4);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(philox_gives_the_published_words),
      cmocka_unit_test(streams_steps_blocks_and_seeds_never_meet),
      cmocka_unit_test(uniform_is_in_range_and_even),
      cmocka_unit_test(dropout_keeps_the_mean),
      cmocka_unit_test(permuted_is_a_permutation),
      cmocka_unit_test(permuted_counts_from_the_front_again_after_the_end),
      cmocka_unit_test(permuted_depends_on_seed_and_epoch),
      cmocka_unit_test(permuted_is_uniform),
      cmocka_unit_test(fast_exp_is_exact_to_two_ulp),
      cmocka_unit_test(fast_exp_stays_finite_and_positive),
      cmocka_unit_test(sigmoid_is_exact_to_rounding),
      cmocka_unit_test(study_rate_warms_up_and_falls_to_its_minimum),
      cmocka_unit_test(document_rate_is_constant_within_an_epoch),
      cmocka_unit_test(constant_rate_follows_its_warm_up),
      cmocka_unit_test(short_runs_have_a_rate_too),
  };
  return cmocka_run_group_tests_name("base/math", tests, nullptr, nullptr);
}
