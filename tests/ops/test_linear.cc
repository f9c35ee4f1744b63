#include "reference/products.h"
#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::TestDevice;
using reference::Matrix;
using reference::random_matrix;

struct Shape {
  int64_t rows, in, out, padding;
  int when = gf_test::kAlways;
};

// One row and one column; less than a tile; several tiles with a rest both ways; rows that are
// split finer because there are few columns. Then the study's layers, with rows of its batch and
// some more, aligned and not.
constexpr Shape kShapes[] = {{1, 1, 1, 0},
                             {3, 5, 7, 2},
                             {17, 33, 300, 1},
                             {128, 256, 96, 0},
                             {257, 40, 600, 4},
                             {1000, 64, 1, 3},
                             {1000, 96, 256, 0},
                             {17, 40, 24, 0},
                             {1, 256, 768, 0, gf_test::kGpuOnly},
                             {17, 256, 256, 0, gf_test::kGpuOnly},
                             {128, 1024, 256, 8, gf_test::kGpuOnly},
                             {385, 256, 768, 0, gf_test::kGpuOnly},
                             {385, 256, 256, 0, gf_test::kGpuOnly},
                             {385, 256, 256, 1, gf_test::kGpuOnly},
                             {385, 256, 32, 0, gf_test::kGpuOnly},
                             {385, 512, 256, 8, gf_test::kGpuOnly},
                             {385, 496, 256, 0, gf_test::kGpuOnly},
                             {385, 256, 1024, 256, gf_test::kGpuOnly},
                             {385, 1024, 256, 0, gf_test::kGpuOnly},
                             {1000, 256, 257, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {4097, 256, 1024, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {4096, 1024, 256, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {16421, 264, 136, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {32768, 256, 32, 0, gf_test::kGpuOnly | gf_test::kLarge}};

std::string text(const Shape& s) {
  return std::to_string(s.rows) + " x " + std::to_string(s.in) + " -> " + std::to_string(s.out);
}

void linear_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    const Matrix x = random_matrix(1, s.rows, s.in), weight = random_matrix(2, s.out, s.in);
    const Matrix bias = random_matrix(3, 1, s.out);
    gf_test::assert_results(text(s), {{"y", reference::linear(x, weight, bias)}},
                            [&](TestDevice& device) {
                              const gf::Act y = device.result_act(s.rows, s.out, s.padding);
                              device.ops().linear(device.act(x, s.padding),
                                                  {device.param(weight), device.param(bias)}, y);
                              return std::vector{device.read(y)};
                            });
  }
}

void linear_backward_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const bool accumulate : {false, true}) {
      const Matrix dy = random_matrix(4, s.rows, s.out), x = random_matrix(5, s.rows, s.in);
      const Matrix weight = random_matrix(6, s.out, s.in),
                   dx_before = random_matrix(7, s.rows, s.in);
      reference::LinearGradients d = reference::linear_backward(dy, x, weight);
      for (size_t i = 0; accumulate && i < d.x.values.size(); ++i) {
        d.x.values[i] += dx_before.values[i];
      }
      gf_test::assert_results(
          text(s), {{"weight.grad", d.weight}, {"bias.grad", d.bias}, {"dx", d.x}},
          [&](TestDevice& device) {
            const gf::Linear layer{device.param(weight), device.param(Matrix(1, s.out))};
            const gf::Act dx = accumulate ? device.act(dx_before, s.padding)
                                          : device.result_act(s.rows, s.in, s.padding);
            device.ops().linear_backward(device.act(dy, s.padding), device.act(x, s.padding), layer,
                                         dx, accumulate);
            return std::vector{device.read(layer.weight.grad), device.read(layer.bias.grad),
                               device.read(dx)};
          });
    }
  }
}

void the_twin_has_the_gradients_of_its_forward(void**) {
  Matrix x = random_matrix(1, 3, 5), weight = random_matrix(2, 4, 5), bias = random_matrix(3, 1, 4);
  const Matrix dy = random_matrix(4, 3, 4);
  const auto loss = [&] { return dot(dy, reference::linear(x, weight, bias)); };
  const reference::LinearGradients d = reference::linear_backward(dy, x, weight);
  assert_gradient("weight", weight, d.weight, loss);
  assert_gradient("bias", bias, d.bias, loss);
  assert_gradient("x", x, d.x, loss);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_twin_has_the_gradients_of_its_forward),
      cmocka_unit_test(linear_is_the_twin),
      cmocka_unit_test(linear_backward_is_the_twin),
  };
  return cmocka_run_group_tests_name("ops/linear", tests, nullptr, nullptr);
}
