// Steps, progress, cancelling, evaluation.

#include <cmath>
#include <vector>

#include "api/api_test.h"

namespace {

using namespace gf_test;

void a_progress_callback_sees_every_step_and_cancels(void**) {
  struct Seen {
    std::vector<int64_t> steps;
  } seen;
  gf_context* context = make_context();
  gf_model* model = make_model(context);
  gf_dataset* dataset = make_dataset(context);
  gf_train_options options;
  gf_train_options_init(&options);
  options.batch_size = 8;
  options.epochs = 1;
  options.progress = [](const gf_train_report* report, void* user) -> int {
    static_cast<Seen*>(user)->steps.push_back(report->step);
    return report->step == 2;
  };
  options.progress_user = &seen;
  gf_trainer* trainer = nullptr;
  assert_int_equal(gf_trainer_create(model, dataset, &options, &trainer), GF_OK);
  gf_train_report report = {};
  report.struct_size = sizeof report;
  assert_int_equal(gf_train_step(trainer, &report), GF_OK);
  assert_int_equal(gf_train_step(trainer, &report), GF_CANCELLED);
  assert_int_equal(report.step, 2);
  assert_int_equal(gf_train_step(trainer, &report), GF_OK);
  assert_int_equal(report.step, 3);
  assert_int_equal(report.total_steps, 3);
  assert_int_equal(report.tokens, 4 * kLength);
  assert_int_equal(gf_train_step(trainer, &report), GF_END);
  assert_true(seen.steps == (std::vector<int64_t>{1, 2, 3}));
  gf_trainer_free(trainer);
  gf_dataset_free(dataset);
  gf_model_free(model);
  gf_context_free(context);
}

void evaluation_is_the_mean_of_the_logits_losses(void**) {
  gf_context* context = make_context();
  gf_model* model = make_model(context);
  gf_dataset* dataset = make_dataset(context, 5);
  gf_eval_report a = {}, b = {};
  a.struct_size = b.struct_size = sizeof a;
  assert_int_equal(gf_eval(model, dataset, 0, &a), GF_OK);
  assert_int_equal(gf_eval(model, dataset, 2, &b), GF_OK);
  assert_int_equal(a.sequences, 5);
  assert_int_equal(a.tokens, 5 * (kLength - 1));
  assert_true(std::fabs(a.loss - b.loss) < 1e-6 * a.loss);
  assert_true(std::fabs(a.perplexity - std::exp(a.loss)) < 1e-9 * a.perplexity);

  std::vector<char> text(5 * kLength);
  gf_sample_text(context, 1, text.data(), text.size());
  const std::vector<int32_t> ids(text.begin(), text.end());
  std::vector<float> logits(ids.size() * 256);
  assert_int_equal(gf_model_forward(model, ids.data(), 5, kLength, logits.data()), GF_OK);
  double sum = 0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    if (i % kLength == kLength - 1) continue;
    double total = 0;
    for (int v = 0; v < 256; ++v) total += std::exp(double{logits[i * 256 + v]});
    sum += std::log(total) - logits[i * 256 + static_cast<size_t>(ids[i + 1])];
  }
  assert_true(std::fabs(sum / (5 * (kLength - 1)) - a.loss) < 1e-6 * a.loss);
  gf_dataset_free(dataset);
  gf_model_free(model);
  gf_context_free(context);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_progress_callback_sees_every_step_and_cancels),
      cmocka_unit_test(evaluation_is_the_mean_of_the_logits_losses),
  };
  return cmocka_run_group_tests_name("api/training", tests, nullptr, nullptr);
}
