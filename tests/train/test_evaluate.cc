// Evaluation, whose batches are recorded once and run again and again.

#include "train/evaluate.h"

#include <cmath>
#include <cstdlib>
#include <functional>
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

// An evaluation finds what a step has left in the memory of both, and a step what an evaluation
// has; worse may stand there and change no bit of either.
void what_stands_in_the_memory_does_not_matter(void**) {
  const auto data = make_data(30), other = make_data(7, 2);
  for (gf_mixer mixer : kMixers) {
    auto alone = make_model(mixer), shared = make_model(mixer);
    std::vector<double> expected;
    {
      gf::Trainer trainer(alone, data, quick_options());
      while (!trainer.done()) {
        trainer.step();
        auto copy = make_model(mixer);  // has no memory but its own
        for (const gf::ParamSpec& spec : copy->table().specs()) {
          std::vector<float> values(static_cast<size_t>(spec.size()));
          alone->read(spec, values);
          copy->write(spec, values);
        }
        copy->refresh();
        expected.push_back(gf::evaluate(*copy, *other, 3).loss);
      }
    }
    gf::Trainer trainer(shared, data, quick_options());
    for (const double loss : expected) {
      poison_workspaces(*shared);
      trainer.step_without_waiting();
      poison_workspaces(*shared);
      assert_true(gf::evaluate(*shared, *other, 3).loss == loss);
    }
    trainer.finish();
    assert_true(trainer.done() && values(*alone) == values(*shared));
  }
}

// ---- Memory ------------------------------------------------------------------------------------

// A model on a CPU that writes down what is allocated.
struct Watched {
  explicit Watched(gf_mixer mixer) {
    gf::CpuOptions options;
    options.threads = 2;
    options.user = &allocations;
    options.allocate = [](size_t bytes, size_t alignment, void* user) {
      static_cast<std::vector<size_t>*>(user)->push_back(bytes);
      return allocate_aligned(bytes, alignment);
    };
    options.release = [](void* memory, size_t, void*) { std::free(memory); };
    model = std::make_shared<gf::Model>(gf::make_cpu_device(options),
                                        gf::ModelConfig(small_config(mixer)));
    model->initialise(3);
  }

  // What `work` allocates.
  std::vector<size_t> during(const std::function<void()>& work) {
    allocations.clear();
    work();
    return allocations;
  }

  std::vector<size_t> allocations;
  std::shared_ptr<gf::Model> model;
};

// Of an evaluation that finds its workspace there: the data, then the state and the score.
std::vector<size_t> tables_of(const gf::Dataset& data) {
  gf::Arena ids, score;
  ids.array<int32_t>(data.padded_tokens());
  score.array<gf::StepState>(1);
  score.array<gf::Score>(1);
  return {ids.bytes(), score.bytes()};
}

void an_evaluation_takes_the_place_of_a_steps_activations(void**) {
  for (gf_mixer mixer : kMixers) {
    Watched watched(mixer);
    const gf::Model& model = *watched.model;
    const auto data = make_data(11, 2), many = make_data(200, 2);
    const std::vector<size_t> tables = tables_of(*data);
    const auto evaluate = [&](const gf::Dataset& dataset, int64_t batch) {
      return watched.during([&] { gf::evaluate(model, dataset, batch); });
    };
    assert_int_equal(evaluate(*data, 4).size(), tables.size() + 1);  // nothing is there to share
    {
      gf::Trainer trainer(watched.model, make_data(30), quick_options());
      for (int i = 0; i < 3; ++i) {
        assert_true(watched.during([&] { trainer.step_without_waiting(); }).empty());
        assert_true(evaluate(*data, 4) == tables);
        assert_true(evaluate(*data, 2) == tables);
        assert_int_equal(evaluate(*many, 200).size(), tables.size() + 1);  // what is there is less
      }
      std::vector<float> logits(4 * kLength * 128);
      const std::vector<int32_t> ids(4 * kLength, 7);
      const auto forward = [&] { model.forward(ids, {}, 4, kLength, logits.data()); };
      assert_true(watched.during(forward).empty());
    }
    assert_int_equal(evaluate(*data, 4).size(), tables.size() + 1);  // gone with the training
  }
}

// Where rows are few and words many, the logits of an evaluation take more than all of a step.
void a_training_has_room_for_an_evaluation_of_its_shape(void**) {
  for (gf_mixer mixer : kMixers) {
    for (const int32_t product_bytes : {2, 4}) {
      for (const int64_t sequences : {1, 4, 32}) {
        gf_model_config c = small_config(mixer);
        c.vocab_size = 30522;
        const gf::ModelConfig config(c);
        const gf::ParamTable table(config);
        const auto bytes = [&](bool training) {
          return gf::Workspace::bytes(config, table, {sequences, kLength, product_bytes, training});
        };
        assert_true(bytes(true) >= bytes(false));
      }
    }
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_loss_is_that_of_the_logits_whatever_the_batch),
      cmocka_unit_test(the_same_evaluation_gives_the_same_bits_and_changes_nothing),
      cmocka_unit_test(an_evaluation_between_steps_disturbs_none),
      cmocka_unit_test(what_stands_in_the_memory_does_not_matter),
      cmocka_unit_test(an_evaluation_takes_the_place_of_a_steps_activations),
      cmocka_unit_test(a_training_has_room_for_an_evaluation_of_its_shape),
  };
  return cmocka_run_group_tests_name("train/evaluate", tests, nullptr, nullptr);
}
