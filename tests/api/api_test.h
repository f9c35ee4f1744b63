#pragma once

// What the tests of grassflow.h share: a small model, its data, and how a failing call is checked.

#include <grassflow.h>

#include <cstring>
#include <vector>

#include "support/device_under_test.h"
#include "support/support.h"

namespace gf_test {

inline constexpr int32_t kLength = 16;

// On the device under test.
inline gf_context* make_context() {
  gf_context_options options;
  gf_context_options_init(&options);
  options.threads = 2;
  if (on_gpu()) options.device = "cuda";
  options.precision = in_bf16() ? "bf16" : "fp32";
  gf_context* context = nullptr;
  assert_int_equal(gf_context_create(&options, &context, nullptr, 0), GF_OK);
  return context;
}

inline gf_model_config small_config(gf_mixer mixer) {
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

inline gf_model* make_model(gf_context* context, gf_mixer mixer = GF_MIXER_GRASSMANN) {
  const gf_model_config config = small_config(mixer);
  gf_model* model = nullptr;
  assert_int_equal(gf_model_create(context, &config, 7, &model), GF_OK);
  return model;
}

inline gf_dataset* make_dataset(gf_context* context, int64_t chunks = 20) {
  std::vector<char> text(static_cast<size_t>(chunks * kLength));
  assert_int_equal(gf_sample_text(context, 1, text.data(), text.size()), GF_OK);
  const std::vector<int32_t> ids(text.begin(), text.end());
  gf_dataset* dataset = nullptr;
  assert_int_equal(gf_dataset_from_ids(context, ids.data(), ids.size(), kLength, &dataset), GF_OK);
  return dataset;
}

inline void assert_error(gf_context* context, gf_status got, gf_status wanted, const char* part) {
  const char* text = gf_context_error(context);
  if (got != wanted || !std::strstr(text, part)) {
    fail_msg("wanted %s with \"%s\", got %s: %s", gf_status_name(wanted), part, gf_status_name(got),
             text);
  }
}

}  // namespace gf_test
