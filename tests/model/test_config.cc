#include "model/config.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "model/config_json.h"
#include "model/params.h"
#include "support/support.h"

namespace {

using gf::ModelConfig;

gf_model_config config(gf_mixer mixer, int32_t vocab, int32_t length, int32_t layers) {
  gf_model_config c = gf::default_config(mixer);
  c.vocab_size = vocab;
  c.max_seq_len = length;
  c.num_layers = layers;
  return c;
}

int64_t count(gf_model_config c, int32_t classes = 0) {
  c.num_classes = classes;
  return gf::ParamTable(ModelConfig(c)).parameters();
}

void parameter_counts_are_the_published_ones(void**) {
  const struct {
    int32_t vocab, length, layers;
    int64_t transformer, grassmann;
  } rows[] = {
      {50257, 256, 6, 17670400, 17695168},  {30522, 128, 6, 12585472, 12610240},
      {30522, 256, 6, 12618240, 12643008},  {30522, 128, 12, 17324032, 17373568},
      {30522, 256, 12, 17356800, 17406336},
  };
  for (const auto& row : rows) {
    assert_int_equal(count(config(GF_MIXER_TRANSFORMER, row.vocab, row.length, row.layers)),
                     row.transformer);
    assert_int_equal(count(config(GF_MIXER_GRASSMANN, row.vocab, row.length, row.layers)),
                     row.grassmann);
  }
  assert_int_equal(count(config(GF_MIXER_TRANSFORMER, 50257, 256, 6), 3), 17671171);
  assert_int_equal(count(config(GF_MIXER_GRASSMANN, 50257, 256, 6), 3), 17695939);
}

void tensors_have_places_of_their_own(void**) {
  const gf::ParamTable table(ModelConfig(config(GF_MIXER_GRASSMANN, 257, 17, 3)));
  int64_t end = 0;
  for (const gf::ParamSpec& spec : table.specs()) {
    assert_true(spec.offset >= end);
    assert_int_equal(spec.offset % 4, 0);  // the random blocks of initialise()
    end = spec.offset + spec.size();
  }
  assert_true(end <= table.flat_size());
  assert_null(table.find("blocks.3.ln1.weight"));
  gf_test::assert_fails(GF_ERROR_NOT_FOUND, "blocks.3.ln1.weight",
                        [&] { table["blocks.3.ln1.weight"]; });
}

void published_window_schedules(void**) {
  const std::vector<int32_t> all = {1, 2, 4, 8, 12, 16};
  gf_model_config c = config(GF_MIXER_GRASSMANN, 10, 32, 6);
  assert_true(ModelConfig(c).windows(0) == all && ModelConfig(c).windows(5) == all);
  c.window_schedule = GF_WINDOWS_PER_LAYER;
  for (int64_t layer = 0; layer < 6; ++layer) {
    assert_true(ModelConfig(c).windows(layer) ==
                std::vector<int32_t>{all[static_cast<size_t>(layer)]});
  }
  c.num_layers = 12;
  for (int64_t layer = 0; layer < 12; ++layer) {
    assert_true(ModelConfig(c).windows(layer) ==
                std::vector<int32_t>{all[static_cast<size_t>(layer / 2)]});
  }
}

void a_list_longer_than_the_layers_leaves_no_offset_out(void**) {
  gf_model_config c = config(GF_MIXER_GRASSMANN, 10, 32, 2);
  c.window_schedule = GF_WINDOWS_PER_LAYER;
  assert_true(ModelConfig(c).windows(0) == (std::vector<int32_t>{1, 2, 4}));
  assert_true(ModelConfig(c).windows(1) == (std::vector<int32_t>{8, 12, 16}));
  c.num_windows = 2;
  c.windows[0] = 3;
  c.windows[1] = 3;
  assert_true(ModelConfig(c).windows(1) == (std::vector<int32_t>{3}));
}

void refuse(const char* part, void (*change)(gf_model_config&),
            gf_mixer mixer = GF_MIXER_GRASSMANN) {
  gf_model_config c = config(mixer, 10, 32, 2);
  change(c);
  gf_test::assert_fails(GF_ERROR_INVALID_ARGUMENT, part, [&] { ModelConfig{c}; });
}

void bad_fields_are_named(void**) {
  refuse("vocab_size is 0", [](gf_model_config& c) { c.vocab_size = 0; });
  refuse("max_seq_len is -1", [](gf_model_config& c) { c.max_seq_len = -1; });
  refuse("num_layers is 0", [](gf_model_config& c) { c.num_layers = 0; });
  refuse("model_dim is 0", [](gf_model_config& c) { c.model_dim = 0; });
  refuse("ff_dim is 0", [](gf_model_config& c) { c.ff_dim = 0; });
  refuse("num_classes is -2", [](gf_model_config& c) { c.num_classes = -2; });
  refuse("reduced_dim is 1", [](gf_model_config& c) { c.reduced_dim = 1; });
  refuse("dropout is 1", [](gf_model_config& c) { c.dropout = 1; });
  refuse("dropout is", [](gf_model_config& c) { c.dropout = NAN; });
  refuse("windows[1] is 0", [](gf_model_config& c) { c.num_windows = 2, c.windows[0] = 1; });
  refuse("num_windows is 65", [](gf_model_config& c) { c.num_windows = 65; });
  refuse("window_schedule",
         [](gf_model_config& c) { c.window_schedule = static_cast<gf_window_schedule>(7); });
  refuse("grassmann_heads is -1", [](gf_model_config& c) { c.grassmann_heads = -1; });
  refuse("window_weights is 2",
         [](gf_model_config& c) { c.window_weights = static_cast<gf_window_weights>(2); });
  refuse("mixer is 9", [](gf_model_config& c) { c.mixer = static_cast<gf_mixer>(9); });
  refuse(
      "multiple of num_heads, which is 3", [](gf_model_config& c) { c.num_heads = 3; },
      GF_MIXER_TRANSFORMER);
  refuse(
      "num_heads is 0", [](gf_model_config& c) { c.num_heads = 0; }, GF_MIXER_TRANSFORMER);
}

void fields_of_the_other_mixer_are_not_looked_at(void**) {
  gf_model_config c = config(GF_MIXER_GRASSMANN, 10, 32, 2);
  c.num_heads = 3;
  ModelConfig{c};
  c = config(GF_MIXER_TRANSFORMER, 10, 32, 2);
  c.reduced_dim = 0;
  ModelConfig{c};
}

void json_brings_every_field_back(void**) {
  gf_model_config c = config(GF_MIXER_GRASSMANN, 11, 33, 4);
  c.model_dim = 24;
  c.num_heads = 3;
  c.reduced_dim = 7;
  c.ff_dim = 96;
  c.num_classes = 3;
  c.dropout = 0.3f;
  c.window_schedule = GF_WINDOWS_PER_LAYER;
  c.num_windows = 3;
  c.windows[0] = 5, c.windows[1] = 1, c.windows[2] = 5;
  c.grassmann_heads = 2;
  c.window_weights = GF_WINDOW_WEIGHTS_LEARNED;
  const std::string text = gf::config_to_json(ModelConfig(c));
  assert_string_equal(gf::config_to_json(gf::config_from_json(text, "x")).c_str(), text.c_str());
  const gf_model_config back = gf::config_from_json(text, "x").c();
  assert_memory_equal(&back, &c, sizeof c);
}

// Models from before there were heads are models with one.
void json_without_heads_has_one(void**) {
  gf_model_config c = config(GF_MIXER_GRASSMANN, 11, 33, 4);
  std::string text = gf::config_to_json(ModelConfig(c));
  for (const char* field : {",\"grassmann_heads\":1", ",\"window_weights\":\"mean\""}) {
    text.erase(text.find(field), std::strlen(field));
  }
  const gf_model_config back = gf::config_from_json(text, "x").c();
  assert_int_equal(back.grassmann_heads, 1);
  assert_int_equal(back.window_weights, GF_WINDOW_WEIGHTS_MEAN);
}

// Heads take r coordinates each, and weights of offsets begin as their mean.
void grassmann_plus_is_as_large_as_grassmann(void**) {
  gf_model_config c = config(GF_MIXER_GRASSMANN, 30522, 256, 12);
  const int64_t grassmann = count(c);
  gf_model_config_grassmann_plus(&c);
  assert_int_equal(c.max_seq_len, 256);
  const int64_t D = 256, z = 4 * 16, p = 4 * 120;
  assert_int_equal(count(c),
                   grassmann + 12 * (z * (D + 1) - 32 * (D + 1) + (p - 496) * D + 4 * 12));
  const gf::ParamTable table((ModelConfig(c)));
  const gf::ParamSpec& spec = table["blocks.11.grassmann.offset_weight"];
  assert_true(spec.rows == 4 && spec.cols == 12);
  std::vector<float> values(48);
  gf::initialise(spec, 1, values.data());
  for (const float value : values) assert_true(value == 1.0f / 12);
}

void damaged_json_is_named(void**) {
  gf_test::assert_fails(GF_ERROR_FORMAT, "file.x", [] { gf::config_from_json("{", "file.x"); });
  gf_test::assert_fails(GF_ERROR_FORMAT, "mixer", [] { gf::config_from_json("{}", "file.x"); });
  std::string text = gf::config_to_json(ModelConfig(config(GF_MIXER_GRASSMANN, 11, 33, 4)));
  text.replace(text.find("grassmann"), 9, "convolute");
  gf_test::assert_fails(GF_ERROR_FORMAT, "convolute", [&] { gf::config_from_json(text, "f"); });
}

void initial_weights_have_the_stated_distribution(void**) {
  const gf::ParamTable table(ModelConfig(config(GF_MIXER_GRASSMANN, 5000, 32, 2)));
  const gf::ParamSpec& spec = table["token_embedding.weight"];
  std::vector<float> a(static_cast<size_t>(spec.size())), b = a;
  gf::initialise(spec, 1, a.data());
  gf::initialise(spec, 2, b.data());
  double sum = 0, squares = 0, product = 0, beyond = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += a[i];
    squares += double{a[i]} * a[i];
    product += double{a[i]} * b[i];
    beyond += std::fabs(a[i]) > 0.04;  // two deviations: 4.55 % of a normal distribution
  }
  const double n = static_cast<double>(a.size());
  // Five standard errors of each estimate at n = 1.28 million.
  assert_true(std::fabs(sum / n) < 5 * 0.02 / std::sqrt(n));
  assert_true(std::fabs(std::sqrt(squares / n) - 0.02) < 5 * 0.02 / std::sqrt(2 * n));
  assert_true(std::fabs(product / n) < 5 * 0.0004 / std::sqrt(n));
  assert_true(std::fabs(beyond / n - 0.0455) < 5 * 0.21 / std::sqrt(n));
  gf::initialise(table["blocks.1.ln1.weight"], 1, a.data());
  gf::initialise(table["blocks.1.ln1.bias"], 1, b.data());
  assert_true(a[0] == 1.0f && a[255] == 1.0f && b[0] == 0.0f && b[255] == 0.0f);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(parameter_counts_are_the_published_ones),
      cmocka_unit_test(tensors_have_places_of_their_own),
      cmocka_unit_test(published_window_schedules),
      cmocka_unit_test(a_list_longer_than_the_layers_leaves_no_offset_out),
      cmocka_unit_test(bad_fields_are_named),
      cmocka_unit_test(fields_of_the_other_mixer_are_not_looked_at),
      cmocka_unit_test(json_brings_every_field_back),
      cmocka_unit_test(json_without_heads_has_one),
      cmocka_unit_test(grassmann_plus_is_as_large_as_grassmann),
      cmocka_unit_test(damaged_json_is_named),
      cmocka_unit_test(initial_weights_have_the_stated_distribution),
  };
  return cmocka_run_group_tests_name("model/config", tests, nullptr, nullptr);
}
