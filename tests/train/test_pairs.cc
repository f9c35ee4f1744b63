// Pair classifiers in training and evaluation, with the trainer and the evaluation of language
// models.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "base/error.h"
#include "data/snli.h"
#include "support/support.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/train_test.h"

namespace {

using namespace gf_test;

constexpr gf_mixer kMixers[] = {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER};
constexpr int32_t kLongest = 200;

gf_model_config classifier_config(gf_mixer mixer) {
  gf_model_config c = small_config(mixer);
  c.max_seq_len = kLongest;
  c.num_classes = GF_SNLI_CLASSES;
  return c;
}

std::shared_ptr<gf::Model> make_classifier(gf_mixer mixer, int threads = 2, float dropout = 0.1f) {
  gf_model_config c = classifier_config(mixer);
  c.dropout = dropout;
  auto model = std::make_shared<gf::Model>(make_test_device(threads), gf::ModelConfig(c));
  model->initialise(3);
  return model;
}

std::shared_ptr<const gf::Dataset> make_pairs(int64_t count, uint64_t seed = 1) {
  gf::PairReport report;
  return std::make_shared<gf::Dataset>(gf::dataset_from_snli(
      *gf::load_tokenizer("byte", ""), gf::sample_pairs(seed, count), "sample", kLongest, report));
}

// Sequences of 1 to 20 ids below 128; the class of each is how its first id goes into three.
std::shared_ptr<const gf::Dataset> easy_pairs(int32_t count, uint32_t seed) {
  std::vector<int32_t> ids, lengths, labels;
  uint32_t bits = seed;
  const auto draw = [&](uint32_t below) {
    bits = bits * 1664525u + 1013904223u;
    return static_cast<int32_t>((bits >> 8) % below);
  };
  for (int32_t i = 0; i < count; ++i) {
    lengths.push_back(draw(20) + 1);
    labels.push_back(draw(3));
    for (int32_t t = 0; t < lengths.back(); ++t) ids.push_back(3 * draw(42) + labels.back());
  }
  return std::make_shared<gf::Dataset>(
      gf::dataset_from_pairs(ids.data(), lengths.data(), labels.data(), lengths.size()));
}

double accuracy(const gf::Evaluation& e) {
  int64_t right = 0;
  for (size_t i = 0; i < 3; ++i) right += e.confusion[4 * i];
  return static_cast<double>(right) / static_cast<double>(e.sequences);
}

void both_models_learn(void**) {
  for (gf_mixer mixer : kMixers) {
    auto model = make_classifier(mixer);
    gf::TrainOptions options = quick_options();
    options.batch_size = 16;
    options.epochs = 6;
    gf::Trainer trainer(model, easy_pairs(400, 1), options);
    assert_true(std::fabs(trainer.step().loss - std::log(3.0)) < 0.1);
    while (!trainer.done()) trainer.step();
    const gf::Evaluation after = gf::evaluate(*model, *easy_pairs(300, 2), 16);
    print_message("unseen: loss %.3f, accuracy %.3f\n", after.loss, accuracy(after));
    assert_true(accuracy(after) > 0.95);
  }
}

void an_epoch_takes_every_pair_once(void**) {
  const auto data = make_pairs(101);
  gf::Trainer trainer(make_classifier(GF_MIXER_TRANSFORMER), data, quick_options());
  int64_t steps = 0;
  for (const gf::LengthGroup& group : data->groups()) steps += (group.count + 3) / 4;
  assert_int_equal(trainer.schedule().steps_per_epoch, steps);
  for (int64_t epoch = 1; epoch <= 2; ++epoch) {
    int64_t tokens = 0;
    for (int64_t step = 0; step < steps; ++step) tokens += trainer.step().tokens;
    assert_int_equal(tokens, data->tokens());
    assert_int_equal(trainer.progress().tokens, epoch * data->tokens());
    assert_int_equal(trainer.progress().state.epoch, epoch);
  }
  assert_true(trainer.done());
}

// Logits of a pair in a batch by itself, without padding.
std::vector<float> logits_of(const gf::Model& model, const int32_t* ids, int32_t length) {
  std::vector<float> logits(GF_SNLI_CLASSES);
  model.forward({ids, static_cast<size_t>(length)}, {&length, 1}, 1, length, logits.data());
  return logits;
}

// Whatever the batches, and so whatever pairs are padded to.
void an_evaluation_is_that_of_every_pair_alone(void**) {
  for (gf_mixer mixer : kMixers) {
    auto model = make_classifier(mixer);
    gf::Trainer trainer(model, make_pairs(60), quick_options());
    while (!trainer.done()) trainer.step_without_waiting();
    trainer.finish();
    const auto data = make_pairs(45, 2);
    double loss = 0;
    std::vector<int64_t> confusion(9, 0);
    const int32_t* ids = data->data();
    for (const gf::LengthGroup& group : data->groups()) {
      for (int64_t i = group.first; i < group.first + group.count; ++i, ids += group.length) {
        const int32_t label = data->labels()[static_cast<size_t>(i)];
        const auto logits = logits_of(*model, ids, data->lengths()[static_cast<size_t>(i)]);
        double sum = 0;
        for (const float logit : logits) sum += std::exp(double{logit});
        loss += std::log(sum) - logits[static_cast<size_t>(label)];
        const auto predicted = std::max_element(logits.begin(), logits.end()) - logits.begin();
        ++confusion[static_cast<size_t>(3 * label + predicted)];
      }
    }
    for (const int64_t batch : {64, 7, 1}) {
      const gf::Evaluation found = gf::evaluate(*model, *data, batch);
      assert_int_equal(found.sequences, 45);
      assert_int_equal(found.tokens, data->tokens());
      const double off = std::abs(found.loss / (loss / 45) - 1);
      if (!(off < by_precision(1e-6, 2e-3))) fail_msg("batches of %d: off by %g", int(batch), off);
      if (!in_bf16()) assert_true(found.confusion == confusion);
    }
  }
}

// The same sequences, in one case with a longer one among them that pads all.
void gradients_do_not_depend_on_the_padding(void**) {
  for (gf_mixer mixer : kMixers) {
    auto model = make_classifier(mixer, 2, 0);
    const std::vector<int32_t> lengths = {7, 3, 1, 12}, labels = {0, 2, 1, 2};
    std::vector<std::vector<float>> gradients;
    for (const int64_t T : {12, 13, 40}) {
      gf::Parameters params = model->parameters();
      const int64_t size = model->table().flat_size();
      gf::Arena arena(model->device(), static_cast<size_t>(size) * 4 + 512, "gradients");
      params.grad = arena.mat(1, size);
      auto* loss = arena.array<gf::LossSum>(1);
      gf::Workspace workspace(*model, params, {4, T, model->device()->product_bytes(), true});
      gf::Network& network = workspace.network(4, T);
      std::vector<int32_t> ids(static_cast<size_t>(4 * T), 99);
      for (size_t b = 0; b < 4; ++b) {
        for (int32_t t = 0; t < lengths[b]; ++t) {
          ids[b * static_cast<size_t>(T) + static_cast<size_t>(t)] =
              static_cast<int32_t>(b) * 17 + t;
        }
      }
      gf::Device& device = *model->device();
      device.upload(network.batch().ids, ids.data(), ids.size() * 4);
      device.upload(network.batch().lengths, lengths.data(), 16);
      device.upload(network.batch().labels, labels.data(), 16);
      network.forward(device, nullptr);
      network.backward(device, nullptr, loss);
      gradients.emplace_back(static_cast<size_t>(size));
      device.download(gradients.back().data(), params.grad.data, gradients.back().size() * 4);
    }
    for (const auto& other : {gradients[1], gradients[2]}) {
      double off = 0, norm = 0;
      for (size_t i = 0; i < other.size(); ++i) {
        off += std::pow(double{other[i]} - gradients[0][i], 2);
        norm += std::pow(double{gradients[0][i]}, 2);
      }
      assert_true(norm > 0 && std::sqrt(off / norm) < by_precision(1e-5, 1e-2));
    }
  }
}

void not_waiting_and_threads_change_no_bit(void**) {
  for (gf_mixer mixer : kMixers) {
    auto waited = make_classifier(mixer, 1), pending = make_classifier(mixer, 3);
    gf::Trainer a(waited, make_pairs(70), quick_options());
    gf::Trainer b(pending, make_pairs(70), quick_options());
    while (!a.done()) a.step();
    while (!b.done()) b.step_without_waiting();
    b.finish();
    assert_true(a.progress().epoch_loss == b.progress().epoch_loss);
    assert_int_equal(a.progress().tokens, b.progress().tokens);
    assert_true(values(*waited) == values(*pending));
  }
}

// An evaluation of a model in training stands in the memory of its steps; what is there besides
// must not matter.
void evaluations_between_steps_disturb_none(void**) {
  const auto data = make_pairs(30), other = make_pairs(10, 2);
  for (gf_mixer mixer : kMixers) {
    auto alone = make_classifier(mixer), disturbed = make_classifier(mixer);
    {
      gf::Trainer trainer(alone, data, quick_options());
      while (!trainer.done()) trainer.step_without_waiting();
    }
    gf::Trainer trainer(disturbed, data, quick_options());
    while (!trainer.done()) {
      poison_workspaces(*disturbed);
      trainer.step_without_waiting();
      poison_workspaces(*disturbed);
      gf::evaluate(*disturbed, *other, 3);
    }
    assert_true(values(*alone) == values(*disturbed));
    const gf::Evaluation own = gf::evaluate(*alone, *other, 3);
    const gf::Evaluation shared = gf::evaluate(*disturbed, *other, 3);
    assert_true(shared.loss == own.loss && shared.confusion == own.confusion);
  }
}

// A step that goes wrong stops the device, while the host goes on to batches of other shapes.
void a_loss_that_is_not_finite_found_late_names_its_step(void**) {
  auto model = make_classifier(GF_MIXER_GRASSMANN);
  gf::Trainer trainer(model, make_pairs(60), quick_options());
  for (int i = 0; i < 5; ++i) trainer.step_without_waiting();
  const gf::ParamSpec& spec = model->table()["classifier.bias"];
  std::vector<float> whole(3);
  model->read(spec, whole);
  model->write(spec, std::vector<float>(3, INFINITY));
  model->refresh();
  assert_fails(GF_ERROR_NOT_FINITE, "step 6: ", [&] {
    for (int i = 0; i < 12; ++i) trainer.step_without_waiting();
    trainer.finish();
  });
  model->write(spec, whole);
  model->refresh();
  while (!trainer.done()) trainer.step_without_waiting();
  trainer.finish();

  auto undisturbed = make_classifier(GF_MIXER_GRASSMANN);
  gf::Trainer expected(undisturbed, make_pairs(60), quick_options());
  while (!expected.done()) expected.step();
  assert_true(values(*model) == values(*undisturbed));
}

// The text with which a trainer ends that begins so many steps and then asks for their outcome.
std::string failure_of(gf::Trainer& trainer, int64_t steps, bool waiting) {
  try {
    for (int64_t i = 0; i < steps; ++i) {
      waiting ? static_cast<void>(trainer.step()) : trainer.step_without_waiting();
    }
    trainer.finish();
  } catch (const gf::Error& error) {
    assert_int_equal(error.status(), GF_ERROR_NOT_FINITE);
    return error.what();
  }
  fail_msg("%d steps went well", static_cast<int>(steps));
  return "";
}

// The row of the position that only batches of the longest pairs reach is finite, but too large to
// compute with. Behind such a batch follow others, the last of the shortest pairs, whose gradients
// are finite.
void it_names_the_tensor_of_its_own_batch(void**) {
  const auto data = make_pairs(60);
  const auto& groups = data->groups();
  assert_true(groups.size() >= 3);
  const int64_t position = groups[groups.size() - 2].length;
  for (gf_mixer mixer : kMixers) {
    auto make_poisoned = [&] {
      auto model = make_classifier(mixer);
      const gf::ParamSpec& spec = model->table()["position_embedding.weight"];
      std::vector<float> rows(static_cast<size_t>(spec.size()));
      model->read(spec, rows);
      std::fill_n(rows.begin() + position * spec.cols, spec.cols, 3e38f);
      model->write(spec, rows);
      model->refresh();
      return model;
    };
    auto model = make_poisoned();
    gf::Trainer waited(model, data, quick_options());
    const gf::Batches batches(model->device(), *data, quick_options().batch_size,
                              gf::Batches::Order::kShuffled);
    const auto first_of = [&](size_t group, gf::StepState from) {
      while (batches.kind(from).group != group) from.move_on(batches.per_epoch());
      return from;
    };
    const gf::StepState bad = first_of(groups.size() - 1, {.seed = quick_options().seed});
    const gf::StepState last = first_of(0, bad);
    const std::string text = failure_of(waited, bad.step + 1, true);
    assert_non_null(std::strstr(text.c_str(), "the gradient is not finite first in "));

    gf::Trainer pending(make_poisoned(), data, quick_options());
    assert_string_equal(failure_of(pending, last.step + 1, false).c_str(), text.c_str());
    assert_int_equal(pending.progress().state.step, bad.step);
  }
}

void continuing_equals_never_having_stopped(void**) {
  const std::string path = scratch_directory() + "/training";
  for (const int stop : {3, 11}) {
    auto unbroken = make_classifier(GF_MIXER_TRANSFORMER);
    gf::Trainer a(unbroken, make_pairs(40), quick_options());
    for (int i = 0; i < 17; ++i) a.step();
    gf::Trainer first(make_classifier(GF_MIXER_TRANSFORMER), make_pairs(40), quick_options());
    for (int i = 0; i < stop; ++i) first.step();
    gf::save_trainer(first, path);
    auto continued = make_classifier(GF_MIXER_TRANSFORMER);
    gf::Trainer second(continued, make_pairs(40), quick_options());
    gf::load_trainer(second, path);
    for (int i = stop; i < 17; ++i) second.step();
    assert_true(values(*unbroken) == values(*continued));
    assert_int_equal(a.progress().tokens, second.progress().tokens);
  }
  gf::Trainer other(make_classifier(GF_MIXER_TRANSFORMER), make_pairs(40, 9), quick_options());
  assert_fails(GF_ERROR_MISMATCH, "saved with ", [&] { gf::load_trainer(other, path); });
}

void data_of_another_kind_is_refused(void**) {
  const auto refuse = [](const char* text, std::shared_ptr<gf::Model> model,
                         const std::shared_ptr<const gf::Dataset>& data) {
    assert_fails(GF_ERROR_INVALID_ARGUMENT, text,
                 [&] { gf::Trainer(model, data, quick_options()); });
    assert_fails(GF_ERROR_INVALID_ARGUMENT, text, [&] { gf::evaluate(*model, *data, 4); });
  };
  refuse("the model is a pair classifier", make_classifier(GF_MIXER_GRASSMANN), make_data(10));
  refuse("the dataset has pairs", make_model(GF_MIXER_GRASSMANN), easy_pairs(10, 1));
  const auto pair = [](std::vector<int32_t> ids, int32_t label) {
    const int32_t lengths[] = {1, static_cast<int32_t>(ids.size())}, labels[] = {0, label};
    ids.insert(ids.begin(), 1);
    return std::make_shared<gf::Dataset>(gf::dataset_from_pairs(ids.data(), lengths, labels, 2));
  };
  refuse("the label of sequence 1 of the dataset is 3, expected 0 to 2",
         make_classifier(GF_MIXER_GRASSMANN), pair({1, 2}, 3));
  refuse("id 1 of sequence 1 of the dataset is 128, expected 0 to 127",
         make_classifier(GF_MIXER_GRASSMANN), pair({1, 128}, 0));
  refuse("sequences have 201 ids, expected 1 to 200", make_classifier(GF_MIXER_GRASSMANN),
         pair(std::vector<int32_t>(201, 1), 0));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(both_models_learn),
      cmocka_unit_test(an_epoch_takes_every_pair_once),
      cmocka_unit_test(an_evaluation_is_that_of_every_pair_alone),
      cmocka_unit_test(gradients_do_not_depend_on_the_padding),
      cmocka_unit_test(not_waiting_and_threads_change_no_bit),
      cmocka_unit_test(evaluations_between_steps_disturb_none),
      cmocka_unit_test(a_loss_that_is_not_finite_found_late_names_its_step),
      cmocka_unit_test(it_names_the_tensor_of_its_own_batch),
      cmocka_unit_test(continuing_equals_never_having_stopped),
      cmocka_unit_test(data_of_another_kind_is_refused),
  };
  return cmocka_run_group_tests_name("train/pairs", tests, nullptr, nullptr);
}
