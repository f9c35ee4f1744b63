#include "reference/embed.h"

#include <random>

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::kFp32;
using gf_test::TestDevice;
using reference::Matrix;
using reference::random_matrix;

constexpr gf::StepState kState{.seed = 5, .step = 9};
constexpr uint32_t kSite = 0;

struct Shape {
  int64_t sequences, length, cols, vocabulary, positions, distinct;
  int when = gf_test::kAlways;
};

// One token; one id alone in every row (as padding is); few ids that recur; more ids than a part
// holds; positions beyond T and none.
constexpr Shape kShapes[] = {{1, 1, 1, 257, 4, 257},
                             {2, 3, 5, 257, 3, 257},
                             {3, 17, 16, 257, 20, 1},
                             {5, 128, 33, 257, 128, 3},
                             {2, 256, 256, 257, 300, 257},
                             {3, 1000, 16, 30522, 1024, 30522},
                             {8, 128, 256, 257, 128, 40},
                             {3, 3, 24, 257, 3, 257},
                             {5, 1, 256, 50257, 256, 50257, gf_test::kGpuOnly},
                             {55, 7, 256, 257, 128, 3, gf_test::kGpuOnly},
                             {32, 128, 256, 30522, 128, 900, gf_test::kGpuOnly | gf_test::kLarge},
                             {5, 1000, 256, 50257, 1024, 1, gf_test::kGpuOnly | gf_test::kLarge}};
constexpr float kProbabilities[] = {0.0f, 0.1f};

std::string text(const Shape& s, float probability) {
  return std::to_string(s.sequences) + " x " + std::to_string(s.length) + " x " +
         std::to_string(s.cols) + ", dropout " + std::to_string(probability);
}

// Ids spread over the vocabulary, its last one among them, of which `distinct` occur.
std::vector<int32_t> ids_of(const Shape& s) {
  std::mt19937_64 bits(11);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < s.sequences * s.length; ++i) {
    const auto number = static_cast<int64_t>(bits() % static_cast<uint64_t>(s.distinct));
    ids.push_back(static_cast<int32_t>(s.vocabulary - 1 - number * s.vocabulary / s.distinct));
  }
  return ids;
}

Matrix factors_of(const Shape& s, float probability) {
  return reference::dropout_factors(kState.seed, kState.step, kSite,
                                    gf::dropout_threshold(probability), s.sequences * s.length,
                                    s.cols);
}

gf::Dropout dropout_of(TestDevice& device, float probability) {
  return {gf::dropout_threshold(probability), kSite, device.state(kState)};
}

void embed_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const float probability : kProbabilities) {
      const std::vector<int32_t> ids = ids_of(s);
      const Matrix tokens = random_matrix(1, s.vocabulary, s.cols);
      const Matrix positions = random_matrix(2, s.positions, s.cols);
      const Matrix x =
          reference::embed(ids, s.length, tokens, positions, factors_of(s, probability));
      gf_test::assert_results(text(s, probability), {{"x", x, kFp32}}, [&](TestDevice& device) {
        const gf::Mat result = device.result_mat(s.sequences * s.length, s.cols, 1);
        device.ops().embed({device.array(ids), s.sequences, s.length}, device.param(tokens),
                           device.param(positions), dropout_of(device, probability), result);
        return std::vector{device.read(result)};
      });
    }
  }
}

void embed_backward_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const float probability : kProbabilities) {
      const std::vector<int32_t> ids = ids_of(s);
      const Matrix dx = random_matrix(1, s.sequences * s.length, s.cols);
      const Matrix before = random_matrix(2, s.vocabulary, s.cols);
      const Matrix positions(s.positions, s.cols);
      reference::EmbedGradients d = reference::embed_backward(
          ids, s.length, dx, factors_of(s, probability), s.vocabulary, s.positions);
      for (size_t i = 0; i < before.values.size(); ++i) d.tokens.values[i] += before.values[i];
      gf_test::assert_results(text(s, probability),
                              {{"tokens.grad", d.tokens, kFp32},
                               {"positions.grad", d.positions, kFp32},
                               {"dx, unchanged", dx, kFp32}},
                              [&](TestDevice& device) {
                                gf::Param token_param = device.param(before);
                                token_param.grad = device.mat(before);
                                const gf::Param position_param = device.param(positions);
                                const gf::Mat dx_operand = device.mat(dx, 1);
                                device.ops().embed_backward(
                                    {device.array(ids), s.sequences, s.length}, dx_operand,
                                    dropout_of(device, probability), token_param, position_param);
                                return std::vector{device.read(token_param.grad),
                                                   device.read(position_param.grad),
                                                   device.read(dx_operand)};
                              });
    }
  }
}

void the_twin_has_the_gradients_of_its_forward(void**) {
  const std::vector<int32_t> ids = {2, 0, 2, 2, 1, 0};
  Matrix tokens = random_matrix(1, 4, 5), positions = random_matrix(2, 4, 5);
  const Matrix dx = random_matrix(3, 6, 5), factors = random_matrix(4, 6, 5);
  const auto loss = [&] { return dot(dx, reference::embed(ids, 3, tokens, positions, factors)); };
  const reference::EmbedGradients d = reference::embed_backward(ids, 3, dx, factors, 4, 4);
  assert_gradient("tokens", tokens, d.tokens, loss);
  assert_gradient("positions", positions, d.positions, loss);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_twin_has_the_gradients_of_its_forward),
      cmocka_unit_test(embed_is_the_twin),
      cmocka_unit_test(embed_backward_is_the_twin),
  };
  return cmocka_run_group_tests_name("ops/embed", tests, nullptr, nullptr);
}
