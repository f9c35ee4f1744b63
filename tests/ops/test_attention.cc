#include "reference/attention.h"

#include <algorithm>

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::TestDevice;
using reference::Matrix;
using reference::random_matrix;

struct Shape {
  int64_t sequences, length, width, heads, padding;
  int when = gf_test::kAlways;
};

// Lengths around and between multiples of a block of queries, every number of heads; the study's
// heads of 64 and of 32 at every length.
constexpr Shape kShapes[] = {{1, 1, 8, 1, 0},
                             {3, 1, 16, 2, 1},
                             {2, 3, 24, 8, 3},
                             {3, 17, 7, 1, 0},
                             {2, 17, 32, 4, 0},
                             {1, 64, 64, 1, 2},
                             {2, 65, 32, 2, 0},
                             {2, 128, 256, 4, 0},
                             {1, 256, 64, 8, 5},
                             {1, 1000, 32, 2, 0},
                             {5, 1, 256, 4, 0, gf_test::kGpuOnly},
                             {5, 1, 256, 8, 8, gf_test::kGpuOnly},
                             {7, 3, 256, 4, 1, gf_test::kGpuOnly},
                             {7, 3, 256, 8, 0, gf_test::kGpuOnly},
                             {3, 17, 256, 4, 8, gf_test::kGpuOnly},
                             {3, 17, 256, 8, 0, gf_test::kGpuOnly},
                             {2, 127, 256, 4, 0, gf_test::kGpuOnly},
                             {3, 128, 256, 8, 8, gf_test::kGpuOnly},
                             {2, 129, 256, 8, 0, gf_test::kGpuOnly},
                             {2, 128, 256, 4, 1, gf_test::kGpuOnly},
                             {2, 128, 256, 2, 0, gf_test::kGpuOnly},
                             {3, 256, 256, 4, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {3, 256, 256, 8, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {32, 128, 256, 4, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {1, 1000, 256, 4, 0, gf_test::kGpuOnly | gf_test::kLarge},
                             {2, 1000, 256, 8, 8, gf_test::kGpuOnly | gf_test::kLarge}};

std::string text(const Shape& s) {
  return std::to_string(s.sequences) + " x " + std::to_string(s.length) + ", " +
         std::to_string(s.heads) + " heads of " + std::to_string(s.width / s.heads);
}

void attention_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    const int64_t rows = s.sequences * s.length;
    const Matrix qkv = random_matrix(1, rows, 3 * s.width);
    const reference::Attention expected = reference::attention(qkv, s.sequences, s.length, s.heads);
    gf_test::assert_results(text(s), {{"out", expected.out}, {"lse", expected.lse}},
                            [&](TestDevice& device) {
                              const gf::Act out = device.result_act(rows, s.width, s.padding);
                              const gf::Mat lse = device.result_mat(rows, s.heads, s.padding);
                              device.ops().attention(device.act(qkv, s.padding), s.sequences,
                                                     s.length, s.heads, out, lse);
                              return std::vector{device.read(out), device.read(lse)};
                            });
  }
}

void attention_backward_is_the_twin(void**) {
  for (const Shape& s : gf_test::cases_of(kShapes)) {
    const int64_t rows = s.sequences * s.length;
    const Matrix qkv = random_matrix(1, rows, 3 * s.width), dout = random_matrix(2, rows, s.width);
    const reference::Attention forward = reference::attention(qkv, s.sequences, s.length, s.heads);
    gf_test::assert_results(
        text(s),
        {{"dqkv", reference::attention_backward(dout, qkv, s.sequences, s.length, s.heads)}},
        [&](TestDevice& device) {
          const gf::Act dqkv = device.result_act(rows, 3 * s.width, s.padding);
          device.ops().attention_backward(device.act(dout, s.padding), device.act(qkv, s.padding),
                                          device.act(forward.out, s.padding),
                                          device.mat(forward.lse, s.padding), s.sequences, s.length,
                                          s.heads, dqkv);
          return std::vector{device.read(dqkv)};
        });
  }
}

// Scores of several hundred, whose exponentials no float holds.
void large_scores_are_no_matter(void**) {
  const Matrix qkv = random_matrix(1, 20, 24, 10.0);
  const reference::Attention expected = reference::attention(qkv, 1, 20, 2);
  assert_true(*std::max_element(expected.lse.values.begin(), expected.lse.values.end()) > 200);
  gf_test::assert_results("large scores", {{"out", expected.out}, {"lse", expected.lse}},
                          [&](TestDevice& device) {
                            const gf::Act out = device.result_act(20, 8);
                            const gf::Mat lse = device.result_mat(20, 2);
                            device.ops().attention(device.act(qkv), 1, 20, 2, out, lse);
                            return std::vector{device.read(out), device.read(lse)};
                          });
}

void the_twin_has_the_gradient_of_its_forward(void**) {
  Matrix qkv = random_matrix(1, 10, 24);
  const Matrix dout = random_matrix(2, 10, 8);
  assert_gradient("qkv", qkv, reference::attention_backward(dout, qkv, 2, 5, 2),
                  [&] { return dot(dout, reference::attention(qkv, 2, 5, 2).out); });
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_twin_has_the_gradient_of_its_forward),
      cmocka_unit_test(attention_is_the_twin),
      cmocka_unit_test(attention_backward_is_the_twin),
      cmocka_unit_test(large_scores_are_no_matter),
  };
  return cmocka_run_group_tests_name("ops/attention", tests, nullptr, nullptr);
}
