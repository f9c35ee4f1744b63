#include "train/checkpoint.h"

#include <cstdlib>
#include <vector>

#include "base/file.h"
#include "io/safetensors.h"
#include "support/support.h"
#include "train/train_test.h"

namespace {

using gf_test::make_test_device;
using gf_test::values;

constexpr int32_t kLength = 16;

gf_model_config small_config(gf_mixer mixer) {
  gf_model_config c = gf_test::small_config(mixer);
  c.max_seq_len = kLength;
  c.model_dim = 16;
  c.reduced_dim = 4;
  c.ff_dim = 32;
  return c;
}

std::shared_ptr<gf::Model> make_model(const gf_model_config& config) {
  auto model = std::make_shared<gf::Model>(make_test_device(2), gf::ModelConfig(config));
  model->initialise(3);
  return model;
}

std::unique_ptr<gf::Trainer> make_trainer(gf_mixer mixer, int64_t chunks = 30,
                                          const gf::TrainOptions& options = {4, 2, 0, 5, {}}) {
  const std::string text = gf::sample_text(1, static_cast<size_t>(chunks * kLength));
  auto data = std::make_shared<gf::Dataset>(
      gf::dataset_from_ids(std::vector<int32_t>(text.begin(), text.end()), kLength));
  return std::make_unique<gf::Trainer>(make_model(small_config(mixer)), data, options);
}

std::string path(const char* name) {
  return gf_test::scratch_directory() + "/" + name;
}

std::string bytes_of(const std::string& file) {
  return std::string(gf::MappedFile(file).bytes());
}

void continuing_equals_never_having_stopped(void**) {
  for (gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
    auto unbroken = make_trainer(mixer);
    for (int i = 0; i < 11; ++i) unbroken->step();
    gf::save_trainer(*unbroken, path("unbroken"));
    // Once in the middle of an epoch, once at the end of one (eight steps).
    for (int stop : {3, 8}) {
      auto first = make_trainer(mixer);
      for (int i = 0; i < stop; ++i) first->step();
      gf::save_trainer(*first, path("stopped"));
      auto second = make_trainer(mixer);
      gf::load_trainer(*second, path("stopped"));
      for (int i = stop; i < 11; ++i) second->step();
      gf::save_trainer(*second, path("continued"));
      assert_true(bytes_of(path("continued")) == bytes_of(path("unbroken")));
    }
  }
}

void a_model_comes_back_whole(void**) {
  auto model = make_model(small_config(GF_MIXER_GRASSMANN));
  model->metadata()["tokenizer"] = "byte";
  gf::save_model(*model, path("model"));
  const auto back = gf::load_model(make_test_device(1), path("model"));
  assert_true(back->metadata() == model->metadata());
  const std::vector<int32_t> ids = {1, 2, 3, 4, 5, 6};
  std::vector<float> a(6 * 128), b(6 * 128, 0.0f);
  model->forward(ids, {}, 2, 3, a.data());
  back->forward(ids, {}, 2, 3, b.data());
  assert_true(a == b);
  gf::save_model(*back, path("again"));
  assert_true(bytes_of(path("model")) == bytes_of(path("again")));
}

void a_training_checkpoint_is_a_model_too(void**) {
  auto trainer = make_trainer(GF_MIXER_TRANSFORMER);
  trainer->step();
  gf::save_trainer(*trainer, path("training"));
  const auto model = gf::load_model(make_test_device(1), path("training"));
  assert_true(values(*model) == values(*trainer->model()));
}

void another_shape_is_named(void**) {
  gf::save_model(*make_model(small_config(GF_MIXER_GRASSMANN)), path("model"));
  gf_model_config other = small_config(GF_MIXER_GRASSMANN);
  other.ff_dim = 48;
  gf_test::assert_fails(GF_ERROR_MISMATCH,
                        "blocks.0.ffn.0.weight has shape [32, 16], expected [48, 16]",
                        [&] { gf::load_weights(*make_model(other), path("model")); });
  gf_test::assert_fails(GF_ERROR_MISMATCH, "blocks.0.grassmann.W_red.weight", [&] {
    gf::load_weights(*make_model(small_config(GF_MIXER_TRANSFORMER)), path("model"));
  });
  other = small_config(GF_MIXER_GRASSMANN);
  other.num_layers = 3;
  gf_test::assert_fails(GF_ERROR_MISMATCH, "tensor blocks.2.ln1.weight is missing",
                        [&] { gf::load_weights(*make_model(other), path("model")); });
}

void weights_that_do_not_load_change_nothing(void**) {
  auto model = make_model(small_config(GF_MIXER_GRASSMANN));
  const std::vector<float> before = values(*model);
  auto wrong = make_model(small_config(GF_MIXER_GRASSMANN));
  wrong->initialise(4);
  wrong->write(wrong->table()["ln_f.bias"], std::vector<float>(16, 1.0f / 0.0f));
  gf::save_model(*wrong, path("wrong"));
  gf_test::assert_fails(GF_ERROR_FORMAT, "ln_f.bias holds a value that is not finite",
                        [&] { gf::load_weights(*model, path("wrong")); });
  assert_true(values(*model) == before);
}

void a_file_without_what_is_needed_is_named(void**) {
  gf::save_model(*make_model(small_config(GF_MIXER_GRASSMANN)), path("model"));
  auto trainer = make_trainer(GF_MIXER_GRASSMANN);
  gf_test::assert_fails(GF_ERROR_MISMATCH, "holds a model alone",
                        [&] { gf::load_trainer(*trainer, path("model")); });
  gf::write_safetensors(path("bare"), {}, {});
  gf_test::assert_fails(GF_ERROR_FORMAT, "gf.config",
                        [&] { gf::load_model(make_test_device(1), path("bare")); });
  gf_test::assert_fails(GF_ERROR_NOT_FOUND, "nowhere",
                        [&] { gf::load_model(make_test_device(1), path("nowhere")); });
}

void a_configuration_that_the_tensors_do_not_bear_out_is_refused(void**) {
  gf::write_safetensors(path("bare"),
                        {{"gf.config",
                          "{\"mixer\":\"transformer\",\"vocab_size\":16000000,\"max_seq_len\":16,"
                          "\"num_layers\":4096,\"model_dim\":65536,\"num_heads\":4,"
                          "\"reduced_dim\":4,\"ff_dim\":262144,\"num_classes\":0,\"dropout\":0,"
                          "\"window_schedule\":\"all\",\"windows\":[]}"}},
                        {});
  gf_test::assert_fails(GF_ERROR_MISMATCH, "token_embedding.weight is missing",
                        [&] { gf::load_model(make_test_device(1), path("bare")); });
}

void another_training_is_named(void**) {
  auto trainer = make_trainer(GF_MIXER_GRASSMANN);
  trainer->step();
  gf::save_trainer(*trainer, path("training"));
  gf::TrainOptions other = {4, 2, 0, 5, {}};
  other.adamw.schedule.lr = 1e-3;
  gf_test::assert_fails(
      GF_ERROR_MISMATCH, "saved with lr = 0.0006, but this training has 0.001",
      [&] { gf::load_trainer(*make_trainer(GF_MIXER_GRASSMANN, 30, other), path("training")); });
  gf_test::assert_fails(GF_ERROR_MISMATCH, "chunks = 30", [&] {
    gf::load_trainer(*make_trainer(GF_MIXER_GRASSMANN, 31), path("training"));
  });
  gf_test::assert_fails(GF_ERROR_MISMATCH, "W_red", [&] {
    gf::load_trainer(*make_trainer(GF_MIXER_TRANSFORMER), path("training"));
  });
}

void the_tied_head_under_its_second_name_is_ignored(void**) {
  auto model = make_model(small_config(GF_MIXER_TRANSFORMER));
  std::vector<gf::TensorSource> sources;
  for (const gf::ParamSpec& spec : model->table().specs()) {
    const std::vector<int64_t> shape = spec.dims == 1 ? std::vector<int64_t>{spec.cols}
                                                      : std::vector<int64_t>{spec.rows, spec.cols};
    const std::vector<float> half(static_cast<size_t>(spec.size()), 0.5f);
    const auto write = [half](const gf::Sink& sink) { sink(half.data(), half.size() * 4); };
    sources.push_back({spec.name, "F32", shape, write});
    if (spec.name == "token_embedding.weight")
      sources.push_back({"lm_head.weight", "F32", shape, write});
  }
  gf::write_safetensors(path("torch"), {}, sources);
  gf::load_weights(*model, path("torch"));
  const std::vector<float> loaded = values(*model);
  assert_true(loaded[0] == 0.5f);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(continuing_equals_never_having_stopped),
      cmocka_unit_test(a_model_comes_back_whole),
      cmocka_unit_test(a_training_checkpoint_is_a_model_too),
      cmocka_unit_test(another_shape_is_named),
      cmocka_unit_test(weights_that_do_not_load_change_nothing),
      cmocka_unit_test(a_file_without_what_is_needed_is_named),
      cmocka_unit_test(a_configuration_that_the_tensors_do_not_bear_out_is_refused),
      cmocka_unit_test(another_training_is_named),
      cmocka_unit_test(the_tied_head_under_its_second_name_is_ignored),
  };
  return cmocka_run_group_tests_name("train/checkpoint", tests, nullptr, nullptr);
}
