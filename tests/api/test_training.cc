// Steps, progress, cancelling, evaluation, memory.

#include <algorithm>
#include <cmath>
#include <cstdlib>
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

// Neither report nor progress: steps need not be waited for until someone asks.
void steps_without_a_report_are_the_same_steps(void**) {
  gf_context* context = make_context();
  gf_dataset* dataset = make_dataset(context);
  gf_train_options options;
  gf_train_options_init(&options);
  options.batch_size = 8;
  options.epochs = 30;
  double loss[2] = {};
  for (const bool reported : {false, true}) {
    gf_model* model = make_model(context);
    gf_trainer* trainer = nullptr;
    assert_int_equal(gf_trainer_create(model, dataset, &options, &trainer), GF_OK);
    gf_train_report report = {};
    report.struct_size = sizeof report;
    gf_status status = GF_OK;
    while (status == GF_OK) status = gf_train_step(trainer, reported ? &report : nullptr);
    assert_int_equal(status, GF_END);
    gf_train_state state = {};
    state.struct_size = sizeof state;
    assert_int_equal(gf_trainer_get_state(trainer, &state), GF_OK);
    assert_int_equal(state.step, 90);
    assert_int_equal(state.epoch, 30);
    loss[reported] = state.epoch_loss;
    gf_trainer_free(trainer);
    gf_model_free(model);
  }
  assert_true(loss[0] == loss[1]);
  gf_dataset_free(dataset);
  gf_context_free(context);
}

void a_profile_lists_operations(void**) {
  gf_context* context = make_context();
  gf_model* model = make_model(context);
  gf_dataset* dataset = make_dataset(context);
  gf_eval_report evaluation = {};
  evaluation.struct_size = sizeof evaluation;
  size_t count = 7;
  assert_int_equal(gf_context_profile(context, nullptr, 0, &count), GF_OK);
  assert_int_equal(count, 0);
  assert_int_equal(gf_context_set_profiling(context, 1), GF_OK);
  assert_int_equal(gf_eval(model, dataset, 8, &evaluation), GF_OK);
  assert_int_equal(gf_context_set_profiling(context, 0), GF_OK);
  assert_int_equal(gf_context_profile(context, nullptr, 0, &count), GF_OK);
  std::vector<gf_profile_entry> entries(count);
  assert_error(context, gf_context_profile(context, entries.data(), count, &count),
               GF_ERROR_INVALID_ARGUMENT, "struct_size");
  entries[0].struct_size = sizeof entries[0];
  assert_int_equal(gf_context_profile(context, entries.data(), count, &count), GF_OK);
  int64_t gathers = 0;
  for (size_t i = 0; i < count; ++i) {
    if (std::strcmp(entries[i].name, "gather") == 0) gathers = entries[i].calls;
    assert_true(i == 0 || entries[i].seconds <= entries[i - 1].seconds);
  }
  assert_int_equal(gathers, 3);  // 20 chunks, 8 at a time
  assert_int_equal(gf_context_set_profiling(nullptr, 1), GF_ERROR_INVALID_ARGUMENT);
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
  assert_true(std::fabs(a.loss - b.loss) < by_precision(1e-6, 1e-3) * a.loss);
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
  assert_true(std::fabs(sum / (5 * (kLength - 1)) - a.loss) < by_precision(1e-6, 1e-3) * a.loss);
  gf_dataset_free(dataset);
  gf_model_free(model);
  gf_context_free(context);
}

// ---- Memory ------------------------------------------------------------------------------------

struct Memory {
  int64_t now = 0, peak = 0;
};

// On a CPU, where the library says what it takes.
gf_context* make_watched_context(Memory* memory) {
  gf_context_options options;
  gf_context_options_init(&options);
  options.threads = 2;
  options.allocate = [](size_t bytes, size_t alignment, void* user) {
    auto* m = static_cast<Memory*>(user);
    m->now += static_cast<int64_t>(bytes);
    m->peak = std::max(m->peak, m->now);
    return allocate_aligned(bytes, alignment);
  };
  options.release = [](void* block, size_t bytes, void* user) {
    static_cast<Memory*>(user)->now -= static_cast<int64_t>(bytes);
    std::free(block);
  };
  options.allocator_user = memory;
  gf_context* context = nullptr;
  assert_int_equal(gf_context_create(&options, &context, nullptr, 0), GF_OK);
  return context;
}

// Training with evaluations between its steps takes the bytes promised for it, and the data.
void memory_is_what_was_promised(void**) {
  for (const gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
    Memory memory;
    gf_context* context = make_watched_context(&memory);
    const gf_model_config config = small_config(mixer);
    int64_t model_bytes = 0, training_bytes = 0;
    assert_int_equal(
        gf_model_config_bytes(context, &config, 8, kLength, &model_bytes, &training_bytes), GF_OK);
    gf_model* model = make_model(context, mixer);
    assert_int_equal(memory.peak, model_bytes);

    gf_dataset* dataset = make_dataset(context);
    gf_train_options options;
    gf_train_options_init(&options);
    options.batch_size = 8;
    gf_trainer* trainer = nullptr;
    assert_int_equal(gf_trainer_create(model, dataset, &options, &trainer), GF_OK);
    std::vector<float> logits(8 * kLength * 256);
    const std::vector<int32_t> ids(8 * kLength, 7);
    for (int i = 0; i < 3; ++i) {
      assert_int_equal(gf_train_step(trainer, nullptr), GF_OK);
      gf_eval_report report = {};
      report.struct_size = sizeof report;
      assert_int_equal(gf_eval(model, dataset, 8, &report), GF_OK);
      assert_int_equal(gf_model_forward(model, ids.data(), 8, kLength, logits.data()), GF_OK);
    }
    // The data twice, results of steps and a score.
    const int64_t beside = 2 * 20 * kLength * 4 + 8192;
    assert_in_range(memory.peak, training_bytes, training_bytes + beside);

    gf_trainer_free(trainer);
    assert_int_equal(memory.now, model_bytes);
    gf_dataset_free(dataset);
    gf_model_free(model);
    gf_context_free(context);
    assert_int_equal(memory.now, 0);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_progress_callback_sees_every_step_and_cancels),
      cmocka_unit_test(steps_without_a_report_are_the_same_steps),
      cmocka_unit_test(a_profile_lists_operations),
      cmocka_unit_test(evaluation_is_the_mean_of_the_logits_losses),
      cmocka_unit_test(memory_is_what_was_promised),
  };
  return cmocka_run_group_tests_name("api/training", tests, nullptr, nullptr);
}
