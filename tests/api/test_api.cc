// The rules that every call of grassflow.h keeps: statuses and texts, out-parameters untouched on
// error, struct sizes of older and newer callers, handles that outlive what they came from.

#include <grassflow.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "support/support.h"

namespace {

constexpr int32_t kLength = 16;

gf_context* make_context() {
  gf_context_options options;
  gf_context_options_init(&options);
  options.threads = 2;
  gf_context* context = nullptr;
  assert_int_equal(gf_context_create(&options, &context, nullptr, 0), GF_OK);
  return context;
}

gf_model_config small_config(gf_mixer mixer) {
  gf_model_config config;
  gf_model_config_init(&config, mixer);
  config.vocab_size = 256;
  config.max_seq_len = kLength;
  config.num_layers = 2;
  config.model_dim = 16;
  config.reduced_dim = 4;
  config.ff_dim = 32;
  return config;
}

gf_model* make_model(gf_context* context, gf_mixer mixer = GF_MIXER_GRASSMANN) {
  const gf_model_config config = small_config(mixer);
  gf_model* model = nullptr;
  assert_int_equal(gf_model_create(context, &config, 7, &model), GF_OK);
  return model;
}

gf_dataset* make_dataset(gf_context* context, int64_t chunks = 20) {
  std::vector<char> text(static_cast<size_t>(chunks * kLength));
  assert_int_equal(gf_sample_text(context, 1, text.data(), text.size()), GF_OK);
  const std::vector<int32_t> ids(text.begin(), text.end());
  gf_dataset* dataset = nullptr;
  assert_int_equal(gf_dataset_from_ids(context, ids.data(), ids.size(), kLength, &dataset), GF_OK);
  return dataset;
}

void assert_error(gf_context* context, gf_status got, gf_status wanted, const char* part) {
  const char* text = gf_context_error(context);
  if (got != wanted || !std::strstr(text, part)) {
    fail_msg("wanted %s with \"%s\", got %s: %s", gf_status_name(wanted), part, gf_status_name(got),
             text);
  }
}

// ---- Status and context ------------------------------------------------------------------------

void every_status_has_name_and_text(void**) {
#define CHECK(name, value, text)                    \
  assert_int_equal(name, value);                    \
  assert_string_equal(gf_status_name(name), #name); \
  assert_string_equal(gf_status_text(name), text);
  GF_STATUS_TABLE(CHECK)
#undef CHECK
  assert_string_equal(gf_status_name(static_cast<gf_status>(99)), "GF_ERROR_UNKNOWN");
  assert_int_equal(gf_version(), GF_VERSION);
  assert_string_equal(gf_version_string(), "0.1.0");
}

void contexts_that_cannot_be_made_say_why(void**) {
  struct {
    void (*change)(gf_context_options&);
    gf_status status;
    const char* part;
  } cases[] = {
      {[](gf_context_options& o) { o.device = "tpu"; }, GF_ERROR_INVALID_ARGUMENT, "\"tpu\""},
      {[](gf_context_options& o) { o.threads = -1; }, GF_ERROR_INVALID_ARGUMENT, "threads is -1"},
      {[](gf_context_options& o) { o.precision = "fp8"; }, GF_ERROR_INVALID_ARGUMENT, "\"fp8\""},
      {[](gf_context_options& o) { o.precision = "bf16"; }, GF_ERROR_UNSUPPORTED, "needs a GPU"},
      {[](gf_context_options& o) { o.struct_size = 0; }, GF_ERROR_INVALID_ARGUMENT, "struct_size"},
      {[](gf_context_options& o) {
         o.allocate = [](size_t, size_t, void*) -> void* { return nullptr; };
       },
       GF_ERROR_INVALID_ARGUMENT, "go together"},
  };
  for (const auto& c : cases) {
    gf_context_options options;
    gf_context_options_init(&options);
    c.change(options);
    auto* untouched = reinterpret_cast<gf_context*>(0x1);
    gf_context* context = untouched;
    char error[200] = "";
    assert_int_equal(gf_context_create(&options, &context, error, sizeof error), c.status);
    assert_ptr_equal(context, untouched);
    assert_non_null(std::strstr(error, c.part));
    char tiny[4] = "";
    gf_context_create(&options, &context, tiny, sizeof tiny);
    assert_int_equal(std::strlen(tiny), 3);
  }
}

void a_log_is_called_with_its_user(void**) {
  std::string line;
  gf_context_options options;
  gf_context_options_init(&options);
  options.threads = 1;
  options.log = [](gf_log_level, const char* text, void* user) {
    *static_cast<std::string*>(user) = text;
  };
  options.log_user = &line;
  gf_context* context = nullptr;
  assert_int_equal(gf_context_create(&options, &context, nullptr, 0), GF_OK);
  assert_string_equal(line.c_str(), "cpu, 1 thread, fp32");
  assert_string_equal(gf_context_description(context), line.c_str());
  gf_context_free(context);
}

void an_allocator_without_memory_is_an_error(void**) {
  gf_context_options options;
  gf_context_options_init(&options);
  options.allocate = [](size_t bytes, size_t alignment, void*) -> void* {
    return bytes < (1 << 20)
               ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
               : nullptr;
  };
  options.release = [](void* memory, size_t, void*) { std::free(memory); };
  gf_context* context = nullptr;
  assert_int_equal(gf_context_create(&options, &context, nullptr, 0), GF_OK);
  gf_model_config config = small_config(GF_MIXER_GRASSMANN);
  config.vocab_size = 100000;
  gf_model* model = nullptr;
  assert_error(context, gf_model_create(context, &config, 0, &model), GF_ERROR_OUT_OF_MEMORY,
               "bytes of model parameters");
  assert_null(model);
  gf_context_free(context);
}

void null_is_an_error_and_free_of_null_is_not(void**) {
  gf_context_free(nullptr);
  gf_tokenizer_free(nullptr);
  gf_dataset_free(nullptr);
  gf_model_free(nullptr);
  gf_trainer_free(nullptr);
  gf_context* context = make_context();
  gf_model* model = nullptr;
  const gf_model_config config = small_config(GF_MIXER_GRASSMANN);
  assert_int_equal(gf_model_create(nullptr, &config, 0, &model), GF_ERROR_INVALID_ARGUMENT);
  assert_error(context, gf_model_create(context, nullptr, 0, &model), GF_ERROR_INVALID_ARGUMENT,
               "config is NULL");
  assert_error(context, gf_model_create(context, &config, 0, nullptr), GF_ERROR_INVALID_ARGUMENT,
               "out is NULL");
  assert_error(context, gf_tokenizer_load(context, "latin", nullptr, nullptr),
               GF_ERROR_INVALID_ARGUMENT, "out is NULL");
  assert_int_equal(gf_train_step(nullptr, nullptr), GF_ERROR_INVALID_ARGUMENT);
  assert_string_equal(gf_context_error(nullptr), "");
  gf_context_free(context);
}

void handles_outlive_what_they_came_from(void**) {
  gf_context* context = make_context();
  gf_model* model = make_model(context);
  gf_dataset* dataset = make_dataset(context);
  gf_trainer* trainer = nullptr;
  assert_int_equal(gf_trainer_create(model, dataset, nullptr, &trainer), GF_OK);
  gf_context_free(context);
  gf_dataset_free(dataset);
  gf_model_free(model);
  gf_train_report report = {};
  report.struct_size = sizeof report;
  assert_int_equal(gf_train_step(trainer, &report), GF_OK);
  assert_true(std::isfinite(report.loss));
  gf_trainer_free(trainer);
}

// ---- Struct sizes ------------------------------------------------------------------------------

void older_callers_structs_are_read_and_written_as_far_as_they_go(void**) {
  gf_context* context = make_context();
  gf_model* model = make_model(context);
  gf_dataset* dataset = make_dataset(context);
  gf_train_options options;
  gf_train_options_init(&options);
  options.batch_size = 5;
  options.struct_size = offsetof(gf_train_options, epochs);
  options.epochs = -77;  // beyond what this caller knows of
  gf_trainer* trainer = nullptr;
  assert_int_equal(gf_trainer_create(model, dataset, &options, &trainer), GF_OK);
  gf_train_state state = {};
  state.struct_size = sizeof state;
  assert_int_equal(gf_trainer_get_state(trainer, &state), GF_OK);
  assert_int_equal(state.steps_per_epoch, 4);
  assert_int_equal(state.total_steps, 4 * 20);

  gf_train_report report;
  std::memset(&report, 0x55, sizeof report);
  report.struct_size = offsetof(gf_train_report, loss);
  const double untouched = report.loss;
  assert_int_equal(gf_train_step(trainer, &report), GF_OK);
  assert_int_equal(report.step, 1);
  assert_memory_equal(&report.loss, &untouched, sizeof untouched);
  gf_trainer_free(trainer);
  gf_dataset_free(dataset);
  gf_model_free(model);
  gf_context_free(context);
}

void newer_callers_structs_are_taken_when_the_rest_is_unset(void**) {
  gf_context* context = make_context();
  struct Newer {
    gf_model_config config;
    int64_t later;
  } newer = {small_config(GF_MIXER_GRASSMANN), 0};
  newer.config.struct_size = sizeof newer;
  gf_model* model = nullptr;
  assert_int_equal(gf_model_create(context, &newer.config, 0, &model), GF_OK);
  gf_model_free(model);
  newer.later = 1;
  assert_error(context, gf_model_create(context, &newer.config, 0, &model), GF_ERROR_UNSUPPORTED,
               "does not know");
  gf_context_free(context);
}

// ---- Models ------------------------------------------------------------------------------------

void parameters_are_named_read_and_written(void**) {
  gf_context* context = make_context();
  gf_model* model = make_model(context);
  size_t count = 0;
  assert_int_equal(gf_model_parameters(model, nullptr, 0, &count), GF_OK);
  std::vector<gf_parameter> parameters(count);
  parameters[0].struct_size = sizeof(gf_parameter);
  assert_int_equal(gf_model_parameters(model, parameters.data(), count, &count), GF_OK);
  assert_string_equal(parameters[0].name, "token_embedding.weight");
  assert_int_equal(parameters[0].shape[0], 256);
  assert_int_equal(parameters[0].shape[1], 16);

  const gf_model_config config = small_config(GF_MIXER_GRASSMANN);
  int32_t tensors = 0;
  int64_t scalars = 0, sum = 0;
  assert_int_equal(gf_model_config_count(context, &config, &tensors, &scalars), GF_OK);
  for (const gf_parameter& p : parameters) sum += p.shape[0] * p.shape[1];
  assert_int_equal(tensors, count);
  assert_int_equal(scalars, sum);
  gf_parameter last = {};
  last.struct_size = sizeof last;
  assert_int_equal(gf_model_config_parameter(context, &config, tensors - 1, &last), GF_OK);
  assert_string_equal(last.name, parameters.back().name);
  assert_error(context, gf_model_config_parameter(context, &config, tensors, &last),
               GF_ERROR_INVALID_ARGUMENT, "index is");

  std::vector<float> bias(16, 0.25f), back(16, 0.0f);
  assert_int_equal(gf_model_write_parameter(model, "ln_f.bias", bias.data(), 16), GF_OK);
  assert_int_equal(gf_model_read_parameter(model, "ln_f.bias", back.data(), 16), GF_OK);
  assert_true(bias == back);
  assert_error(context, gf_model_read_parameter(model, "ln_g.bias", back.data(), 16),
               GF_ERROR_NOT_FOUND, "\"ln_g.bias\"");
  assert_error(context, gf_model_write_parameter(model, "ln_f.bias", bias.data(), 15),
               GF_ERROR_INVALID_ARGUMENT, "ln_f.bias has 16 values");
  gf_model_free(model);
  gf_context_free(context);
}

void forward_gives_logits_of_every_position_and_is_causal(void**) {
  gf_context* context = make_context();
  for (gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
    gf_model* model = make_model(context, mixer);
    std::vector<int32_t> ids(2 * kLength, 3);
    std::vector<float> a(2 * kLength * 256), b(2 * kLength * 256), one(256);
    assert_int_equal(gf_model_forward(model, ids.data(), 2, kLength, a.data()), GF_OK);
    ids[kLength - 1] = 99;  // the last token of the first sequence
    assert_int_equal(gf_model_forward(model, ids.data(), 2, kLength, b.data()), GF_OK);
    const size_t last = (kLength - 1) * 256;
    assert_true(std::equal(a.begin(), a.begin() + last, b.begin()));
    assert_false(std::equal(a.begin() + last, a.begin() + last + 256, b.begin() + last));
    assert_true(std::equal(a.begin() + last + 256, a.end(), b.begin() + last + 256));
    assert_int_equal(gf_model_forward(model, ids.data(), 1, 1, one.data()), GF_OK);
    for (int i = 0; i < 256; ++i) assert_true(std::fabs(one[i] - a[i]) < 1e-5);
    gf_model_free(model);
  }
  gf_context_free(context);
}

void ids_and_shapes_that_do_not_fit_are_named(void**) {
  gf_context* context = make_context();
  gf_model* model = make_model(context);
  std::vector<int32_t> ids(kLength + 1, 3);
  std::vector<float> logits((kLength + 1) * 256, 5.0f);
  ids[4] = 256;
  assert_error(context, gf_model_forward(model, ids.data(), 1, kLength, logits.data()),
               GF_ERROR_INVALID_ARGUMENT, "ids[4] is 256, expected 0 to 255");
  assert_true(logits[0] == 5.0f);
  ids[4] = -1;
  assert_error(context, gf_model_forward(model, ids.data(), 1, kLength, logits.data()),
               GF_ERROR_INVALID_ARGUMENT, "ids[4] is -1");
  assert_error(context, gf_model_forward(model, ids.data(), 1, kLength + 1, logits.data()),
               GF_ERROR_INVALID_ARGUMENT, "have 17 ids, expected 1 to 16");
  assert_error(context, gf_model_forward(model, ids.data(), 0, 1, logits.data()),
               GF_ERROR_INVALID_ARGUMENT, "batch_size is 0");
  gf_model_free(model);
  gf_context_free(context);
}

void metadata_travels_with_the_file(void**) {
  gf_context* context = make_context();
  gf_model* model = make_model(context);
  assert_null(gf_model_metadata(model, "tokenizer"));
  assert_int_equal(gf_model_set_metadata(model, "tokenizer", "byte"), GF_OK);
  assert_int_equal(gf_model_set_metadata(model, "gone", "x"), GF_OK);
  assert_int_equal(gf_model_set_metadata(model, "gone", nullptr), GF_OK);
  assert_error(context, gf_model_set_metadata(model, "gf.config", "x"), GF_ERROR_INVALID_ARGUMENT,
               "gf.config");
  const std::string path = gf_test::scratch_directory() + "/model.safetensors";
  assert_int_equal(gf_model_save(model, path.c_str()), GF_OK);
  gf_model* back = nullptr;
  assert_int_equal(gf_model_load(context, path.c_str(), &back), GF_OK);
  assert_string_equal(gf_model_metadata(back, "tokenizer"), "byte");
  assert_null(gf_model_metadata(back, "gone"));
  gf_model_config config = small_config(GF_MIXER_TRANSFORMER);
  assert_int_equal(gf_model_get_config(back, &config), GF_OK);
  assert_int_equal(config.mixer, GF_MIXER_GRASSMANN);
  assert_int_equal(config.num_windows, 6);
  gf_model_free(back);
  gf_model_free(model);
  gf_context_free(context);
}

// ---- Training and evaluation -------------------------------------------------------------------

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

// ---- Text --------------------------------------------------------------------------------------

void tokens_go_to_buffers_of_any_size(void**) {
  gf_context* context = make_context();
  gf_tokenizer* tokenizer = nullptr;
  assert_error(context, gf_tokenizer_load(context, "latin", nullptr, &tokenizer),
               GF_ERROR_INVALID_ARGUMENT, "latin");
  assert_int_equal(gf_tokenizer_load(context, "byte", nullptr, &tokenizer), GF_OK);
  assert_string_equal(gf_tokenizer_name(tokenizer), "byte");
  assert_int_equal(gf_tokenizer_vocab_size(tokenizer), 256);
  size_t count = 0;
  assert_int_equal(gf_tokenizer_encode(tokenizer, "a\0b", 3, 0, nullptr, 0, &count), GF_OK);
  assert_int_equal(count, 3);
  int32_t ids[2] = {-5, -5};
  assert_int_equal(gf_tokenizer_encode(tokenizer, "a\0b", 3, 0, ids, 1, &count), GF_OK);
  assert_true(ids[0] == 'a' && ids[1] == -5 && count == 3);
  assert_error(context, gf_tokenizer_encode(tokenizer, "a", 1, 8, ids, 1, &count),
               GF_ERROR_INVALID_ARGUMENT, "flags is 8");
  const int32_t bad[] = {65, 256};
  char text[4] = "zzz";
  assert_int_equal(gf_tokenizer_decode(tokenizer, bad, 1, 0, text, 4, &count), GF_OK);
  assert_true(text[0] == 'A' && count == 1);
  assert_error(context, gf_tokenizer_decode(tokenizer, bad, 2, 0, text, 4, &count),
               GF_ERROR_INVALID_ARGUMENT, "256");
  gf_tokenizer_free(tokenizer);
  gf_context_free(context);
}

void text_files_become_datasets(void**) {
  gf_context* context = make_context();
  gf_tokenizer* tokenizer = nullptr;
  assert_int_equal(gf_tokenizer_load(context, "byte", nullptr, &tokenizer), GF_OK);
  const std::string path = gf_test::scratch_directory() + "/text";
  std::ofstream(path) << std::string(40, 'x');
  gf_dataset *dataset = nullptr, *part = nullptr;
  assert_int_equal(
      gf_dataset_from_text_file(context, tokenizer, path.c_str(), GF_TEXT_PLAIN, kLength, &dataset),
      GF_OK);
  gf_dataset_info info = {};
  info.struct_size = sizeof info;
  assert_int_equal(gf_dataset_get_info(dataset, &info), GF_OK);
  assert_true(info.ids == 40 && info.chunks == 2 && info.length == kLength);
  assert_int_equal(gf_dataset_slice(dataset, 1, 1, &part), GF_OK);
  assert_int_equal(gf_dataset_get_info(part, &info), GF_OK);
  assert_int_equal(info.chunks, 1);
  gf_dataset_free(part);
  assert_int_equal(gf_dataset_slice(dataset, 1, 2, &part), GF_ERROR_INVALID_ARGUMENT);
  assert_error(
      context,
      gf_dataset_from_text_file(context, tokenizer, path.c_str(), GF_TEXT_PLAIN, 41, &part),
      GF_ERROR_INVALID_ARGUMENT, "40");
  assert_error(context,
               gf_dataset_from_text_file(context, tokenizer, "/nowhere", GF_TEXT_PLAIN, 4, &part),
               GF_ERROR_NOT_FOUND, "/nowhere");
  gf_dataset_free(dataset);
  gf_tokenizer_free(tokenizer);
  gf_context_free(context);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(every_status_has_name_and_text),
      cmocka_unit_test(contexts_that_cannot_be_made_say_why),
      cmocka_unit_test(a_log_is_called_with_its_user),
      cmocka_unit_test(an_allocator_without_memory_is_an_error),
      cmocka_unit_test(null_is_an_error_and_free_of_null_is_not),
      cmocka_unit_test(handles_outlive_what_they_came_from),
      cmocka_unit_test(older_callers_structs_are_read_and_written_as_far_as_they_go),
      cmocka_unit_test(newer_callers_structs_are_taken_when_the_rest_is_unset),
      cmocka_unit_test(parameters_are_named_read_and_written),
      cmocka_unit_test(forward_gives_logits_of_every_position_and_is_causal),
      cmocka_unit_test(ids_and_shapes_that_do_not_fit_are_named),
      cmocka_unit_test(metadata_travels_with_the_file),
      cmocka_unit_test(a_progress_callback_sees_every_step_and_cancels),
      cmocka_unit_test(evaluation_is_the_mean_of_the_logits_losses),
      cmocka_unit_test(tokens_go_to_buffers_of_any_size),
      cmocka_unit_test(text_files_become_datasets),
  };
  return cmocka_run_group_tests_name("api/api", tests, nullptr, nullptr);
}
