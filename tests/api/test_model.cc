// Parameters, logits, metadata.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "api/api_test.h"

namespace {

using namespace gf_test;

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
    for (int i = 0; i < 256; ++i) assert_true(std::fabs(one[i] - a[i]) < by_precision(1e-5, 2e-3));
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

gf_model_config small_plus_config() {
  gf_model_config config = small_config(GF_MIXER_GRASSMANN);
  gf_model_config_grassmann_plus(&config);
  return config;
}

void grassmann_plus_has_heads_and_weights_of_its_offsets(void**) {
  gf_context* context = make_context();
  const gf_model_config config = small_plus_config();
  int32_t tensors = 0;
  assert_int_equal(gf_model_config_count(context, &config, &tensors, nullptr), GF_OK);
  const struct {
    const char* name;
    int64_t shape[2];
  } wanted[] = {{"blocks.1.grassmann.W_red.weight", {4 * 16, 16}},
                {"blocks.1.grassmann.W_red.bias", {4 * 16, 1}},
                {"blocks.1.grassmann.W_plu.weight", {16, 4 * 16 * 15 / 2}},
                {"blocks.0.grassmann.offset_weight", {4, 12}},
                {"blocks.1.grassmann.offset_weight", {4, 12}}};
  size_t found = 0;
  for (int32_t i = 0; i < tensors; ++i) {
    gf_parameter parameter = {};
    parameter.struct_size = sizeof parameter;
    assert_int_equal(gf_model_config_parameter(context, &config, i, &parameter), GF_OK);
    for (const auto& w : wanted) {
      if (std::strcmp(w.name, parameter.name) != 0) continue;
      assert_true(std::equal(w.shape, w.shape + 2, parameter.shape));
      ++found;
    }
  }
  assert_int_equal(found, std::size(wanted));

  gf_model_config full = config;
  full.vocab_size = 30522, full.max_seq_len = 256, full.num_layers = 12;
  full.model_dim = 256, full.ff_dim = 1024;
  int64_t parameters = 0;
  assert_int_equal(gf_model_config_count(context, &full, nullptr, &parameters), GF_OK);
  assert_int_equal(parameters, 17456448);  // docs/guide/models.md
  gf_context_free(context);
}

// 12 offsets in 16 positions: a step moves the weights of the seven that reach a token, and without
// decay no other.
void a_step_moves_the_weights_of_offsets_that_reach_a_token(void**) {
  gf_context* context = make_context();
  const gf_model_config config = small_plus_config();
  gf_model* model = nullptr;
  assert_int_equal(gf_model_create(context, &config, 7, &model), GF_OK);
  gf_dataset* dataset = make_dataset(context);
  gf_train_options options;
  gf_train_options_init(&options);
  options.batch_size = 8, options.warmup_steps = 0, options.weight_decay = 0;
  gf_trainer* trainer = nullptr;
  assert_int_equal(gf_trainer_create(model, dataset, &options, &trainer), GF_OK);
  assert_int_equal(gf_train_step(trainer, nullptr), GF_OK);
  for (const char* name :
       {"blocks.0.grassmann.offset_weight", "blocks.1.grassmann.offset_weight"}) {
    float weights[4][12];
    assert_int_equal(gf_model_read_parameter(model, name, weights[0], 48), GF_OK);
    for (const auto& head : weights) {
      for (int32_t k = 0; k < 12; ++k) {
        assert_int_equal(head[k] != 1.0f / 12, config.windows[k] < kLength);
      }
    }
  }
  gf_trainer_free(trainer);
  gf_dataset_free(dataset);
  gf_model_free(model);
  gf_context_free(context);
}

void grassmann_plus_is_saved_whole(void**) {
  gf_context* context = make_context();
  const gf_model_config config = small_plus_config();
  gf_model *model = nullptr, *back = nullptr;
  assert_int_equal(gf_model_create(context, &config, 7, &model), GF_OK);
  std::vector<float> weights(48);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 0.5f - 0.03f * static_cast<float>(i);
  const char* name = "blocks.1.grassmann.offset_weight";
  const std::vector<int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6};
  std::vector<float> fresh(ids.size() * 256), a = fresh, b = fresh;
  assert_int_equal(gf_model_forward(model, ids.data(), 1, 8, fresh.data()), GF_OK);
  assert_int_equal(gf_model_write_parameter(model, name, weights.data(), 48), GF_OK);
  assert_int_equal(gf_model_forward(model, ids.data(), 1, 8, a.data()), GF_OK);
  assert_true(a != fresh);
  const std::string path = gf_test::scratch_directory() + "/plus.safetensors";
  assert_int_equal(gf_model_save(model, path.c_str()), GF_OK);
  assert_int_equal(gf_model_load(context, path.c_str(), &back), GF_OK);
  assert_int_equal(gf_model_forward(back, ids.data(), 1, 8, b.data()), GF_OK);
  assert_true(a == b);
  gf_model_config loaded = {};
  loaded.struct_size = sizeof loaded;
  assert_int_equal(gf_model_get_config(back, &loaded), GF_OK);
  assert_memory_equal(&loaded, &config, sizeof config);

  gf_model* published = make_model(context);
  assert_error(context, gf_model_load_weights(published, path.c_str()), GF_ERROR_MISMATCH,
               "grassmann");
  gf_model_free(published);
  gf_model_free(back);
  gf_model_free(model);
  gf_context_free(context);
}

void heads_and_weights_that_are_none_are_named(void**) {
  gf_context* context = make_context();
  gf_model* model = nullptr;
  gf_model_config config = small_plus_config();
  config.grassmann_heads = -1;
  assert_error(context, gf_model_create(context, &config, 1, &model), GF_ERROR_INVALID_ARGUMENT,
               "grassmann_heads is -1, expected 1 to");
  config.grassmann_heads = 1 << 20;
  assert_error(context, gf_model_create(context, &config, 1, &model), GF_ERROR_INVALID_ARGUMENT,
               "grassmann_heads is 1048576");
  config = small_plus_config();
  config.window_weights = static_cast<gf_window_weights>(2);
  assert_error(context, gf_model_create(context, &config, 1, &model), GF_ERROR_INVALID_ARGUMENT,
               "window_weights is 2, expected 0 (mean) or 1 (learned)");
  assert_null(model);
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

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(parameters_are_named_read_and_written),
      cmocka_unit_test(forward_gives_logits_of_every_position_and_is_causal),
      cmocka_unit_test(ids_and_shapes_that_do_not_fit_are_named),
      cmocka_unit_test(grassmann_plus_has_heads_and_weights_of_its_offsets),
      cmocka_unit_test(a_step_moves_the_weights_of_offsets_that_reach_a_token),
      cmocka_unit_test(grassmann_plus_is_saved_whole),
      cmocka_unit_test(heads_and_weights_that_are_none_are_named),
      cmocka_unit_test(metadata_travels_with_the_file),
  };
  return cmocka_run_group_tests_name("api/model", tests, nullptr, nullptr);
}
