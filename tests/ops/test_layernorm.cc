#include "reference/layernorm.h"

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::kFp32;
using gf_test::TestDevice;
using reference::Matrix;
using reference::random_matrix;

constexpr gf::StepState kState{.seed = 7, .step = 12};
constexpr uint32_t kSite = 3;

struct Shape {
  int64_t rows, cols, padding;
  int when = gf_test::kAlways;
};

// One element; less than a vector; around a part of rows and a block of random bits; several of
// both.
constexpr Shape kShapes[] = {{1, 1, 0},
                             {1, 5, 2},
                             {3, 16, 1},
                             {17, 33, 0},
                             {32, 256, 3},
                             {128, 256, 0},
                             {1000, 257, 1},
                             {257, 600, 0},
                             {100, 24, 0},
                             {385, 256, 0, gf_test::kGpuOnly},
                             {385, 256, 8, gf_test::kGpuOnly},
                             {385, 256, 1, gf_test::kGpuOnly},
                             {385, 256, 256, gf_test::kGpuOnly},
                             {385, 7, 0, gf_test::kGpuOnly},
                             {4097, 256, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {20001, 24, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {300, 2048, 0, gf_test::kGpuOnly | gf_test::kLarge}};
constexpr float kProbabilities[] = {0.0f, 0.1f};

std::string text(const Shape& s, float probability = 0) {
  return std::to_string(s.rows) + " x " + std::to_string(s.cols) + ", dropout " +
         std::to_string(probability);
}

gf::Norm norm_of(TestDevice& device, const Matrix& gain, const Matrix& bias) {
  return {device.param(gain), device.param(bias)};
}

Matrix factors_of(const Shape& s, float probability) {
  return reference::dropout_factors(kState.seed, kState.step, kSite,
                                    gf::dropout_threshold(probability), s.rows, s.cols);
}

gf::Dropout dropout_of(TestDevice& device, float probability) {
  return {gf::dropout_threshold(probability), kSite, device.state(kState)};
}

Matrix sum_of_product(const Matrix& a, const Matrix& b, const Matrix& factors) {
  Matrix sum = a;
  for (size_t i = 0; i < a.values.size(); ++i) sum.values[i] += b.values[i] * factors.values[i];
  return sum;
}

void norm_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    const Matrix x = random_matrix(1, s.rows, s.cols, 3.0);
    const Matrix gain = random_matrix(2, 1, s.cols), bias = random_matrix(3, 1, s.cols);
    const reference::Norm expected = reference::norm(x, gain, bias);
    gf_test::assert_results(
        text(s), {{"h", expected.h}, {"stats", expected.stats, kFp32}}, [&](TestDevice& device) {
          const gf::Mat stats = device.result_mat(s.rows, 2, s.padding);
          const gf::Act h = device.result_act(s.rows, s.cols, s.padding);
          device.ops().norm(device.mat(x, s.padding), norm_of(device, gain, bias), stats, h);
          return std::vector{device.read(h), device.read(stats)};
        });
  }
}

// mean² is 10^5 times the variance: E[x²] - mean² has no digit of it left in fp32.
void a_large_mean_costs_no_digits(void**) {
  Matrix x = random_matrix(1, 5, 256);
  for (double& value : x.values) value = static_cast<float>(value + 300.0);
  const Matrix gain(1, 256, 1.0), bias(1, 256);
  const Matrix expected = reference::norm(x, gain, bias).stats;
  gf_test::assert_results("large mean", {{"stats", expected, kFp32}}, [&](TestDevice& device) {
    const gf::Mat stats = device.result_mat(5, 2);
    device.ops().norm(device.mat(x), norm_of(device, gain, bias), stats, device.result_act(5, 256));
    Matrix result = device.read(stats);
    for (int64_t i = 0; i < 5; ++i) {
      const double error = std::abs(result(i, 1) / expected(i, 1) - 1);
      if (!(error < 1e-5)) fail_msg("1 / deviation of row %d: error %.1e", int(i), error);
    }
    return std::vector{result};
  });
}

void norm_backward_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    const Matrix x = random_matrix(1, s.rows, s.cols, 3.0), dh = random_matrix(2, s.rows, s.cols);
    const Matrix gain = random_matrix(3, 1, s.cols), before = random_matrix(4, s.rows, s.cols);
    const Matrix stats = reference::norm(x, gain, gain).stats;
    const reference::NormGradients d = reference::norm_backward(dh, x, gain);
    const Matrix dx = sum_of_product(before, d.x, factors_of(s, 0));
    gf_test::assert_results(
        text(s), {{"gain.grad", d.gain, kFp32}, {"bias.grad", d.bias, kFp32}, {"dx", dx, kFp32}},
        [&](TestDevice& device) {
          const gf::Norm norm = norm_of(device, gain, gain);
          const gf::Mat result = device.mat(before, s.padding);
          device.ops().norm_backward(device.act(dh, s.padding), device.mat(x, s.padding),
                                     device.mat(stats), norm, result);
          return std::vector{device.read(norm.gain.grad), device.read(norm.bias.grad),
                             device.read(result)};
        });
  }
}

void add_norm_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const float probability : kProbabilities) {
      for (const bool in_place : {false, true}) {
        const Matrix x = random_matrix(1, s.rows, s.cols), y = random_matrix(2, s.rows, s.cols);
        const Matrix gain = random_matrix(3, 1, s.cols), bias = random_matrix(4, 1, s.cols);
        const Matrix x_out = sum_of_product(x, y, factors_of(s, probability));
        const reference::Norm expected = reference::norm(x_out, gain, bias);
        gf_test::assert_results(
            text(s, probability),
            {{"x_out", x_out, kFp32}, {"stats", expected.stats, kFp32}, {"h", expected.h}},
            [&](TestDevice& device) {
              const gf::Mat from = device.mat(x, s.padding);
              const gf::Mat to = in_place ? from : device.result_mat(s.rows, s.cols);
              const gf::Mat stats = device.result_mat(s.rows, 2);
              const gf::Act h = device.result_act(s.rows, s.cols, s.padding);
              device.ops().add_norm(from, device.act(y, s.padding), dropout_of(device, probability),
                                    norm_of(device, gain, bias), to, stats, h);
              return std::vector{device.read(to), device.read(stats), device.read(h)};
            });
      }
    }
  }
}

void add_norm_backward_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const float probability : kProbabilities) {
      const Matrix x = random_matrix(1, s.rows, s.cols), dh = random_matrix(2, s.rows, s.cols);
      const Matrix gain = random_matrix(3, 1, s.cols), before = random_matrix(4, s.rows, s.cols);
      const Matrix stats = reference::norm(x, gain, gain).stats;
      const reference::NormGradients d = reference::norm_backward(dh, x, gain);
      const Matrix dx = sum_of_product(before, d.x, factors_of(s, 0));
      const Matrix dy = sum_of_product(Matrix(s.rows, s.cols), dx, factors_of(s, probability));
      gf_test::assert_results(
          text(s, probability),
          {{"gain.grad", d.gain, kFp32},
           {"bias.grad", d.bias, kFp32},
           {"dx", dx, kFp32},
           {"dy", dy}},
          [&](TestDevice& device) {
            const gf::Norm norm = norm_of(device, gain, gain);
            const gf::Mat dx_result = device.mat(before, s.padding);
            const gf::Act dy_result = device.result_act(s.rows, s.cols, s.padding);
            device.ops().add_norm_backward(device.act(dh, s.padding), device.mat(x, s.padding),
                                           device.mat(stats), dropout_of(device, probability), norm,
                                           dx_result, dy_result);
            return std::vector{device.read(norm.gain.grad), device.read(norm.bias.grad),
                               device.read(dx_result), device.read(dy_result)};
          });
    }
  }
}

void the_twin_has_the_gradients_of_its_forward(void**) {
  Matrix x = random_matrix(1, 4, 7), gain = random_matrix(2, 1, 7), bias = random_matrix(3, 1, 7);
  const Matrix dh = random_matrix(4, 4, 7);
  const auto loss = [&] { return dot(dh, reference::norm(x, gain, bias).h); };
  const reference::NormGradients d = reference::norm_backward(dh, x, gain);
  assert_gradient("gain", gain, d.gain, loss);
  assert_gradient("bias", bias, d.bias, loss);
  assert_gradient("x", x, d.x, loss);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_twin_has_the_gradients_of_its_forward),
      cmocka_unit_test(norm_is_the_twin),
      cmocka_unit_test(a_large_mean_costs_no_digits),
      cmocka_unit_test(norm_backward_is_the_twin),
      cmocka_unit_test(add_norm_is_the_twin),
      cmocka_unit_test(add_norm_backward_is_the_twin),
  };
  return cmocka_run_group_tests_name("ops/layernorm", tests, nullptr, nullptr);
}
