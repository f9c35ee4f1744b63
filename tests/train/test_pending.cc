// Steps that run behind the caller: what they leave, and how what went wrong in one comes to light.

#include <cmath>
#include <limits>
#include <vector>

#include "support/support.h"
#include "train/train_test.h"

namespace {

using namespace gf_test;

constexpr gf_mixer kMixers[] = {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER};

// 30 chunks make seven whole batches and a short one; 160 steps, of which no more than 64 may be
// pending.
gf::TrainOptions many_steps() {
  gf::TrainOptions options = quick_options();
  options.epochs = 20;
  return options;
}

void assert_same_place(const gf::TrainProgress& a, const gf::TrainProgress& b) {
  assert_int_equal(a.state.seed, b.state.seed);
  assert_int_equal(a.state.step, b.state.step);
  assert_int_equal(a.state.epoch, b.state.epoch);
  assert_int_equal(a.state.cursor, b.state.cursor);
  assert_int_equal(a.epoch_steps, b.epoch_steps);
  assert_int_equal(a.tokens, b.tokens);
  assert_true(a.epoch_loss == b.epoch_loss);
}

void not_waiting_changes_no_bit(void**) {
  for (gf_mixer mixer : kMixers) {
    auto waited = make_model(mixer), pending = make_model(mixer);
    gf::Trainer a(waited, make_data(30), many_steps()), b(pending, make_data(30), many_steps());
    while (!a.done()) a.step();
    int64_t steps = 0;
    for (; !b.done(); ++steps) b.step_without_waiting();
    assert_int_equal(steps, 160);
    b.finish();
    assert_same_place(a.progress(), b.progress());
    assert_int_equal(b.progress().state.step, 160);
    assert_true(values(*waited) == values(*pending));
    b.finish();  // nothing is left to wait for
    assert_int_equal(b.progress().state.step, 160);
  }
}

void a_step_that_waits_reports_itself(void**) {
  gf::Trainer a(make_model(GF_MIXER_GRASSMANN), make_data(30), many_steps());
  gf::Trainer b(make_model(GF_MIXER_GRASSMANN), make_data(30), many_steps());
  for (int i = 0; i < 9; ++i) a.step();
  for (int i = 0; i < 9; ++i) b.step_without_waiting();
  const gf::StepReport expected = a.step(), found = b.step();
  assert_int_equal(found.step, 10);
  assert_int_equal(found.epoch, 1);
  assert_int_equal(found.tokens, expected.tokens);
  assert_true(found.loss == expected.loss && found.gradient_norm == expected.gradient_norm);
  assert_true(found.learning_rate == expected.learning_rate);
}

// One parameter, made infinite and whole again: in its place among the steps, since uploads keep
// the order of all work.
class Poison {
 public:
  explicit Poison(std::shared_ptr<gf::Model> model)
      : model_(std::move(model)), spec_(model_->table()["blocks.1.ffn.0.bias"]) {}

  void apply() {
    whole_.resize(static_cast<size_t>(spec_.size()));
    model_->read(spec_, whole_);
    write(std::vector<float>(whole_.size(), std::numeric_limits<float>::infinity()));
  }
  void undo() { write(whole_); }

 private:
  void write(const std::vector<float>& values) {
    model_->write(spec_, values);
    model_->refresh();
  }

  std::shared_ptr<gf::Model> model_;
  const gf::ParamSpec& spec_;
  std::vector<float> whole_;
};

// Trains to the end with the step after `good` others going wrong and found out `late` steps after
// it; returns the weights.
std::vector<float> train_with_accident(gf_mixer mixer, int64_t chunks, int64_t good, int64_t late) {
  auto model = make_model(mixer);
  gf::Trainer trainer(model, make_data(chunks), many_steps());
  for (int64_t i = 0; i < good; ++i) trainer.step_without_waiting();
  Poison poison(model);
  poison.apply();
  const std::vector<float> before = values(*model);
  const std::string step = "step " + std::to_string(good + 1) + ": ";
  assert_fails(GF_ERROR_NOT_FINITE, step.c_str(), [&] {
    for (int64_t i = 0; i <= late; ++i) trainer.step_without_waiting();
    trainer.finish();
  });
  const std::vector<float> after = values(*model);
  assert_memory_equal(before.data(), after.data(), before.size() * sizeof(float));

  gf::Trainer undisturbed(make_model(mixer), make_data(chunks), many_steps());
  for (int64_t i = 0; i < good; ++i) undisturbed.step();
  assert_same_place(trainer.progress(), undisturbed.progress());

  poison.undo();
  while (!trainer.done()) trainer.step_without_waiting();
  trainer.finish();
  return values(*model);
}

std::vector<float> train_without(gf_mixer mixer, int64_t chunks) {
  auto model = make_model(mixer);
  gf::Trainer trainer(model, make_data(chunks), many_steps());
  while (!trainer.done()) trainer.step();
  return values(*model);
}

void a_loss_that_is_not_finite_found_late_names_its_step(void**) {
  for (gf_mixer mixer : kMixers) {
    const std::vector<float> expected = train_without(mixer, 30);
    for (const auto& [good, late] : {std::pair{0, 0}, {2, 1}, {5, 12}, {70, 3}}) {
      assert_true(train_with_accident(mixer, 30, good, late) == expected);
    }
  }
}

void it_is_found_when_as_many_steps_are_pending_as_may_be(void**) {
  assert_true(train_with_accident(GF_MIXER_TRANSFORMER, 30, 3, 100) ==
              train_without(GF_MIXER_TRANSFORMER, 30));
}

// The steps that follow a stopped short batch are begun with the whole batches that would have come
// after it, at a place of which only the short one is left.
void it_may_be_the_short_batch_of_an_epoch(void**) {
  for (const int64_t chunks : {5, 9, 10, 11, 13, 17}) {
    const int64_t good = chunks / 4;
    assert_true(train_with_accident(GF_MIXER_TRANSFORMER, chunks, good, 6) ==
                train_without(GF_MIXER_TRANSFORMER, chunks));
  }
}

void a_place_set_between_steps_is_where_they_go_on(void**) {
  auto model = make_model(GF_MIXER_GRASSMANN);
  gf::Trainer trainer(model, make_data(30), many_steps());
  for (int i = 0; i < 3; ++i) trainer.step_without_waiting();
  gf::TrainProgress place;
  place.state = {.seed = 5, .step = 15, .epoch = 1, .cursor = 7};
  trainer.set_progress(place);
  trainer.step_without_waiting();
  trainer.finish();
  assert_int_equal(trainer.progress().state.step, 16);
  assert_int_equal(trainer.progress().state.epoch, 2);
  assert_int_equal(trainer.progress().state.cursor, 0);
}

void a_trainer_may_end_with_steps_pending(void**) {
  auto model = make_model(GF_MIXER_TRANSFORMER);
  {
    gf::Trainer trainer(model, make_data(30), many_steps());
    for (int i = 0; i < 20; ++i) trainer.step_without_waiting();
  }
  auto expected = make_model(GF_MIXER_TRANSFORMER);
  gf::Trainer trainer(expected, make_data(30), many_steps());
  for (int i = 0; i < 20; ++i) trainer.step();
  assert_true(values(*model) == values(*expected));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(not_waiting_changes_no_bit),
      cmocka_unit_test(a_step_that_waits_reports_itself),
      cmocka_unit_test(a_loss_that_is_not_finite_found_late_names_its_step),
      cmocka_unit_test(it_is_found_when_as_many_steps_are_pending_as_may_be),
      cmocka_unit_test(it_may_be_the_short_batch_of_an_epoch),
      cmocka_unit_test(a_place_set_between_steps_is_where_they_go_on),
      cmocka_unit_test(a_trainer_may_end_with_steps_pending),
  };
  return cmocka_run_group_tests_name("train/pending", tests, nullptr, nullptr);
}
