#include "reference/lm_head.h"

#include <cmath>
#include <map>
#include <random>

#include "reference/products.h"
#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::TestDevice;
using reference::Matrix;
using reference::random_matrix;

struct Shape {
  int64_t sequences, length, width, vocabulary, panel_rows, surplus, padding;
  int when = gf_test::kAlways;
};

// Panels that hold the batch, that do not divide it and of one row, some wider than the vocabulary;
// vocabularies below one chunk, of several with a rest, and GPT-2's; no predicted token at all.
// Then the study's head, with the panels that the model makes.
constexpr Shape kShapes[] = {{2, 1, 8, 257, 4, 0, 0},
                             {1, 3, 16, 257, 1, 0, 2},
                             {3, 17, 32, 257, 20, 63, 1},
                             {2, 128, 24, 257, 100, 7, 0},
                             {2, 17, 64, 30522, 16, 6, 3},
                             {1, 4, 16, 50257, 3, 0, 0},
                             {1, 1000, 7, 257, 1000, 0, 1},
                             {385, 1, 256, 257, 128, 63, 0, gf_test::kGpuOnly},
                             {11, 35, 256, 257, 128, 63, 0, gf_test::kGpuOnly},
                             {3, 128, 256, 1000, 384, 24, 0, gf_test::kGpuOnly},
                             {3, 128, 256, 1000, 100, 0, 1, gf_test::kGpuOnly},
                             {5, 77, 256, 30522, 385, 6, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {2, 256, 256, 30522, 200, 0, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {3, 128, 64, 50257, 300, 47, 0, gf_test::kGpuOnly | gf_test::kLarge}};

std::string text(const Shape& s) {
  return std::to_string(s.sequences) + " x " + std::to_string(s.length) + " x " +
         std::to_string(s.width) + ", vocabulary " + std::to_string(s.vocabulary) + ", panels of " +
         std::to_string(s.panel_rows);
}

struct Case {
  Matrix h, tokens;
  std::vector<int32_t> ids;
  reference::LmLoss expected;

  explicit Case(const Shape& s)
      : h(random_matrix(1, s.sequences * s.length, s.width)),
        tokens(random_matrix(2, s.vocabulary, s.width, 0.3)) {
    std::mt19937 bits(3);
    for (int64_t i = 0; i < h.rows; ++i) {
      ids.push_back(static_cast<int32_t>(bits() % static_cast<uint32_t>(s.vocabulary)));
    }
    ids.back() = static_cast<int32_t>(s.vocabulary - 1);
    expected = reference::lm_loss(h, tokens, ids, s.length);
  }
};

// Kept, since the large ones take seconds to make.
const Case& case_of(const Shape& s) {
  static std::map<std::string, Case> cases;
  return cases.try_emplace(text(s), s).first->second;
}

// All NaN, the columns beyond the vocabulary too.
gf::Act panel(TestDevice& device, const Shape& s) {
  return device.result_act(s.panel_rows, s.vocabulary + s.surplus, s.padding);
}

Matrix read(TestDevice& device, const gf::LossSum* loss) {
  const gf::LossSum value = device.read(loss, 1)[0];
  Matrix m(1, 2, value.sum);
  m(0, 1) = static_cast<double>(value.count);
  return m;
}

Matrix loss_matrix(double sum, int64_t count) {
  Matrix m(1, 2, sum);
  m(0, 1) = static_cast<double>(count);
  return m;
}

void logits_are_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    const Case& c = case_of(s);
    gf_test::assert_results(
        text(s), {{"logits", reference::linear(c.h, c.tokens, Matrix(1, s.vocabulary))}},
        [&](TestDevice& device) {
          const gf::Mat logits = device.result_mat(c.h.rows, s.vocabulary, s.padding);
          device.ops().logits(device.act(c.h, s.padding), device.param(c.tokens), logits);
          return std::vector{device.read(logits)};
        });
  }
}

void lm_loss_is_the_twin_and_adds(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    const Case& c = case_of(s);
    gf_test::assert_results(
        text(s), {{"loss", loss_matrix(1.5 + c.expected.sum, 7 + c.expected.count)}},
        [&](TestDevice& device) {
          const gf::Batch batch{device.array(c.ids), s.sequences, s.length};
          gf::LossSum* loss = device.array<gf::LossSum>({{1.5, 7}});
          device.ops().lm_loss(device.act(c.h, s.padding), device.param(c.tokens), batch,
                               panel(device, s), loss);
          return std::vector{read(device, loss)};
        });
  }
}

void lm_loss_backward_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    const Case& c = case_of(s);
    gf_test::assert_results(
        text(s),
        {{"loss", loss_matrix(c.expected.sum, c.expected.count)},
         {"dh", c.expected.dh},
         {"tokens.grad", c.expected.dtokens}},
        [&](TestDevice& device) {
          const gf::Batch batch{device.array(c.ids), s.sequences, s.length};
          gf::LossSum* loss = device.array<gf::LossSum>({{std::nan(""), -5}});
          const gf::Param tokens = device.param(c.tokens);
          const gf::Act dh = device.result_act(c.h.rows, s.width, s.padding);
          device.ops().lm_loss_backward(device.act(c.h, s.padding), tokens, batch, panel(device, s),
                                        loss, dh);
          return std::vector{read(device, loss), device.read(dh), device.read(tokens.grad)};
        });
  }
}

// Logits of several hundred, whose exponentials no float holds: 0, 2, .. 510, nineteen times over
// and a rest without the largest.
void large_logits_stay_finite(void**) {
  Matrix h(2, 1, 1.0), tokens(5000, 1);
  for (int64_t id = 0; id < tokens.rows; ++id) tokens(id, 0) = static_cast<double>(id % 256 * 2);
  const double expected = 510 + std::log(19 / (1 - std::exp(-2.0))) - tokens(4, 0);
  gf_test::assert_results("large logits", {{"loss", loss_matrix(expected, 1)}},
                          [&](TestDevice& device) {
                            const gf::Batch batch{device.array<int32_t>({0, 4}), 1, 2};
                            gf::LossSum* loss = device.array<gf::LossSum>({{0, 0}});
                            device.ops().lm_loss(device.act(h), device.param(tokens), batch,
                                                 device.result_act(2, tokens.rows), loss);
                            return std::vector{read(device, loss)};
                          });
}

void the_twin_has_the_gradients_of_its_forward(void**) {
  Case c({2, 3, 4, 11, 1, 0, 0});
  const auto mean = [&] {
    const reference::LmLoss loss = reference::lm_loss(c.h, c.tokens, c.ids, 3);
    return loss.sum / static_cast<double>(loss.count);
  };
  assert_gradient("h", c.h, c.expected.dh, mean);
  assert_gradient("tokens", c.tokens, c.expected.dtokens, mean);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_twin_has_the_gradients_of_its_forward),
      cmocka_unit_test(logits_are_the_twin),
      cmocka_unit_test(lm_loss_is_the_twin_and_adds),
      cmocka_unit_test(lm_loss_backward_is_the_twin),
      cmocka_unit_test(large_logits_stay_finite),
  };
  return cmocka_run_group_tests_name("ops/lm_head", tests, nullptr, nullptr);
}
