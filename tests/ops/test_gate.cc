#include "reference/gate.h"

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::kFp32;
using gf_test::TestDevice;
using reference::GateParameters;
using reference::Matrix;
using reference::random_matrix;

constexpr gf::StepState kState{.seed = 7, .step = 12};
constexpr uint32_t kSite = 3;

struct Shape {
  int64_t rows, cols, padding;
  int when = gf_test::kAlways;
};

constexpr Shape kShapes[] = {{1, 1, 0},
                             {1, 5, 2},
                             {3, 16, 1},
                             {17, 33, 0},
                             {128, 256, 3},
                             {1000, 257, 1},
                             {257, 600, 0},
                             {100, 24, 0},
                             {385, 256, 0, gf_test::kGpuOnly},
                             {385, 256, 8, gf_test::kGpuOnly},
                             {385, 256, 1, gf_test::kGpuOnly},
                             {385, 7, 0, gf_test::kGpuOnly},
                             {4097, 256, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {20001, 24, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {300, 2048, 0, gf_test::kGpuOnly | gf_test::kLarge}};
constexpr float kProbabilities[] = {0.0f, 0.1f};

std::string text(const Shape& s, float probability) {
  return std::to_string(s.rows) + " x " + std::to_string(s.cols) + ", dropout " +
         std::to_string(probability);
}

struct Operands {
  Matrix x, hg, gate;
  GateParameters parameters;
  Matrix factors;
};

// Gates reach far to both sides, where sigmoid is 0 and 1.
Operands operands_of(const Shape& s, float probability) {
  const auto vector = [&](uint64_t seed) { return random_matrix(seed, 1, s.cols); };
  return {random_matrix(1, s.rows, s.cols),
          random_matrix(2, s.rows, 2 * s.cols),
          random_matrix(3, s.rows, s.cols, 20.0),
          {vector(4), vector(5), vector(6), vector(7)},
          reference::dropout_factors(kState.seed, kState.step, kSite,
                                     gf::dropout_threshold(probability), s.rows, s.cols)};
}

gf::Dropout dropout_of(TestDevice& device, float probability) {
  return {gf::dropout_threshold(probability), kSite, device.state(kState)};
}

void gate_add_norm_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const float probability : kProbabilities) {
      for (const bool in_place : {false, true}) {
        const Operands o = operands_of(s, probability);
        const reference::Gate expected =
            reference::gate_add_norm(o.x, o.hg, o.gate, o.parameters, o.factors);
        gf_test::assert_results(
            text(s, probability),
            {{"x_out", expected.x_out, kFp32},
             {"inner_stats", expected.inner_stats, kFp32},
             {"outer_stats", expected.outer_stats, kFp32},
             {"h_out", expected.h_out}},
            [&](TestDevice& device) {
              const gf::Norm inner{device.param(o.parameters.inner_gain),
                                   device.param(o.parameters.inner_bias)};
              const gf::Norm outer{device.param(o.parameters.outer_gain),
                                   device.param(o.parameters.outer_bias)};
              const gf::Mat x = device.mat(o.x, s.padding);
              const gf::Mat x_out = in_place ? x : device.result_mat(s.rows, s.cols);
              const gf::Mat inner_stats = device.result_mat(s.rows, 2);
              const gf::Mat outer_stats = device.result_mat(s.rows, 2);
              const gf::Act h_out = device.result_act(s.rows, s.cols, s.padding);
              device.ops().gate_add_norm(
                  x, device.act(o.hg, s.padding), device.act(o.gate, s.padding), inner,
                  dropout_of(device, probability), outer, x_out, inner_stats, outer_stats, h_out);
              return std::vector{device.read(x_out), device.read(inner_stats),
                                 device.read(outer_stats), device.read(h_out)};
            });
      }
    }
  }
}

void gate_add_norm_backward_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const float probability : kProbabilities) {
      const Operands o = operands_of(s, probability);
      const Matrix dh_out = random_matrix(8, s.rows, s.cols), dx = random_matrix(9, s.rows, s.cols);
      const reference::Gate forward =
          reference::gate_add_norm(o.x, o.hg, o.gate, o.parameters, o.factors);
      const reference::GateGradients d =
          reference::gate_add_norm_backward(dh_out, dx, o.x, o.hg, o.gate, o.parameters, o.factors);
      gf_test::assert_results(
          text(s, probability),
          {{"inner.gain.grad", d.parameters.inner_gain, kFp32},
           {"inner.bias.grad", d.parameters.inner_bias, kFp32},
           {"outer.gain.grad", d.parameters.outer_gain, kFp32},
           {"outer.bias.grad", d.parameters.outer_bias, kFp32},
           {"dx", d.x, kFp32},
           {"dhg", d.hg},
           {"dgate", d.gate}},
          [&](TestDevice& device) {
            const gf::Norm inner{device.param(o.parameters.inner_gain),
                                 device.param(o.parameters.inner_bias)};
            const gf::Norm outer{device.param(o.parameters.outer_gain),
                                 device.param(o.parameters.outer_bias)};
            const gf::Mat dx_result = device.mat(dx, s.padding);
            const gf::Act dhg = device.result_act(s.rows, 2 * s.cols, s.padding);
            const gf::Act dgate = device.result_act(s.rows, s.cols, s.padding);
            device.ops().gate_add_norm_backward(
                device.act(dh_out, s.padding), device.mat(forward.x_out, s.padding),
                device.act(o.hg, s.padding), device.act(o.gate, s.padding),
                device.mat(forward.inner_stats), device.mat(forward.outer_stats), inner,
                dropout_of(device, probability), outer, dx_result, dhg, dgate);
            return std::vector{device.read(inner.gain.grad),
                               device.read(inner.bias.grad),
                               device.read(outer.gain.grad),
                               device.read(outer.bias.grad),
                               device.read(dx_result),
                               device.read(dhg),
                               device.read(dgate)};
          });
    }
  }
}

void the_twin_has_the_gradients_of_its_forward(void**) {
  Operands o = operands_of({4, 7, 0}, 0.1f);
  o.gate = random_matrix(3, 4, 7);
  const Matrix dh_out = random_matrix(8, 4, 7), dx = random_matrix(9, 4, 7);
  const auto loss = [&] {
    const reference::Gate y = reference::gate_add_norm(o.x, o.hg, o.gate, o.parameters, o.factors);
    return dot(dh_out, y.h_out) + dot(dx, y.x_out);
  };
  const reference::GateGradients d =
      reference::gate_add_norm_backward(dh_out, dx, o.x, o.hg, o.gate, o.parameters, o.factors);
  assert_gradient("inner gain", o.parameters.inner_gain, d.parameters.inner_gain, loss);
  assert_gradient("inner bias", o.parameters.inner_bias, d.parameters.inner_bias, loss);
  assert_gradient("outer gain", o.parameters.outer_gain, d.parameters.outer_gain, loss);
  assert_gradient("outer bias", o.parameters.outer_bias, d.parameters.outer_bias, loss);
  assert_gradient("x", o.x, d.x, loss);
  assert_gradient("hg", o.hg, d.hg, loss);
  assert_gradient("gate", o.gate, d.gate, loss);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_twin_has_the_gradients_of_its_forward),
      cmocka_unit_test(gate_add_norm_is_the_twin),
      cmocka_unit_test(gate_add_norm_backward_is_the_twin),
  };
  return cmocka_run_group_tests_name("ops/gate", tests, nullptr, nullptr);
}
