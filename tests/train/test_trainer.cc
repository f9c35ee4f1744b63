#include "train/train_test.h"

#include <cmath>
#include <limits>
#include <vector>

#include "support/support.h"
#include "train/evaluate.h"

namespace {

using namespace gf_test;

// What a model that knows no more than how often each byte occurs would reach.
double unigram_entropy(const gf::Dataset& data) {
  std::vector<double> counts(128, 0.0);
  const double total = static_cast<double>(data.chunks() * data.length());
  for (int64_t i = 0; i < data.chunks() * data.length(); ++i) {
    ++counts[static_cast<size_t>(data.data()[i])];
  }
  double entropy = 0;
  for (double count : counts) entropy -= count > 0 ? count / total * std::log(count / total) : 0;
  return entropy;
}

void both_models_learn(void**) {
  for (gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
    auto model = make_model(mixer);
    gf::TrainOptions options = quick_options();
    options.batch_size = 16;
    options.epochs = 8;
    options.adamw.schedule.lr = 5e-3;
    gf::Trainer trainer(model, make_data(640), options);
    const double first = trainer.step().loss;
    while (!trainer.done()) trainer.step();
    const double after = gf::evaluate(*model, *make_data(64, 2), 16).loss;
    // Fresh weights predict nearly uniformly; after three hundred steps unseen text of the same
    // grammar shows that the tokens before have been used.
    assert_true(std::fabs(first - std::log(128.0)) < 0.1);
    assert_true(after < unigram_entropy(*make_data(64, 2)) - 0.25);
  }
}

void an_epoch_ends_with_a_short_batch_and_sees_every_chunk_once(void**) {
  // Chunk i holds id i alone: the first column of a batch names its chunks.
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 10; ++i) ids.insert(ids.end(), kLength, i);
  auto data = std::make_shared<gf::Dataset>(gf::dataset_from_ids(ids, kLength));
  gf::Trainer trainer(make_model(GF_MIXER_TRANSFORMER), data, quick_options());
  assert_int_equal(trainer.schedule().steps_per_epoch, 3);
  assert_int_equal(trainer.schedule().total_steps, 6);
  const int64_t tokens[] = {4 * kLength, 4 * kLength, 2 * kLength};
  for (int64_t step = 0; step < 6; ++step) {
    const gf::StepReport report = trainer.step();
    assert_int_equal(report.step, step + 1);
    assert_int_equal(report.epoch, step / 3);
    assert_int_equal(report.tokens, tokens[step % 3]);
    assert_int_equal(trainer.progress().epoch_steps, step % 3 + 1);
  }
  assert_true(trainer.done());
}

void results_do_not_depend_on_the_number_of_threads(void**) {
  for (gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
    std::vector<std::vector<float>> results;
    for (int threads : {1, 2, 5}) {
      auto model = make_model(mixer, threads);
      gf::Trainer trainer(model, make_data(30), quick_options());
      while (!trainer.done()) trainer.step();
      results.push_back(values(*model));
    }
    assert_true(results[0] == results[1] && results[0] == results[2]);
  }
}

void the_seed_decides_on_shuffle_and_dropout(void**) {
  std::vector<double> losses;
  for (uint64_t seed : {5, 5, 6}) {
    gf::TrainOptions options = quick_options();
    options.seed = seed;
    gf::Trainer trainer(make_model(GF_MIXER_GRASSMANN), make_data(30), options);
    trainer.step();
    losses.push_back(trainer.step().loss);
  }
  assert_true(losses[0] == losses[1] && losses[0] != losses[2]);
}

void max_steps_ends_training_and_the_schedule(void**) {
  gf::TrainOptions options = quick_options();
  options.max_steps = 7;
  gf::Trainer trainer(make_model(GF_MIXER_TRANSFORMER), make_data(30), options);
  double rate = 0;
  int64_t steps = 0;
  for (; !trainer.done(); ++steps) rate = trainer.step().learning_rate;
  assert_int_equal(steps, 7);
  assert_true(std::fabs(rate - 3e-4) < 1e-12);
}

void a_loss_that_is_not_finite_stops_before_the_update(void**) {
  auto model = make_model(GF_MIXER_GRASSMANN);
  gf::Trainer trainer(model, make_data(30), quick_options());
  trainer.step();
  const gf::ParamSpec& spec = model->table()["blocks.1.ffn.0.bias"];
  std::vector<float> bias(static_cast<size_t>(spec.size()), std::numeric_limits<float>::infinity());
  model->write(spec, bias);
  const std::vector<float> before = values(*model);
  const gf::TrainProgress place = trainer.progress();
  gf_test::assert_fails(GF_ERROR_NOT_FINITE, "step 2: ", [&] { trainer.step(); });
  gf_test::assert_fails(GF_ERROR_NOT_FINITE, "blocks.1.ffn.0.bias", [&] { trainer.step(); });
  const std::vector<float> after = values(*model);
  assert_memory_equal(before.data(), after.data(), before.size() * sizeof(float));
  assert_int_equal(trainer.progress().state.step, place.state.step);
  assert_int_equal(trainer.progress().state.cursor, place.state.cursor);
}

void refuse(const char* part, void (*change)(gf::TrainOptions&)) {
  gf::TrainOptions options = quick_options();
  change(options);
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, part, [&] {
    gf::Trainer(make_model(GF_MIXER_TRANSFORMER), make_data(10), options);
  });
}

void bad_options_are_named(void**) {
  refuse("batch_size is 0", [](gf::TrainOptions& o) { o.batch_size = 0; });
  refuse("epochs is 0", [](gf::TrainOptions& o) { o.epochs = 0; });
  refuse("max_steps is -1", [](gf::TrainOptions& o) { o.max_steps = -1; });
  refuse("lr is nan", [](gf::TrainOptions& o) { o.adamw.schedule.lr = NAN; });
  refuse("min_lr is 1", [](gf::TrainOptions& o) { o.adamw.schedule.min_lr = 1; });
  refuse("warmup_steps is -3", [](gf::TrainOptions& o) { o.adamw.schedule.warmup_steps = -3; });
  refuse("beta1 is 1", [](gf::TrainOptions& o) { o.adamw.beta1 = 1; });
  refuse("beta2 is -1", [](gf::TrainOptions& o) { o.adamw.beta2 = -1; });
  refuse("epsilon is 0", [](gf::TrainOptions& o) { o.adamw.epsilon = 0; });
  refuse("weight_decay is -1", [](gf::TrainOptions& o) { o.adamw.weight_decay = -1; });
  refuse("grad_clip is -1", [](gf::TrainOptions& o) { o.adamw.clip = -1; });
}

void data_that_does_not_fit_the_model_is_named(void**) {
  gf_test::assert_fails(
      GF_ERROR_INVALID_ARGUMENT, "id 8 of sequence 1 of the dataset is 128, expected 0 to 127", [] {
        std::vector<int32_t> ids(2 * kLength, 1);
        ids[40] = 128;
        auto data = std::make_shared<gf::Dataset>(gf::dataset_from_ids(ids, kLength));
        gf::Trainer(make_model(GF_MIXER_TRANSFORMER), data, quick_options());
      });
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, "sequences have 33 ids", [] {
    const std::vector<int32_t> ids(33, 1);
    auto data = std::make_shared<gf::Dataset>(gf::dataset_from_ids(ids, 33));
    gf::Trainer(make_model(GF_MIXER_TRANSFORMER), data, quick_options());
  });
}

size_t allocated = 0;

void memory_is_what_was_promised(void**) {
  for (gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
    allocated = 0;
    gf::CpuOptions options;
    options.threads = 2;
    options.allocate = [](size_t bytes, size_t alignment, void*) {
      allocated += bytes;
      return allocate_aligned(bytes, alignment);
    };
    options.release = [](void* memory, size_t, void*) { std::free(memory); };
    const gf::ModelConfig config(small_config(mixer));
    auto model = std::make_shared<gf::Model>(gf::make_cpu_device(options), config);
    auto data = make_data(30);
    gf::Trainer trainer(model, data, quick_options());
    const size_t promised = gf::Trainer::bytes(config, {4, kLength, sizeof(float), true});
    const size_t ids = static_cast<size_t>(data->chunks() * data->length()) * sizeof(int32_t);
    assert_true(allocated >= promised);
    assert_true(allocated <= promised + ids + 4096);  // the data and a few scalars
    trainer.step();
    assert_true(allocated <= promised + ids + 4096);  // a step allocates no buffers
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(both_models_learn),
      cmocka_unit_test(an_epoch_ends_with_a_short_batch_and_sees_every_chunk_once),
      cmocka_unit_test(results_do_not_depend_on_the_number_of_threads),
      cmocka_unit_test(the_seed_decides_on_shuffle_and_dropout),
      cmocka_unit_test(max_steps_ends_training_and_the_schedule),
      cmocka_unit_test(a_loss_that_is_not_finite_stops_before_the_update),
      cmocka_unit_test(bad_options_are_named),
      cmocka_unit_test(data_that_does_not_fit_the_model_is_named),
      cmocka_unit_test(memory_is_what_was_promised),
  };
  return cmocka_run_group_tests_name("train/trainer", tests, nullptr, nullptr);
}
