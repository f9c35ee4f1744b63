// Statuses and texts, out-parameters untouched on error, handles that outlive what they came from,
// struct sizes of older and newer callers.

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "api/api_test.h"

namespace {

using namespace gf_test;

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
      {[](gf_context_options& o) { o.device = "cuda:x"; }, GF_ERROR_INVALID_ARGUMENT, "\"cuda:x\""},
      {[](gf_context_options& o) { o.device = "cuda:-1"; }, GF_ERROR_INVALID_ARGUMENT, "cuda:N"},
      {[](gf_context_options& o) { o.device = "cuda:"; }, GF_ERROR_INVALID_ARGUMENT, "cuda:N"},
      {[](gf_context_options& o) { o.attention = "flash"; }, GF_ERROR_INVALID_ARGUMENT, "own or"},
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

// Without the CUDA library, a driver or a GPU "cuda" says which of them is missing, and "auto"
// takes the CPU and tells the log why; with all of them both take the GPU.
void a_gpu_is_taken_or_missed_by_name(void**) {
  gf_context_options options;
  gf_context_options_init(&options);
  options.device = "cuda";
  gf_context* context = nullptr;
  char error[512] = "";
  const gf_status status = gf_context_create(&options, &context, error, sizeof error);
  const bool has_gpu = status == GF_OK;
  if (!has_gpu) {
    assert_true(status == GF_ERROR_DEVICE || status == GF_ERROR_UNSUPPORTED);
    assert_non_null(std::strstr(error, "device \"cuda\": "));
  }
  gf_context_free(context);

  std::string reason;
  options.device = "auto";
  options.log = [](gf_log_level level, const char* text, void* user) {
    if (level == GF_LOG_DEBUG) *static_cast<std::string*>(user) = text;
  };
  options.log_user = &reason;
  assert_int_equal(gf_context_create(&options, &context, error, sizeof error), GF_OK);
  assert_non_null(std::strstr(gf_context_description(context), has_gpu ? "cuda:0" : "cpu"));
  assert_true(reason.empty() == has_gpu);
  gf_context_free(context);
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
    return bytes < (1 << 20) ? allocate_aligned(bytes, alignment) : nullptr;
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

// Before there were heads, the configuration ended with the offsets.
void callers_from_before_heads_have_one_and_the_mean(void**) {
  gf_context* context = make_context();
  const size_t size = offsetof(gf_model_config, grassmann_heads);
  gf_model_config older, untouched;
  std::memset(&older, 0x55, sizeof older);
  untouched = older;
  const auto is_untouched = [&] {
    return std::memcmp(&older.grassmann_heads, &untouched.grassmann_heads, sizeof older - size) ==
           0;
  };
  gf_model_config_init_sized(&older, size, GF_MIXER_GRASSMANN);
  assert_true(older.struct_size == size && is_untouched());
  older.vocab_size = 256;
  gf_model* model = nullptr;
  assert_int_equal(gf_model_create(context, &older, 7, &model), GF_OK);
  assert_int_equal(gf_model_get_config(model, &older), GF_OK);
  assert_true(older.num_windows == 6 && is_untouched());
  gf_model_config present = {};
  present.struct_size = sizeof present;
  assert_int_equal(gf_model_get_config(model, &present), GF_OK);
  assert_int_equal(present.grassmann_heads, 1);
  assert_int_equal(present.window_weights, GF_WINDOW_WEIGHTS_MEAN);

  gf_model_config fresh;
  gf_model_config_init(&fresh, GF_MIXER_GRASSMANN);
  fresh.vocab_size = 256;
  int64_t wanted = 0, parameters = 0;
  assert_int_equal(gf_model_config_count(context, &fresh, nullptr, &wanted), GF_OK);
  assert_int_equal(gf_model_config_count(context, &older, nullptr, &parameters), GF_OK);
  assert_int_equal(parameters, wanted);
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

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(every_status_has_name_and_text),
      cmocka_unit_test(contexts_that_cannot_be_made_say_why),
      cmocka_unit_test(a_gpu_is_taken_or_missed_by_name),
      cmocka_unit_test(a_log_is_called_with_its_user),
      cmocka_unit_test(an_allocator_without_memory_is_an_error),
      cmocka_unit_test(null_is_an_error_and_free_of_null_is_not),
      cmocka_unit_test(handles_outlive_what_they_came_from),
      cmocka_unit_test(older_callers_structs_are_read_and_written_as_far_as_they_go),
      cmocka_unit_test(callers_from_before_heads_have_one_and_the_mean),
      cmocka_unit_test(newer_callers_structs_are_taken_when_the_rest_is_unset),
  };
  return cmocka_run_group_tests_name("api/context", tests, nullptr, nullptr);
}
