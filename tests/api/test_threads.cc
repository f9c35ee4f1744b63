// Who may use what at once: contexts are independent, a handle goes from thread to thread.

#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include "api/api_test.h"

namespace {

using namespace gf_test;

// A context, and on it a model in training: all that one thread needs.
struct Training {
  explicit Training(gf_mixer mixer)
      : context(make_context()), model(make_model(context, mixer)), dataset(make_dataset(context)) {
    gf_train_options options;
    gf_train_options_init(&options);
    options.batch_size = 4;
    assert_int_equal(gf_trainer_create(model, dataset, &options, &trainer), GF_OK);
  }
  ~Training() {
    gf_trainer_free(trainer);
    gf_dataset_free(dataset);
    gf_model_free(model);
    gf_context_free(context);
  }
  // The loss of every step; a call that fails ends them.
  std::vector<double> train(int steps) {
    std::vector<double> losses;
    gf_train_report report = {};
    report.struct_size = sizeof report;
    while (steps-- > 0 && gf_train_step(trainer, &report) == GF_OK) losses.push_back(report.loss);
    return losses;
  }

  gf_context* context;
  gf_model* model;
  gf_dataset* dataset;
  gf_trainer* trainer = nullptr;
};

constexpr int kSteps = 12;
constexpr gf_mixer kMixers[] = {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER};

void two_contexts_train_at_once_as_they_do_alone(void**) {
  std::vector<double> alone[2], at_once[2];
  for (int i = 0; i < 2; ++i) alone[i] = Training(kMixers[i]).train(kSteps);
  std::thread threads[2];
  for (int i = 0; i < 2; ++i) {
    threads[i] = std::thread([&, i] { at_once[i] = Training(kMixers[i]).train(kSteps); });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 2; ++i) {
    assert_int_equal(alone[i].size(), kSteps);
    assert_true(alone[i] == at_once[i]);
  }
}

// Made in one thread, used in others one after the other, freed in yet another.
void a_handle_goes_from_thread_to_thread(void**) {
  const std::vector<double> wanted = Training(GF_MIXER_GRASSMANN).train(kSteps);
  std::vector<double> got;
  Training* training = nullptr;
  std::thread([&] { training = new Training(GF_MIXER_GRASSMANN); }).join();
  for (int i = 0; i < 6; ++i) {
    std::thread([&] {
      const std::vector<double> losses = training->train(kSteps / 6);
      got.insert(got.end(), losses.begin(), losses.end());
    }).join();
  }
  std::thread([&] { delete training; }).join();
  assert_true(got == wanted);
}

void an_error_is_read_in_another_thread(void**) {
  gf_context* context = make_context();
  std::thread([&] {
    gf_model* model = nullptr;
    gf_model_load(context, "/nowhere", &model);
  }).join();
  assert_non_null(std::strstr(gf_context_error(context), "/nowhere"));
  gf_context_free(context);
}

gf_eval_report evaluate(Training& training, gf_status wanted) {
  gf_eval_report report = {};
  report.struct_size = sizeof report;
  report.loss = -1;
  assert_int_equal(gf_eval(training.model, training.dataset, 4, &report), wanted);
  return report;
}

void a_request_to_cancel_ends_the_next_evaluation_and_no_other(void**) {
  Training training(GF_MIXER_GRASSMANN);
  const gf_eval_report wanted = evaluate(training, GF_OK);
  gf_context_cancel(nullptr, 1);
  for (const int requests : {1, 2}) {
    for (int i = 0; i < requests; ++i) gf_context_cancel(training.context, 1);
    const gf_eval_report cancelled = evaluate(training, GF_CANCELLED);
    assert_true(cancelled.loss == -1 && cancelled.sequences == 0);
    const gf_eval_report found = evaluate(training, GF_OK);
    assert_true(found.loss == wanted.loss);
    assert_int_equal(found.tokens, wanted.tokens);
  }
  assert_string_equal(gf_context_error(training.context), "");
}

void a_call_that_evaluates_nothing_leaves_the_request(void**) {
  Training training(GF_MIXER_GRASSMANN);
  gf_context_cancel(training.context, 1);
  assert_int_equal(training.train(3).size(), 3);
  gf_eval_report report = {};
  assert_error(training.context, gf_eval(training.model, training.dataset, 4, &report),
               GF_ERROR_INVALID_ARGUMENT, "struct_size");
  evaluate(training, GF_CANCELLED);
  assert_int_equal(training.train(3).size(), 3);
  evaluate(training, GF_OK);
}

void a_request_is_taken_back(void**) {
  Training training(GF_MIXER_GRASSMANN);
  gf_context_cancel(training.context, 1);
  gf_context_cancel(training.context, 0);
  evaluate(training, GF_OK);
}

// The allocation callback stands for another thread: it runs when an evaluation has begun.
void an_evaluation_that_has_begun_ends_before_its_next_batch(void**) {
  static gf_context* context = nullptr;
  gf_context_options options;
  gf_context_options_init(&options);
  options.allocate = [](size_t bytes, size_t alignment, void*) {
    gf_context_cancel(context, 1);
    return allocate_aligned(bytes, alignment);
  };
  options.release = [](void* memory, size_t, void*) { std::free(memory); };
  gf_context* made = nullptr;
  assert_int_equal(gf_context_create(&options, &made, nullptr, 0), GF_OK);
  gf_model* model = make_model(made);
  gf_dataset* dataset = make_dataset(made);
  context = made;
  assert_int_equal(gf_context_set_profiling(made, 1), GF_OK);
  gf_eval_report report = {};
  report.struct_size = sizeof report;
  assert_int_equal(gf_eval(model, dataset, 4, &report), GF_CANCELLED);
  size_t operations = 9;
  assert_int_equal(gf_context_profile(made, nullptr, 0, &operations), GF_OK);
  assert_int_equal(operations, 0);
  context = nullptr;
  assert_int_equal(gf_eval(model, dataset, 4, &report), GF_OK);
  gf_dataset_free(dataset);
  gf_model_free(model);
  gf_context_free(made);
}

// At whatever place of an evaluation it happens to be, or between two.
void another_thread_cancels_the_evaluation_under_way(void**) {
  Training training(GF_MIXER_TRANSFORMER);
  const double wanted = evaluate(training, GF_OK).loss;
  for (int i = 0; i < 20; ++i) {
    std::thread other([&] {
      for (int pause = 0; pause < i; ++pause) std::this_thread::yield();
      gf_context_cancel(training.context, 1);
    });
    gf_eval_report report = {};
    report.struct_size = sizeof report;
    gf_status status = GF_OK;
    while (status == GF_OK) {
      status = gf_eval(training.model, training.dataset, 1, &report);
    }
    other.join();
    assert_int_equal(status, GF_CANCELLED);
    assert_true(evaluate(training, GF_OK).loss == wanted);
  }
}

void a_signal_handler_cancels(void**) {
  static gf_context* context = nullptr;
  Training training(GF_MIXER_GRASSMANN);
  context = training.context;
  std::signal(SIGUSR1, [](int) { gf_context_cancel(context, 1); });
  std::raise(SIGUSR1);
  std::signal(SIGUSR1, SIG_DFL);
  evaluate(training, GF_CANCELLED);
  evaluate(training, GF_OK);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(two_contexts_train_at_once_as_they_do_alone),
      cmocka_unit_test(a_handle_goes_from_thread_to_thread),
      cmocka_unit_test(an_error_is_read_in_another_thread),
      cmocka_unit_test(a_request_to_cancel_ends_the_next_evaluation_and_no_other),
      cmocka_unit_test(a_call_that_evaluates_nothing_leaves_the_request),
      cmocka_unit_test(a_request_is_taken_back),
      cmocka_unit_test(an_evaluation_that_has_begun_ends_before_its_next_batch),
      cmocka_unit_test(another_thread_cancels_the_evaluation_under_way),
      cmocka_unit_test(a_signal_handler_cancels),
  };
  return cmocka_run_group_tests_name("api/threads", tests, nullptr, nullptr);
}
