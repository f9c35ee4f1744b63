#include <cmath>

#include "math.h"
#include "reference/products.h"
#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::TestDevice;
using reference::Matrix;
using reference::random_matrix;

// Every argument that training meets: the error of the fitted tail is far below what fp32 products
// leave in it.
void gelu_and_its_derivative_are_exact_to_3e_7(void**) {
  const Matrix ones(1, 1, 1.0);
  for (int i = -120000; i <= 120000; ++i) {
    const float x = static_cast<float>(i) * 1e-4f;
    const double scale = std::max(1.0, std::fabs(static_cast<double>(x)));
    const Matrix u(1, 1, x);
    assert_true(std::fabs(gf::gelu(x) - reference::gelu(u, ones)(0, 0)) < 3e-7 * scale);
    assert_true(std::fabs(gf::gelu_derivative(x) - reference::gelu_backward(ones, u, ones)(0, 0)) <
                3e-7);
  }
  assert_true(gf::gelu(0.0f) == 0.0f);
  assert_true(gf::gelu(100.0f) == 100.0f);
  assert_true(std::fabs(gf::gelu(-100.0f)) < 1e-30f);
  assert_true(std::isnan(gf::gelu(std::nanf(""))));
}

// x [rows, in] becomes u and a [rows, out]; backward the layer above leads from a back to `in`.
struct Shape {
  int64_t rows, in, out, padding;
  int when = gf_test::kAlways;
};

std::string text(const Shape& s) {
  return std::to_string(s.rows) + " x " + std::to_string(s.in) + ", F = " + std::to_string(s.out);
}

// Rows that begin inside a block of eight random words, rows longer than a tile of the product and
// than a tile of random words, the plain case; the study's layer with rows aligned and not.
constexpr Shape kShapes[] = {{1, 1, 1, 0},
                             {3, 5, 13, 2},
                             {17, 9, 257, 1},
                             {128, 32, 1024, 0},
                             {300, 20, 555, 3},
                             {100, 24, 72, 0},
                             {1, 256, 1024, 0, gf_test::kGpuOnly},
                             {17, 256, 1024, 8, gf_test::kGpuOnly},
                             {128, 256, 1024, 0, gf_test::kGpuOnly},
                             {385, 256, 1024, 0, gf_test::kGpuOnly},
                             {385, 256, 1024, 1, gf_test::kGpuOnly},
                             {385, 7, 28, 0, gf_test::kGpuOnly},
                             {1000, 64, 256, 8, gf_test::kGpuOnly | gf_test::kLarge},
                             {4097, 256, 1024, 0, gf_test::kGpuOnly | gf_test::kLarge}};
constexpr gf::StepState kState{.seed = 0x123456789ABCDEF, .step = 77};
constexpr uint32_t kSite = 5;

uint32_t threshold(double p) {
  return gf::dropout_threshold(static_cast<float>(p));
}

Matrix factors(double p, int64_t rows, int64_t cols) {
  return reference::dropout_factors(kState.seed, static_cast<uint64_t>(kState.step), kSite,
                                    threshold(p), rows, cols);
}

gf::Dropout dropout(TestDevice& device, double p) {
  if (p == 0) return {};  // the state may then be missing
  return {threshold(p), kSite, device.state(kState)};
}

void linear_gelu_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const double p : {0.0, 0.1, 0.5}) {
      const Matrix x = random_matrix(1, s.rows, s.in), weight = random_matrix(2, s.out, s.in, 0.3);
      const Matrix bias = random_matrix(3, 1, s.out);
      const Matrix u = reference::linear(x, weight, bias);
      gf_test::assert_results(text(s),
                              {{"u", u}, {"a", reference::gelu(u, factors(p, s.rows, s.out))}},
                              [&](TestDevice& device) {
                                const gf::Act u_act = device.result_act(s.rows, s.out, s.padding);
                                const gf::Act a = device.result_act(s.rows, s.out, 2 * s.padding);
                                device.ops().linear_gelu(device.act(x, s.padding),
                                                         {device.param(weight), device.param(bias)},
                                                         dropout(device, p), u_act, a);
                                return std::vector{device.read(u_act), device.read(a)};
                              });
    }
  }
}

void gelu_linear_backward_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const double p : {0.0, 0.1, 0.5}) {
      const Matrix dy = random_matrix(1, s.rows, s.in), u = random_matrix(2, s.rows, s.out, 2.0);
      const Matrix weight = random_matrix(3, s.in, s.out), kept = factors(p, s.rows, s.out);
      const Matrix a = reference::gelu(u, kept);
      const reference::LinearGradients d = reference::linear_backward(dy, a, weight);
      const Matrix du = reference::gelu_backward(d.x, u, kept);
      gf_test::assert_results(
          text(s), {{"a", a}, {"weight.grad", d.weight}, {"bias.grad", d.bias}, {"du", du}},
          [&](TestDevice& device) {
            const gf::Linear layer{device.param(weight), device.param(Matrix(1, s.in))};
            const gf::Act u_act = device.act(u, 3 * s.padding);
            const gf::Act du_act = device.result_act(s.rows, s.out, s.padding);
            device.ops().gelu_linear_backward(device.act(dy, s.padding), u_act, dropout(device, p),
                                              layer, du_act);
            return std::vector{device.read(u_act), device.read(layer.weight.grad),
                               device.read(layer.bias.grad), device.read(du_act)};
          });
    }
  }
}

void the_twin_has_the_gradient_of_its_forward(void**) {
  Matrix u = random_matrix(1, 7, 9, 2.0);
  const Matrix da = random_matrix(2, 7, 9), kept = factors(0.3, 7, 9);
  assert_gradient("u", u, reference::gelu_backward(da, u, kept),
                  [&] { return dot(da, reference::gelu(u, kept)); });
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(gelu_and_its_derivative_are_exact_to_3e_7),
      cmocka_unit_test(the_twin_has_the_gradient_of_its_forward),
      cmocka_unit_test(linear_gelu_is_the_twin),
      cmocka_unit_test(gelu_linear_backward_is_the_twin),
  };
  return cmocka_run_group_tests_name("ops/gelu", tests, nullptr, nullptr);
}
