// Evaluation, whose batches are recorded once and run again and again.

#include "train/evaluate.h"

#include <cmath>
#include <vector>

#include "support/support.h"
#include "train/train_test.h"

namespace {

using namespace gf_test;

constexpr gf_mixer kMixers[] = {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER};

// Without evaluate(): from the logits of each chunk.
double loss_of(const gf::Model& model, const gf::Dataset& data) {
  const int64_t V = model.config().vocab_size();
  std::vector<float> logits(static_cast<size_t>(kLength * V));
  double sum = 0;
  for (int64_t i = 0; i < data.chunks(); ++i) {
    const int32_t* ids = data.chunk(i);
    model.forward({ids, kLength}, {}, 1, kLength, logits.data());
    for (int64_t t = 0; t + 1 < kLength; ++t) {
      const float* row = logits.data() + t * V;
      double total = 0;
      for (int64_t id = 0; id < V; ++id) total += std::exp(double{row[id]});
      sum += std::log(total) - row[ids[t + 1]];
    }
  }
  return sum / static_cast<double>(data.chunks() * (kLength - 1));
}

// One batch that holds all; one repeated; several and a short one; as many as chunks.
void the_loss_is_that_of_the_logits_whatever_the_batch(void**) {
  for (gf_mixer mixer : kMixers) {
    auto model = make_model(mixer);
    gf::Trainer trainer(model, make_data(30), quick_options());
    while (!trainer.done()) trainer.step_without_waiting();
    const auto data = make_data(11, 2);
    const double expected = loss_of(*model, *data);
    for (const int64_t batch : {32, 11, 4, 2, 1}) {
      const gf::Evaluation found = gf::evaluate(*model, *data, batch);
      assert_int_equal(found.sequences, 11);
      assert_int_equal(found.tokens, 11 * (kLength - 1));
      const double error = std::abs(found.loss / expected - 1);
      if (!(error < by_precision(1e-6, 1e-3))) {
        fail_msg("batches of %d: %.7f, expected %.7f", static_cast<int>(batch), found.loss,
                 expected);
      }
    }
  }
}

void the_same_evaluation_gives_the_same_bits_and_changes_nothing(void**) {
  for (gf_mixer mixer : kMixers) {
    auto model = make_model(mixer);
    const std::vector<float> before = values(*model);
    const auto data = make_data(23, 2);
    const double first = gf::evaluate(*model, *data, 4).loss;
    assert_true(gf::evaluate(*model, *data, 4).loss == first);
    assert_true(values(*model) == before);
  }
}

// As between two epochs: the training goes on as if there had been none.
void an_evaluation_between_steps_disturbs_none(void**) {
  for (gf_mixer mixer : kMixers) {
    auto alone = make_model(mixer), disturbed = make_model(mixer);
    gf::Trainer a(alone, make_data(30), quick_options()),
        b(disturbed, make_data(30), quick_options());
    while (!a.done()) a.step();
    while (!b.done()) {
      b.step_without_waiting();
      gf::evaluate(*disturbed, *make_data(7, 2), 3);
    }
    assert_true(values(*alone) == values(*disturbed));
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_loss_is_that_of_the_logits_whatever_the_batch),
      cmocka_unit_test(the_same_evaluation_gives_the_same_bits_and_changes_nothing),
      cmocka_unit_test(an_evaluation_between_steps_disturbs_none),
  };
  return cmocka_run_group_tests_name("train/evaluate", tests, nullptr, nullptr);
}
