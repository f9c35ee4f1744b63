#include "reference/adamw.h"

#include <limits>
#include <tuple>

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::Expected;
using gf_test::kFp32;
using gf_test::TestDevice;
using reference::Matrix;
using reference::random_matrix;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A large rate, so that the update and not the value it is added to decides the comparison.
gf::AdamW options(double clip) {
  gf::AdamW o;
  o.clip = clip;
  o.weight_decay = 0.1;
  o.schedule = {gf::ScheduleKind::kCosine, 0.5, 0.05, 10, 1000};
  return o;
}

struct Size {
  int64_t size;
  int when = gf_test::kAlways;
};

// Around a vector, a block and a part of the sum; as many as a small model has.
constexpr Size kSizes[] = {
    {1}, {7}, {8}, {1000}, {16384}, {100001}, {3000017, gf_test::kGpuOnly | gf_test::kLarge}};

struct State {
  Matrix value, moment1, moment2, grad;

  explicit State(int64_t size)
      : value(random_matrix(1, 1, size)),
        moment1(random_matrix(2, 1, size, 0.1)),
        moment2(random_matrix(3, 1, size, 0.1)),
        grad(random_matrix(4, 1, size)) {
    for (double& v : moment2.values) v *= v;
    for (double& v : moment2.values) v = static_cast<float>(v);
  }
};

std::vector<Expected> unchanged(const State& s) {
  return {{"value", s.value, kFp32}, {"moment1", s.moment1, kFp32}, {"moment2", s.moment2, kFp32}};
}

// One call on the device; returns value and moments. The copy for products must be the new values'.
std::vector<Matrix> step(TestDevice& device, const State& s, const gf::AdamW& o,
                         const gf::StepState& state, double norm_squared, double loss) {
  const gf::Param value = device.param(s.value);
  const gf::Parameters parameters{value.value, value.act, device.mat(s.grad), device.mat(s.moment1),
                                  device.mat(s.moment2)};
  device.ops().adamw(parameters, o, device.state(state), device.array<double>({norm_squared}),
                     device.array<gf::LossSum>({{loss, 1}}));
  std::vector<Matrix> results = {device.read(parameters.value), device.read(parameters.moment1),
                                 device.read(parameters.moment2)};
  assert_true(device.read(parameters.act).values == gf_test::as_held(results[0]).values);
  return results;
}

void squared_norm_is_the_twin(void**) {
  for (const Size& s : gf_test::cases_of(kSizes)) {
    const int64_t size = s.size;
    const Matrix grad = random_matrix(5, 1, size);
    const Matrix expected(1, 1, reference::squared_norm(grad));
    gf_test::assert_results(std::to_string(size), {{"norm", expected, kFp32}},
                            [&](TestDevice& device) {
                              double* out = device.array<double>({kInfinity});
                              device.ops().squared_norm(device.mat(grad), out);
                              return std::vector{Matrix(1, 1, device.read(out, 1)[0])};
                            });
  }
}

void adamw_is_the_twin(void**) {
  for (const Size& s : gf_test::cases_of(kSizes)) {
    const State before(s.size);
    const double norm = reference::squared_norm(before.grad);
    for (const int64_t steps_done : {0, 5, 700}) {
      for (const double clip : {0.0, 1.0, 1e9}) {
        State after = before;
        reference::adamw(options(clip), steps_done, norm, after.grad, &after.value, &after.moment1,
                         &after.moment2);
        gf_test::assert_results("step " + std::to_string(steps_done),
                                {{"value", after.value, kFp32},
                                 {"moment1", after.moment1, kFp32},
                                 {"moment2", after.moment2, kFp32}},
                                [&](TestDevice& device) {
                                  return step(device, before, options(clip), {.step = steps_done},
                                              norm, 1.0);
                                });
      }
    }
  }
}

// A step whose norm or loss is not finite, and all that follow it: the state is stopped then.
void nothing_changes_when_a_step_is_not_finite(void**) {
  const State s(100);
  const gf::StepState running{.step = 3}, stopped{.step = 3, .stopped = 1};
  for (const auto& [state, norm, loss] : {std::tuple{running, kInfinity, 1.0},
                                          {running, std::nan(""), 1.0},
                                          {running, 1.0, kInfinity},
                                          {running, 1.0, std::nan("")},
                                          {stopped, 1.0, 1.0}}) {
    gf_test::assert_results("not finite", unchanged(s),
                            [&, state = state, norm = norm, loss = loss](TestDevice& device) {
                              std::vector<Matrix> results =
                                  step(device, s, options(1.0), state, norm, loss);
                              assert_true(results[0].values == s.value.values);
                              return results;
                            });
  }
}

// The one thing a device does with parameters that is no operation.
void refresh_renews_the_copy_for_products(void**) {
  for (const Size& s : gf_test::cases_of(kSizes)) {
    TestDevice device(2);
    const Matrix values = random_matrix(1, 1, s.size, 0.3);
    Matrix odd = values;  // no bf16
    for (double& value : odd.values) value = static_cast<float>(value * 1.01);
    const gf::Param param = device.param(values);
    const gf::Mat exact = device.mat(odd);
    gf::Parameters parameters{exact, param.act, {}, {}, {}};
    if (device.device().product_bytes() == sizeof(float)) {
      parameters.act.data = reinterpret_cast<std::byte*>(exact.data);  // they are their own copy
    }
    device.device().refresh(parameters);
    assert_true(device.read(parameters.value).values == odd.values);
    assert_true(device.read(parameters.act).values == gf_test::as_held(odd).values);
  }
}

void zeros_stay_zero(void**) {
  State s(64);
  s.value = s.moment1 = s.moment2 = s.grad = Matrix(1, 64);
  gf_test::assert_results("padding", unchanged(s), [&](TestDevice& device) {
    return step(device, s, options(1.0), {}, 4.0, 1.0);
  });
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(squared_norm_is_the_twin),
      cmocka_unit_test(adamw_is_the_twin),
      cmocka_unit_test(nothing_changes_when_a_step_is_not_finite),
      cmocka_unit_test(refresh_renews_the_copy_for_products),
      cmocka_unit_test(zeros_stay_zero),
  };
  return cmocka_run_group_tests_name("ops/adamw", tests, nullptr, nullptr);
}
