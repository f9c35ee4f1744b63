#include "reference/classifier.h"

#include <random>

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::kFp32;
using gf_test::TestDevice;
using reference::Matrix;
using reference::random_matrix;

constexpr gf::StepState kState{.seed = 5, .step = 9};
constexpr uint32_t kSite = 1;

struct Shape {
  int64_t sequences, length, width, classes, padding;
  int when = gf_test::kAlways;
};

// One token; widths of no whole vectors, of the study, and above what a block holds at a
// time; more sequences than threads; the most classes.
constexpr Shape kShapes[] = {
    {1, 1, 1, 1, 0},     {3, 5, 7, 2, 1},
    {2, 17, 24, 16, 3},  {32, 28, 256, 3, 0},
    {11, 95, 256, 3, 8}, {5, 3, 1000, 5, 2},
    {2, 4, 2056, 3, 0},  {300, 2, 16, 3, 0},
    {33, 9, 264, 16, 8}, {512, 128, 256, 3, 0, gf_test::kGpuOnly | gf_test::kLarge}};
constexpr float kProbabilities[] = {0.0f, 0.1f};

std::string text(const Shape& s, float probability) {
  return std::to_string(s.sequences) + " x " + std::to_string(s.length) + " x " +
         std::to_string(s.width) + ", " + std::to_string(s.classes) + " classes, dropout " +
         std::to_string(probability);
}

struct Case {
  Matrix h, weight, bias;
  std::vector<int32_t> lengths, labels;
  reference::Classifier expected;

  Case(const Shape& s, float probability)
      : h(random_matrix(1, s.sequences * s.length, s.width)),
        weight(random_matrix(2, s.classes, s.width, 0.1)),
        bias(random_matrix(3, 1, s.classes)) {
    std::mt19937 bits(3);
    for (int64_t b = 0; b < s.sequences; ++b) {
      // The longest and the shortest among them.
      const auto length = static_cast<uint32_t>(s.length);
      lengths.push_back(static_cast<int32_t>(b == 0 ? length : b == 1 ? 1 : bits() % length + 1));
      labels.push_back(static_cast<int32_t>(bits() % static_cast<uint32_t>(s.classes)));
    }
    labels.back() = static_cast<int32_t>(s.classes - 1);
    const Matrix factors = reference::dropout_factors(
        kState.seed, kState.step, kSite, gf::dropout_threshold(probability), s.sequences, s.width);
    expected = reference::classify(h, s.length, lengths, labels, factors, weight, bias);
    spoil_padding(s.length);
  }

  // States of padding must not matter.
  void spoil_padding(int64_t length) {
    for (int64_t i = 0; i < h.rows; ++i) {
      if (i % length < lengths[static_cast<size_t>(i / length)]) continue;
      for (int64_t j = 0; j < h.cols; ++j) h(i, j) = std::nan("");
    }
  }
};

gf::Batch batch_of(TestDevice& device, const Case& c, const Shape& s) {
  return {nullptr, s.sequences, s.length, device.array(c.lengths), device.array(c.labels)};
}

gf::Dropout dropout_of(TestDevice& device, float probability) {
  return {gf::dropout_threshold(probability), kSite, device.state(kState)};
}

Matrix loss_matrix(double sum, int64_t count) {
  Matrix m(1, 2, sum);
  m(0, 1) = static_cast<double>(count);
  return m;
}

Matrix read(TestDevice& device, const gf::LossSum* loss) {
  const gf::LossSum value = device.read(loss, 1)[0];
  return loss_matrix(value.sum, value.count);
}

void classify_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const float probability : kProbabilities) {
      const Case c(s, probability);
      // The states alone are in bf16, which holds those of a test exactly.
      gf_test::assert_results(
          text(s, probability),
          {{"pooled", c.expected.pooled, kFp32}, {"logits", c.expected.logits, kFp32}},
          [&](TestDevice& device) {
            const gf::Mat pooled = device.result_mat(s.sequences, s.width, s.padding);
            const gf::Mat logits = device.result_mat(s.sequences, s.classes, s.padding);
            device.ops().classify(device.act(c.h, s.padding), batch_of(device, c, s),
                                  dropout_of(device, probability),
                                  {device.param(c.weight), device.param(c.bias)}, pooled, logits);
            return std::vector{device.read(pooled), device.read(logits)};
          });
    }
  }
}

void class_loss_is_the_twin_and_adds(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    const Case c(s, 0);
    Matrix confusion = c.expected.confusion;
    for (double& value : confusion.values) value += 7;
    gf_test::assert_results(text(s, 0),
                            {{"loss", loss_matrix(1.5 + c.expected.loss, 9 + s.sequences), kFp32},
                             {"confusion", confusion, kFp32}},
                            [&](TestDevice& device) {
                              gf::LossSum* loss = device.array<gf::LossSum>({{1.5, 9}});
                              const auto size = static_cast<size_t>(s.classes * s.classes);
                              int64_t* counts = device.array(std::vector<int64_t>(size, 7));
                              device.ops().class_loss(device.mat(c.expected.logits, s.padding),
                                                      batch_of(device, c, s), loss, counts);
                              Matrix found(s.classes, s.classes);
                              const std::vector<int64_t> values = device.read(counts, size);
                              std::copy(values.begin(), values.end(), found.values.begin());
                              return std::vector{read(device, loss), found};
                            });
  }
}

void classify_backward_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    for (const float probability : kProbabilities) {
      const Case c(s, probability);
      gf_test::assert_results(
          text(s, probability),
          {{"loss", loss_matrix(c.expected.loss, s.sequences), kFp32},
           {"dh", c.expected.dh},
           {"weight.grad", c.expected.dweight, kFp32},
           {"bias.grad", c.expected.dbias, kFp32}},
          [&](TestDevice& device) {
            gf::LossSum* loss = device.array<gf::LossSum>({{std::nan(""), -5}});
            const gf::Linear layer{device.param(c.weight), device.param(c.bias)};
            const gf::Act dh = device.result_act(c.h.rows, s.width, s.padding);
            device.ops().classify_backward(
                device.mat(c.expected.pooled, s.padding), device.mat(c.expected.logits, s.padding),
                batch_of(device, c, s), dropout_of(device, probability), layer, loss, dh);
            return std::vector{read(device, loss), device.read(dh), device.read(layer.weight.grad),
                               device.read(layer.bias.grad)};
          });
    }
  }
}

// Of equal logits the first counts as the prediction, and such that no float holds the exponentials
// of give a finite loss.
void ties_and_large_logits(void**) {
  Matrix logits(3, 3);
  logits(1, 0) = logits(1, 2) = 800;
  logits(2, 1) = logits(2, 2) = -900, logits(2, 0) = -1000;
  Matrix confusion(3, 3);
  confusion(2, 0) = 2, confusion(0, 1) = 1;
  gf_test::assert_results("ties",
                          {{"loss", loss_matrix(std::log(3.0) + 2 * std::log(2.0) + 100, 3), kFp32},
                           {"confusion", confusion, kFp32}},
                          [&](TestDevice& device) {
                            gf::LossSum* loss = device.array<gf::LossSum>({{0, 0}});
                            int64_t* counts = device.array(std::vector<int64_t>(9, 0));
                            device.ops().class_loss(
                                device.mat(logits),
                                {nullptr, 3, 1, nullptr, device.array<int32_t>({2, 2, 0})}, loss,
                                counts);
                            Matrix found(3, 3);
                            const std::vector<int64_t> values = device.read(counts, 9);
                            std::copy(values.begin(), values.end(), found.values.begin());
                            return std::vector{read(device, loss), found};
                          });
}

void the_twin_has_the_gradients_of_its_forward(void**) {
  Matrix h = random_matrix(1, 6, 4), weight = random_matrix(2, 3, 4), bias = random_matrix(3, 1, 3);
  const Matrix factors = random_matrix(4, 2, 4);
  const std::vector<int32_t> lengths = {3, 2}, labels = {2, 0};
  const auto run = [&] {
    return reference::classify(h, 3, lengths, labels, factors, weight, bias);
  };
  const auto mean = [&] { return run().loss / 2; };
  const reference::Classifier d = run();
  assert_gradient("h", h, d.dh, mean);
  assert_gradient("weight", weight, d.dweight, mean);
  assert_gradient("bias", bias, d.dbias, mean);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_twin_has_the_gradients_of_its_forward),
      cmocka_unit_test(classify_is_the_twin),
      cmocka_unit_test(class_loss_is_the_twin_and_adds),
      cmocka_unit_test(classify_backward_is_the_twin),
      cmocka_unit_test(ties_and_large_logits),
  };
  return cmocka_run_group_tests_name("ops/classifier", tests, nullptr, nullptr);
}
