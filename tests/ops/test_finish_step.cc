#include <limits>

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::TestDevice;

constexpr int64_t kCapacity = 4;
constexpr gf::StepResult kUntouched{-1, -2.0, -3, -4.0};

struct Outcome {
  gf::StepState state;
  std::vector<gf::StepResult> results;  // as the host sees them
};

Outcome finish(const gf::StepState& before, const gf::LossSum& loss, double squared_norm,
               int64_t batches) {
  TestDevice device(1);
  auto* state = device.array<gf::StepState>({before});
  auto* results = device.shared_array(std::vector(kCapacity, kUntouched));
  device.ops().finish_step(device.array<gf::LossSum>({loss}), device.array<double>({squared_norm}),
                           batches, state, results, kCapacity);
  device.device().synchronize();
  return {device.read(state, 1)[0], {results, results + kCapacity}};
}

void assert_state(const gf::StepState& found, const gf::StepState& expected) {
  assert_int_equal(found.seed, expected.seed);
  assert_int_equal(found.step, expected.step);
  assert_int_equal(found.epoch, expected.epoch);
  assert_int_equal(found.cursor, expected.cursor);
  assert_int_equal(found.stopped, expected.stopped);
}

// Bit by bit, for losses that are no numbers.
void assert_result(const gf::StepResult& found, const gf::StepResult& expected) {
  assert_int_equal(found.step, expected.step);
  assert_memory_equal(&found.loss_sum, &expected.loss_sum, sizeof expected.loss_sum);
  assert_int_equal(found.loss_count, expected.loss_count);
  assert_memory_equal(&found.squared_norm, &expected.squared_norm, sizeof expected.squared_norm);
}

void assert_only_result(const Outcome& outcome, size_t place, const gf::StepResult& expected) {
  for (size_t i = 0; i < kCapacity; ++i) {
    assert_result(outcome.results[i], i == place ? expected : kUntouched);
  }
}

void a_step_moves_the_state_on(void**) {
  const gf::StepState before{.seed = 9, .step = 2, .epoch = 1, .cursor = 8};
  const Outcome outcome = finish(before, {12.5, 30}, 2.25, 20);
  assert_state(outcome.state, {.seed = 9, .step = 3, .epoch = 1, .cursor = 9});
  assert_only_result(outcome, 2, {2, 12.5, 30, 2.25});
}

void the_last_batch_ends_the_epoch(void**) {
  for (const int64_t batches : {1, 4}) {
    const gf::StepState before{.seed = 9, .step = 40, .epoch = 7, .cursor = batches - 1};
    const Outcome outcome = finish(before, {1.0, 1}, 0.0, batches);
    assert_state(outcome.state, {.seed = 9, .step = 41, .epoch = 8, .cursor = 0});
    assert_only_result(outcome, 0, {40, 1.0, 1, 0.0});
  }
}

void results_go_round(void**) {
  for (const int64_t step : {0, 1, 3, 4, 6, 1000003}) {
    const Outcome outcome = finish({.step = step}, {1.0, 2}, 3.0, 1000);
    assert_only_result(outcome, static_cast<size_t>(step % kCapacity), {step, 1.0, 2, 3.0});
  }
}

void what_is_not_finite_stops_the_state_and_is_reported(void**) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const gf::StepState before{.seed = 9, .step = 6, .epoch = 1, .cursor = 8};
  gf::StepState after = before;
  after.stopped = 1;
  for (const auto& [loss, norm] : {std::pair{kInfinity, 1.0},
                                   {-kInfinity, 1.0},
                                   {std::nan(""), 1.0},
                                   {1.0, kInfinity},
                                   {1.0, std::nan("")}}) {
    const Outcome outcome = finish(before, {loss, 30}, norm, 20);
    assert_state(outcome.state, after);
    assert_only_result(outcome, 2, {6, loss, 30, norm});
  }
}

void a_stopped_state_stays_and_reports_nothing(void**) {
  const gf::StepState before{.seed = 9, .step = 6, .epoch = 1, .cursor = 8, .stopped = 1};
  for (const double loss : {1.0, std::nan("")}) {
    const Outcome outcome = finish(before, {loss, 30}, 1.0, 20);
    assert_state(outcome.state, before);
    assert_only_result(outcome, kCapacity, {});
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_step_moves_the_state_on),
      cmocka_unit_test(the_last_batch_ends_the_epoch),
      cmocka_unit_test(results_go_round),
      cmocka_unit_test(what_is_not_finite_stops_the_state_and_is_reported),
      cmocka_unit_test(a_stopped_state_stays_and_reports_nothing),
  };
  return cmocka_run_group_tests_name("ops/finish_step", tests, nullptr, nullptr);
}
