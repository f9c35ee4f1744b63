// Who may use what at once: contexts are independent, a handle goes from thread to thread.

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

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(two_contexts_train_at_once_as_they_do_alone),
      cmocka_unit_test(a_handle_goes_from_thread_to_thread),
      cmocka_unit_test(an_error_is_read_in_another_thread),
  };
  return cmocka_run_group_tests_name("api/threads", tests, nullptr, nullptr);
}
