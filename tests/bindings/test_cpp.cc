// The C++ header as its user meets it: every class, exceptions in place of statuses, training that
// is watched and broken off.

#include <grassflow.hpp>

#include <cstring>
#include <fstream>
#include <thread>
#include <type_traits>

#include "support/support.h"

namespace {

using namespace grassflow;

constexpr int32_t kLength = 16;

ModelConfig small_config(gf_mixer mixer = GF_MIXER_GRASSMANN) {
  ModelConfig config(mixer);
  config.vocab_size = 256;
  config.max_seq_len = kLength;
  config.num_layers = 2;
  config.model_dim = 16;
  config.reduced_dim = 4;
  config.ff_dim = 32;
  return config;
}

Dataset sample(const Context& context, int64_t chunks = 20) {
  const Tokenizer tokenizer(context, "byte");
  return Dataset(context,
                 tokenizer.encode(context.sample_text(1, static_cast<size_t>(chunks * kLength))),
                 kLength);
}

template <class Body>
void assert_throws(gf_status status, const char* part, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.status() != status || !std::strstr(error.what(), part)) {
      fail_msg("wanted status %d with \"%s\", got %d: %s", status, part, error.status(),
               error.what());
    }
    return;
  }
  fail_msg("wanted an exception with \"%s\", got none", part);
}

void handles_move_and_do_not_copy(void**) {
  static_assert(std::is_copy_constructible_v<Context>);
  static_assert(!std::is_copy_constructible_v<Model> &&
                std::is_nothrow_move_constructible_v<Model>);
  static_assert(!std::is_copy_constructible_v<Trainer>);
  std::optional<Context> context(std::in_place);
  Model model(*context, small_config(), 1);
  context.reset();
  Model moved = std::move(model);
  assert_int_equal(moved.config().model_dim, 16);
  assert_null(model.get());
}

void errors_are_exceptions_with_the_librarys_text(void**) {
  ContextOptions options;
  options.device = "tpu";
  assert_throws(GF_ERROR_INVALID_ARGUMENT, "\"tpu\"", [&] { Context{options}; });
  const Context context;
  assert_throws(GF_ERROR_NOT_FOUND, "/nowhere", [&] { Model::load(context, "/nowhere"); });
  assert_throws(GF_ERROR_INVALID_ARGUMENT, "latin", [&] { Tokenizer(context, "latin"); });
  Model model(context, small_config(), 1);
  std::vector<float> two(2);
  assert_throws(GF_ERROR_NOT_FOUND, "no.such", [&] { model.read_parameter("no.such", two); });
  assert_throws(GF_ERROR_INVALID_ARGUMENT, "3 ids", [&] {
    model.forward(std::vector<int32_t>{1, 2, 3}, 2);
  });
}

void text_goes_to_ids_and_back(void**) {
  const Context context;
  const Tokenizer tokenizer(context, "byte");
  assert_true(tokenizer.name() == "byte" && tokenizer.vocab_size() == 256);
  assert_int_equal(tokenizer.special_ids().pad, -1);
  const std::string text("a\0bc", 4);
  const std::vector<int32_t> ids = tokenizer.encode(text, Special::omit);
  assert_true(ids == (std::vector<int32_t>{'a', 0, 'b', 'c'}));
  assert_true(tokenizer.decode(std::span(ids).subspan(1)) == text.substr(1));
  assert_true(tokenizer.encode_pair("ab", "c") == (std::vector<int32_t>{'a', 'b', 'c'}));
  assert_true(tokenizer.encode_pair("ab", "c", 2).size() == 2);

  const std::string path = gf_test::scratch_directory() + "/text";
  std::ofstream(path) << std::string(40, 'x');
  const Dataset dataset(context, tokenizer, path, kLength);
  assert_true(dataset.info().chunks == 2 && dataset.info().ids == 40);
  assert_int_equal(dataset.slice(1, 1).info().chunks, 1);
}

void parameters_are_arrays(void**) {
  const Context context;
  Model model(context, small_config(), 1);
  const std::vector<gf_parameter> parameters = model.parameters();
  assert_true(parameters.size() > 10);
  const gf_parameter& first = parameters.front();
  std::vector<float> values(static_cast<size_t>(first.shape[0] * first.shape[1]));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  model.write_parameter(first.name, values);
  std::vector<float> read(values.size());
  model.read_parameter(first.name, read);
  assert_true(read == values);
}

void grassmann_plus_learns_the_weights_of_its_offsets(void**) {
  ModelConfig config = ModelConfig::grassmann_plus();
  assert_true(config.mixer == GF_MIXER_GRASSMANN && config.grassmann_heads == 4);
  assert_true(config.num_windows == 12 && config.window_weights == GF_WINDOW_WEIGHTS_LEARNED);
  config.vocab_size = 256, config.model_dim = 16, config.ff_dim = 32, config.num_layers = 2;
  const Context context;
  Model model(context, config, 1);
  assert_int_equal(model.config().reduced_dim, 16);
  const char* name = "blocks.1.grassmann.offset_weight";
  std::vector<float> fresh(4 * 12), trained = fresh;
  model.read_parameter(name, fresh);
  assert_true(fresh == std::vector<float>(48, 1.0f / 12));
  TrainOptions options;
  options.weight_decay = 0;  // which would move them as well
  Trainer(model, sample(context), options).step();
  model.read_parameter(name, trained);
  assert_true(trained != fresh);
}

void training_is_watched_cancelled_and_goes_on(void**) {
  const Context context;
  const Dataset dataset = sample(context);
  Model model(context, small_config(), 1);
  TrainOptions options;
  options.batch_size = 8, options.epochs = 2;
  Trainer trainer(model, dataset, options);
  std::vector<int64_t> steps;
  const auto until = [&](int64_t last) {
    return [&steps, last](const gf_train_report& report) {
      steps.push_back(report.step);
      return report.step < last;
    };
  };
  assert_true(trainer.train(until(2)) == Outcome::cancelled);
  struct Stop {};
  try {
    trainer.train([](const gf_train_report&) { throw Stop(); });
    fail_msg("the exception of a progress function was lost");
  } catch (const Stop&) {
  }
  assert_int_equal(trainer.state().step, 3);

  const std::string path = gf_test::scratch_directory() + "/checkpoint";
  trainer.save(path);
  Model other(context, small_config(), 2);
  Trainer again(other, dataset, options);
  again.load(path);
  assert_true(trainer.step_without_report());
  assert_true(trainer.train(until(99)) == Outcome::complete);
  assert_true(again.train([](const gf_train_report&) {}) == Outcome::complete);
  assert_true(steps == (std::vector<int64_t>{1, 2, 5, 6}));
  assert_false(trainer.step().has_value());
  assert_true(trainer.state().epoch_loss == again.state().epoch_loss);
}

void an_evaluation_is_cancelled_in_another_thread(void**) {
  const Context context;
  const Dataset dataset = sample(context);
  const Model model(context, small_config(), 1);
  const double expected = model.evaluate(dataset).loss;
  std::thread([copy = context] { copy.cancel(); }).join();
  try {
    model.evaluate(dataset);
    fail_msg("the evaluation came to its end");
  } catch (const grassflow::Error& error) {
    assert_int_equal(error.status(), GF_CANCELLED);
    assert_string_equal(error.what(), gf_status_text(GF_CANCELLED));
  }
  assert_true(model.evaluate(dataset).loss == expected);
  context.cancel();
  context.cancel(false);
  assert_true(model.evaluate(dataset).loss == expected);
}

void models_are_saved_and_loaded(void**) {
  const Context context;
  const Dataset dataset = sample(context, 5);
  Model model(context, small_config(GF_MIXER_TRANSFORMER), 1);
  model.set_metadata("tokenizer", "byte");
  const std::string path = gf_test::scratch_directory() + "/model";
  model.save(path);
  Model loaded = Model::load(context, path);
  assert_true(loaded.metadata("tokenizer") == "byte");
  loaded.set_metadata("tokenizer", nullptr);
  assert_false(loaded.metadata("tokenizer").has_value());
  Model other(context, small_config(GF_MIXER_TRANSFORMER), 2);
  assert_true(other.evaluate(dataset).loss != model.evaluate(dataset).loss);
  other.load_weights(path);
  assert_true(other.evaluate(dataset, 2).loss == model.evaluate(dataset, 2).loss);
  const std::vector<int32_t> ids(2 * kLength, 7);
  assert_true(model.forward(ids, 2) == loaded.forward(ids, 2));
  assert_int_equal(model.forward(ids, 2).size(), 2 * kLength * 256);
}

void a_profile_lists_operations(void**) {
  const Context context;
  assert_true(context.description().starts_with("cpu"));
  const Model model(context, small_config(), 1);
  context.set_profiling(true);
  model.evaluate(sample(context));
  context.set_profiling(false);
  const std::vector<gf_profile_entry> entries = context.profile();
  assert_true(entries.size() > 3 && entries[0].seconds >= entries[1].seconds);
  assert_true(context.sample_pairs(1, 3).find("gold_label") != std::string::npos);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(handles_move_and_do_not_copy),
      cmocka_unit_test(errors_are_exceptions_with_the_librarys_text),
      cmocka_unit_test(text_goes_to_ids_and_back),
      cmocka_unit_test(parameters_are_arrays),
      cmocka_unit_test(grassmann_plus_learns_the_weights_of_its_offsets),
      cmocka_unit_test(training_is_watched_cancelled_and_goes_on),
      cmocka_unit_test(an_evaluation_is_cancelled_in_another_thread),
      cmocka_unit_test(models_are_saved_and_loaded),
      cmocka_unit_test(a_profile_lists_operations),
  };
  return cmocka_run_group_tests_name("bindings/cpp", tests, nullptr, nullptr);
}
