#include "reference/plucker.h"

#include <functional>

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::TestDevice;
using reference::Matrix;
using reference::random_matrix;

struct Case {
  const char* name;
  int64_t sequences, length, reduced, width, padding;
  std::vector<int32_t> offsets;
  Matrix z;
  int when = gf_test::kAlways;
  int64_t heads = 1;
  bool is_learned = false;

  int64_t coordinates() const { return heads * reduced * (reduced - 1) / 2; }

  // Weights of either sign, the larger ones larger than any mean has.
  reference::Windows windows() const {
    if (!is_learned) return {offsets, heads, {}};
    return {offsets, heads, random_matrix(9, heads, std::ssize(offsets))};
  }
};

// With its gradient where weights are learned.
gf::Windows in_device(TestDevice& device, const reference::Windows& windows) {
  gf::Windows result{windows.offsets, windows.heads, {}};
  if (windows.weight.rows > 0) result.weight = device.param(windows.weight);
  return result;
}

// What z is made of decides on a case as much as its shape does.
Matrix zero_tokens(Matrix z) {
  for (int64_t i = 0; i < z.rows; i += 3) {
    for (int64_t j = 0; j < z.cols; ++j) z(i, j) = 0;
  }
  return z;
}

// Token t is token 0 of its sequence and a rest that is smaller by `angle`, or none where angle is
// 0.
Matrix parallel_tokens(Matrix z, int64_t length, double angle) {
  for (int64_t i = 0; i < z.rows; ++i) {
    for (int64_t j = 0; j < z.cols && i % length > 0; ++j) {
      z(i, j) = static_cast<float>(z(i / length * length, j) + angle * z(i, j));
    }
  }
  return z;
}

// Wedges about as long as the floor of their norm, above it and below.
Matrix tiny_tokens(Matrix z) {
  for (int64_t i = 0; i < z.rows; ++i) {
    for (int64_t j = 0; j < z.cols; ++j) z(i, j) *= i % 5 < 3 ? 0x1p-13 : 0x1p-15;
  }
  return z;
}

// As many as a configuration may have, some of them more than once.
std::vector<int32_t> many_offsets() {
  std::vector<int32_t> offsets;
  for (int32_t i = 0; i < GF_MAX_WINDOWS; ++i) offsets.push_back(1 + i * 7 % 50);
  return offsets;
}

std::vector<int32_t> plus_offsets() {
  return {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
}

// Makes a z of its own for each case.
using Random = std::function<Matrix(int64_t rows, int64_t cols)>;

const std::vector<int32_t> kPublished = {1, 2, 4, 8, 12, 16};

// One head and the mean, at shapes that reach every branch.
std::vector<Case> cases_of_one_head(const Random& z) {
  return {
      {"one token", 1, 1, 5, 3, 0, kPublished, z(1, 5)},
      {"three tokens", 3, 3, 5, 16, 1, kPublished, z(9, 5)},
      {"shorter than every offset", 2, 3, 5, 7, 1, {4, 8, 3}, z(6, 5)},
      {"no offset of 1", 3, 17, 8, 5, 0, {5, 3, 40}, z(51, 8)},
      {"an offset that stands twice", 2, 20, 6, 9, 2, {2, 1, 2, 2}, z(40, 6)},
      {"one offset", 2, 128, 32, 33, 0, {16}, z(256, 32)},
      {"two coordinates", 2, 17, 2, 5, 1, {1, 2}, tiny_tokens(z(34, 2))},
      {"three coordinates", 2, 17, 3, 5, 0, kPublished, z(34, 3)},
      {"the study's width", 1, 128, 32, 256, 0, kPublished, z(128, 32)},
      {"wide", 1, 40, 64, 16, 3, kPublished, z(40, 64)},
      {"long", 1, 1000, 5, 16, 0, kPublished, z(1000, 5)},
      {"several long", 3, 256, 7, 16, 0, kPublished, z(768, 7)},
      {"zero tokens", 2, 17, 6, 8, 0, kPublished, zero_tokens(z(34, 6))},
      {"around the floor", 2, 30, 8, 8, 0, kPublished, tiny_tokens(z(60, 8))},
      {"equal tokens", 1, 17, 8, 8, 0, kPublished, parallel_tokens(z(17, 8), 17, 0)},
      {"nearly parallel, 1e-2", 2, 30, 32, 16, 0, kPublished, parallel_tokens(z(60, 32), 30, 1e-2)},
      {"nearly parallel, 1e-4", 2, 30, 32, 16, 0, kPublished, parallel_tokens(z(60, 32), 30, 1e-4)},
      {"nearly parallel, 1e-6", 2, 30, 32, 16, 0, kPublished, parallel_tokens(z(60, 32), 30, 1e-6)},
  };
}  // namespace

// The same at the shapes that a GPU has kernels of its own for.
std::vector<Case> cases_of_the_study(const Random& z) {
  return {
      {"long, the study's z", 1, 1000, 32, 16, 0, kPublished, z(1000, 32), gf_test::kGpuOnly},
      {"study, one token", 385, 1, 32, 256, 0, kPublished, z(385, 32), gf_test::kGpuOnly},
      {"study, three tokens", 129, 3, 32, 256, 0, kPublished, z(387, 32), gf_test::kGpuOnly},
      {"study, 17 tokens", 23, 17, 32, 256, 0, kPublished, z(391, 32), gf_test::kGpuOnly},
      {"study, 385 tokens", 1, 385, 32, 256, 0, kPublished, z(385, 32), gf_test::kGpuOnly},
      {"study, rows apart", 3, 128, 32, 256, 256, kPublished, z(384, 32), gf_test::kGpuOnly},
      {"study, odd rows", 3, 128, 32, 256, 1, kPublished, z(384, 32), gf_test::kGpuOnly},
      {"study, one offset", 5, 77, 32, 256, 0, {1}, z(385, 32), gf_test::kGpuOnly},
      {"study, far offsets", 2, 256, 32, 256, 0, {64, 127, 200}, z(512, 32), gf_test::kGpuOnly},
      {"study, many offsets", 2, 128, 32, 256, 8, many_offsets(), z(256, 32), gf_test::kGpuOnly},
      {"study, zero tokens", 3, 128, 32, 256, 0, kPublished, zero_tokens(z(384, 32)),
       gf_test::kGpuOnly},
      {"study, nearly parallel", 3, 128, 32, 256, 0, kPublished,
       parallel_tokens(z(384, 32), 128, 1e-2), gf_test::kGpuOnly},
      {"wide and long", 3, 129, 64, 256, 0, kPublished, z(387, 64),
       gf_test::kGpuOnly | gf_test::kLarge},
      {"a batch of the study", 32, 128, 32, 256, 0, kPublished, z(4096, 32),
       gf_test::kGpuOnly | gf_test::kLarge},
  };
}

// Several heads, learned weights, and both.
std::vector<Case> cases_of_heads(const Random& z) {
  return {
      {"heads", 2, 20, 3, 5, 1, {1, 2, 5}, z(40, 12), gf_test::kAlways, 4},
      {"learned", 2, 20, 6, 9, 2, {5, 1, 2, 2, 30}, z(40, 6), gf_test::kAlways, 1, true},
      {"heads, learned", 3, 17, 16, 24, 0, kPublished, z(51, 64), gf_test::kAlways, 4, true},
      {"heads, no offset of 1", 2, 20, 5, 7, 3, {4, 3}, z(40, 10), gf_test::kAlways, 2, true},
      {"heads, learned, zero tokens", 2, 17, 6, 8, 0, kPublished, zero_tokens(z(34, 18)),
       gf_test::kAlways, 3, true},
      {"heads, learned, around the floor", 2, 30, 8, 8, 0, kPublished, tiny_tokens(z(60, 16)),
       gf_test::kAlways, 2, true},
      {"heads, learned, nearly parallel", 2, 30, 16, 16, 0, kPublished,
       parallel_tokens(z(60, 32), 30, 1e-2), gf_test::kAlways, 2, true},
      {"plus", 3, 128, 16, 256, 0, plus_offsets(), z(384, 64), gf_test::kGpuOnly, 4, true},
      {"plus, odd rows", 3, 77, 16, 256, 1, plus_offsets(), z(231, 64), gf_test::kGpuOnly, 4, true},
      {"plus, rows apart", 1, 385, 16, 256, 64, plus_offsets(), z(385, 64), gf_test::kGpuOnly, 4,
       true},
      {"plus, mean", 5, 17, 16, 256, 0, plus_offsets(), z(85, 64), gf_test::kGpuOnly, 4},
      {"plus, one token", 9, 1, 16, 256, 0, plus_offsets(), z(9, 64), gf_test::kGpuOnly, 4, true},
      {"study, learned", 3, 129, 32, 256, 0, kPublished, z(387, 32), gf_test::kGpuOnly, 1, true},
      {"study, learned, many offsets", 2, 128, 32, 256, 8, many_offsets(), z(256, 32),
       gf_test::kGpuOnly, 1, true},
      {"study's width, two heads", 2, 65, 32, 128, 0, kPublished, z(130, 64), gf_test::kGpuOnly, 2,
       true},
      {"a batch of plus", 16, 256, 16, 256, 0, plus_offsets(), z(4096, 64),
       gf_test::kGpuOnly | gf_test::kLarge, 4, true},
  };
}

// Of all, whatever z is held as.
std::vector<Case> all_cases() {
  uint64_t seed = 0;
  const Random z = [&](int64_t rows, int64_t cols) { return random_matrix(++seed, rows, cols); };
  std::vector<Case> all;
  for (const auto& some : {cases_of_one_head(z), cases_of_the_study(z), cases_of_heads(z)}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::vector<Case> cases() {
  std::vector<Case> wanted = gf_test::cases_of(all_cases());
  for (Case& c : wanted) c.z = gf_test::as_held(c.z);
  return wanted;
}

void plucker_is_the_twin(void**) {
  for (const Case& c : cases()) {
    const Matrix weight = random_matrix(1, c.width, c.coordinates());
    const Matrix bias = random_matrix(2, 1, c.width);
    gf_test::assert_results(
        c.name, {{"g", reference::plucker(c.z, c.length, c.windows(), weight, bias)}},
        [&](TestDevice& device) {
          const gf::Act p = device.result_act(c.z.rows, c.coordinates(), c.padding);
          const gf::Act g = device.result_act(c.z.rows, c.width, c.padding);
          device.ops().plucker(device.act(c.z, c.padding), c.sequences, c.length,
                               in_device(device, c.windows()),
                               {device.param(weight), device.param(bias)}, p, g);
          return std::vector{device.read(g)};
        });
  }
}

void plucker_backward_is_the_twin(void**) {
  for (const Case& c : cases()) {
    const Matrix dg = random_matrix(1, c.z.rows, c.width);
    const Matrix weight = random_matrix(2, c.width, c.coordinates());
    const reference::PluckerGradients d =
        reference::plucker_backward(dg, c.z, c.length, c.windows(), weight);
    std::vector<gf_test::Expected> expected = {
        {"weight.grad", d.weight}, {"bias.grad", d.bias}, {"dz", d.z}};
    if (c.is_learned) expected.push_back({"windows.grad", d.windows});
    gf_test::assert_results(c.name, expected, [&](TestDevice& device) {
      const gf::Windows windows = in_device(device, c.windows());
      const gf::Linear layer{device.param(weight), device.param(Matrix(1, c.width))};
      const gf::Act p = device.result_act(c.z.rows, c.coordinates(), c.padding);
      const gf::Act dp = device.result_act(c.z.rows, c.coordinates(), c.padding);
      const gf::Act dz = device.result_act(c.z.rows, c.z.cols, c.padding);
      // Once as one sequence, so that workspace holds what a shorter past must not read.
      for (const int64_t sequences : {int64_t{1}, c.sequences}) {
        device.ops().plucker_backward(device.act(dg, c.padding), device.act(c.z, c.padding),
                                      sequences, c.z.rows / sequences, windows, layer, p, dp, dz);
        device.ops().settle();
        device.ops().settle();
      }
      std::vector results{device.read(layer.weight.grad), device.read(layer.bias.grad),
                          device.read(dz)};
      if (c.is_learned) results.push_back(device.read(windows.weight.grad));
      return results;
    });
  }
}

// In the plane every normalised wedge is 1 or -1: z moves nothing.
void the_plane_has_no_gradient(void**) {
  const Matrix z = random_matrix(1, 20, 2), dg = random_matrix(2, 20, 3);
  gf_test::assert_results("plane", {{"dz", Matrix(20, 2)}}, [&](TestDevice& device) {
    const gf::Linear layer{device.param(random_matrix(3, 3, 1)), device.param(Matrix(1, 3))};
    const gf::Act dz = device.result_act(20, 2);
    device.ops().plucker_backward(device.act(dg), device.act(z), 1, 20, gf::Windows{{1, 2, 4}},
                                  layer, device.result_act(20, 1), device.result_act(20, 1), dz);
    return std::vector{device.read(dz)};
  });
}

void a_token_without_a_past_has_exactly_zero(void**) {
  const Matrix z = random_matrix(1, 12, 5);
  TestDevice device(1);
  const gf::Act g = device.result_act(12, 4);
  device.ops().plucker(device.act(z), 2, 6, gf::Windows{{3, 2}},
                       {device.param(random_matrix(2, 4, 10)), device.param(Matrix(1, 4, 1.0))},
                       device.result_act(12, 10), g);
  const Matrix result = device.read(g);
  for (int64_t i = 0; i < 12; ++i) {
    for (int64_t j = 0; j < 4; ++j) assert_true((result(i, j) == 0) == (i % 6 < 2));
  }
}

void the_twin_has_the_gradients_of_its_forward(void**) {
  for (const bool is_learned : {false, true}) {
    reference::Windows windows{{2, 1, 4, 2, 9}, 2, {}};
    if (is_learned) windows.weight = random_matrix(5, 2, 5);
    Matrix z = random_matrix(1, 12, 8), weight = random_matrix(2, 3, 12),
           bias = random_matrix(3, 1, 3);
    const Matrix dg = random_matrix(4, 12, 3);
    const auto loss = [&] { return dot(dg, reference::plucker(z, 6, windows, weight, bias)); };
    const reference::PluckerGradients d = reference::plucker_backward(dg, z, 6, windows, weight);
    assert_gradient("weight", weight, d.weight, loss);
    assert_gradient("bias", bias, d.bias, loss);
    assert_gradient("z", z, d.z, loss);
    if (is_learned) assert_gradient("windows.weight", windows.weight, d.windows, loss);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_twin_has_the_gradients_of_its_forward),
      cmocka_unit_test(plucker_is_the_twin),
      cmocka_unit_test(plucker_backward_is_the_twin),
      cmocka_unit_test(the_plane_has_no_gradient),
      cmocka_unit_test(a_token_without_a_past_has_exactly_zero),
  };
  return cmocka_run_group_tests_name("ops/plucker", tests, nullptr, nullptr);
}
