#pragma once

// What the tests of training share: a small model on the device under test, and its data.

#include <memory>
#include <vector>

#include "data/sample_corpus.h"
#include "support/device_under_test.h"
#include "train/trainer.h"

namespace gf_test {

inline constexpr int32_t kLength = 32;

inline gf_model_config small_config(gf_mixer mixer) {
  gf_model_config c = gf::default_config(mixer);
  c.vocab_size = 128;
  c.max_seq_len = kLength;
  c.num_layers = 2;
  c.model_dim = 32;
  c.reduced_dim = 8;
  c.ff_dim = 64;
  return c;
}

inline std::shared_ptr<gf::Model> make_model(gf_mixer mixer, int threads = 2) {
  auto model =
      std::make_shared<gf::Model>(make_test_device(threads), gf::ModelConfig(small_config(mixer)));
  model->initialise(3);
  return model;
}

inline std::shared_ptr<const gf::Dataset> make_data(int64_t chunks, uint64_t seed = 1) {
  const std::string text = gf::sample_text(seed, static_cast<size_t>(chunks * kLength));
  return std::make_shared<gf::Dataset>(
      gf::dataset_from_ids(std::vector<int32_t>(text.begin(), text.end()), kLength));
}

inline gf::TrainOptions quick_options() {
  gf::TrainOptions o;
  o.batch_size = 4;
  o.epochs = 2;
  o.seed = 5;
  o.adamw.schedule.lr = 3e-3;
  o.adamw.schedule.min_lr = 3e-4;
  o.adamw.schedule.warmup_steps = 5;
  return o;
}

// All parameters, bit by bit.
inline std::vector<float> values(const gf::Model& model) {
  const gf::Mat& flat = model.parameters().value;
  std::vector<float> all(static_cast<size_t>(flat.size()));
  model.device()->download(all.data(), flat.data, all.size() * sizeof(float));
  return all;
}

// Whatever stands where a model's workspaces do becomes NaN, in fp32 and in bf16.
inline void poison_workspaces(const gf::Model& model) {
  const std::shared_ptr<gf::Arena> memory = model.workspace_memory(0);
  const std::vector<uint8_t> bytes(memory->size(), 0xFF);
  memory->rewind(0);
  model.device()->upload(memory->array<uint8_t>(std::ssize(bytes)), bytes.data(), bytes.size());
}

}  // namespace gf_test
