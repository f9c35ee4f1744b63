#include "train/checkpoint.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/safetensors.h"
#include "model/config_json.h"

namespace gf {
namespace {

using nlohmann::ordered_json;

constexpr const char* kConfigKey = "gf.config";
constexpr const char* kTrainingKey = "gf.training";

// ---- Tensors -----------------------------------------------------------------------------------

std::vector<int64_t> shape_of(const ParamSpec& spec) {
  if (spec.dims == 1) return {spec.cols};
  return {spec.rows, spec.cols};
}

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Every parameter's part of a flat array on the device, fetched as it is written.
void add_sources(Device& device, const ParamTable& table, const std::string& prefix,
                 const Mat& flat, std::vector<TensorSource>& sources) {
  for (const ParamSpec& spec : table.specs()) {
    sources.push_back(
        {prefix + spec.name, "F32", shape_of(spec), [&device, &spec, flat](auto& sink) {
           std::vector<float> values(static_cast<size_t>(spec.size()));
           const size_t bytes = values.size() * sizeof(float);
           device.download(values.data(), flat.data + spec.offset, bytes);
           sink(values.data(), bytes);
         }});
  }
}

const TensorView& find_checked(const SafetensorsFile& file, const std::string& prefix,
                               const ParamSpec& spec) {
  const std::string name = prefix + spec.name, expected = text_of(shape_of(spec));
  const TensorView* tensor = file.find(name);
  if (!tensor) {
    throw_error(GF_ERROR_MISMATCH, "%s: tensor %s is missing, expected shape %s",
                file.path().c_str(), name.c_str(), expected.c_str());
  }
  if (tensor->shape != shape_of(spec)) {
    throw_error(GF_ERROR_MISMATCH, "%s: tensor %s has shape %s, expected %s", file.path().c_str(),
                name.c_str(), text_of(tensor->shape).c_str(), expected.c_str());
  }
  return *tensor;
}

// Every parameter's part of a flat array, still on the host: nothing on the device changes before
// all of a file has been read and found right.
std::vector<float> read_flat(const SafetensorsFile& file, const ParamTable& table,
                             const std::string& prefix) {
  std::vector<float> flat(static_cast<size_t>(table.flat_size()), 0.0f);
  for (const ParamSpec& spec : table.specs()) {
    const std::span<float> values(flat.data() + spec.offset, static_cast<size_t>(spec.size()));
    file.read_floats(find_checked(file, prefix, spec), values);
    for (const float value : values) {
      if (!std::isfinite(value)) {
        throw_error(GF_ERROR_FORMAT, "%s: tensor %s%s holds a value that is not finite",
                    file.path().c_str(), prefix.c_str(), spec.name.c_str());
      }
    }
  }
  return flat;
}

// A tensor that no parameter claims means that the file belongs to another model.
void check_no_strangers(const SafetensorsFile& file, const ParamTable& table) {
  for (const TensorView& tensor : file.tensors()) {
    if (tensor.name.starts_with("gf.") || tensor.name == "lm_head.weight") continue;
    if (!table.find(tensor.name)) {
      throw_error(GF_ERROR_MISMATCH, "%s: tensor %s of shape %s is none of this model's",
                  file.path().c_str(), tensor.name.c_str(), text_of(tensor.shape).c_str());
    }
  }
}

void upload_flat(Device& device, const Mat& flat, const std::vector<float>& values) {
  device.upload(flat.data, values.data(), values.size() * sizeof(float));
}

void load_weights_from(const SafetensorsFile& file, Model& model) {
  check_no_strangers(file, model.table());
  const std::vector<float> values = read_flat(file, model.table(), "");
  upload_flat(*model.device(), model.parameters().value, values);
  model.refresh();
}

// ---- Metadata ----------------------------------------------------------------------------------

Metadata model_metadata(const Model& model) {
  Metadata metadata = model.metadata();
  metadata["format"] = "pt";  // what PyTorch's readers look for
  metadata[kConfigKey] = config_to_json(model.config());
  return metadata;
}

// What the caller had attached: all but the library's own.
Metadata user_metadata(const Metadata& file) {
  Metadata metadata = file;
  std::erase_if(metadata, [](const auto& entry) {
    return entry.first == "format" || entry.first.starts_with("gf.");
  });
  return metadata;
}

ModelConfig read_config(const SafetensorsFile& file) {
  const auto config = file.metadata().find(kConfigKey);
  if (config == file.metadata().end()) {
    throw_error(GF_ERROR_FORMAT,
                "%s: no %s in the metadata: not a checkpoint of this library. Weights of another "
                "origin load into a model of the same shape (gf_model_load_weights)",
                file.path().c_str(), kConfigKey);
  }
  return config_from_json(config->second, file.path());
}

// FNV-1a over ids, lengths and labels: two data sets of one size are not the same data.
std::string fingerprint(const Dataset& dataset) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](const int32_t* values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      hash = (hash ^ static_cast<uint32_t>(values[i])) * 0x100000001b3u;
    }
  };
  add(dataset.data(), dataset.padded_tokens());
  if (dataset.is_labelled()) {
    add(dataset.lengths().data(), dataset.chunks());
    add(dataset.labels().data(), dataset.chunks());
  }
  return format("%016llx", static_cast<unsigned long long>(hash));
}

// All that decides on the steps to come, by the names of gf_train_options. A checkpoint continues
// only where every entry is the same.
ordered_json options_json(const Trainer& trainer) {
  const TrainOptions& o = trainer.options();
  const Schedule& s = o.adamw.schedule;
  return {{"batch_size", o.batch_size},
          {"epochs", o.epochs},
          {"max_steps", o.max_steps},
          {"seed", o.seed},
          {"lr", s.lr},
          {"min_lr", s.min_lr},
          {"warmup_steps", s.warmup_steps},
          {"schedule", static_cast<int32_t>(s.kind)},
          {"beta1", o.adamw.beta1},
          {"beta2", o.adamw.beta2},
          {"epsilon", o.adamw.epsilon},
          {"weight_decay", o.adamw.weight_decay},
          {"grad_clip", o.adamw.clip},
          {"chunks", trainer.dataset().chunks()},
          {"length", trainer.dataset().length()},
          {"data", fingerprint(trainer.dataset())}};
}

ordered_json progress_json(const TrainProgress& p) {
  return {{"step", p.state.step},       {"epoch", p.state.epoch},       {"batch", p.state.cursor},
          {"epoch_loss", p.epoch_loss}, {"epoch_steps", p.epoch_steps}, {"tokens", p.tokens}};
}

TrainProgress read_progress(const ordered_json& json, uint64_t seed) {
  TrainProgress p;
  p.state = {seed, json.at("step"), json.at("epoch"), json.at("batch")};
  p.epoch_loss = json.at("epoch_loss");
  p.epoch_steps = json.at("epoch_steps");
  p.tokens = json.at("tokens");
  return p;
}

void check_same_options(const std::string& path, const ordered_json& found,
                        const Trainer& trainer) {
  const ordered_json options = options_json(trainer);
  for (const auto& [name, expected] : options.items()) {
    if (found.at(name) != expected) {
      throw_error(GF_ERROR_MISMATCH, "%s: saved with %s = %s, but this training has %s",
                  path.c_str(), name.c_str(), found.at(name).dump().c_str(),
                  expected.dump().c_str());
    }
  }
}

void check_progress(const std::string& path, const TrainProgress& p, const Trainer& trainer) {
  const Schedule& s = trainer.schedule();
  if (p.state.step < 0 || p.state.step > s.total_steps || p.state.epoch < 0 ||
      p.state.epoch > s.epochs || p.state.cursor < 0 || p.state.cursor >= s.steps_per_epoch) {
    throw_error(GF_ERROR_FORMAT, "%s: step %lld, epoch %lld, batch %lld lie outside the training",
                path.c_str(), static_cast<long long>(p.state.step),
                static_cast<long long>(p.state.epoch), static_cast<long long>(p.state.cursor));
  }
}

}  // namespace

// ---- Models ------------------------------------------------------------------------------------

void save_model(const Model& model, const std::string& path) {
  std::vector<TensorSource> sources;
  add_sources(*model.device(), model.table(), "", model.parameters().value, sources);
  write_safetensors(path, model_metadata(model), sources);
}

std::shared_ptr<Model> load_model(std::shared_ptr<Device> device, const std::string& path) {
  const SafetensorsFile file(path);
  const ModelConfig config = read_config(file);
  const ParamTable table(config);
  // Before a damaged configuration can ask for memory that the file does not bear out.
  for (const ParamSpec& spec : table.specs()) find_checked(file, "", spec);
  auto model = std::make_shared<Model>(std::move(device), config);
  load_weights_from(file, *model);
  model->metadata() = user_metadata(file.metadata());
  return model;
}

void load_weights(Model& model, const std::string& path) {
  load_weights_from(SafetensorsFile(path), model);
}

// ---- Trainers ----------------------------------------------------------------------------------

void save_trainer(const Trainer& trainer, const std::string& path) {
  const Model& model = *trainer.model();
  std::vector<TensorSource> sources;
  add_sources(*model.device(), model.table(), "", trainer.parameters().value, sources);
  add_sources(*model.device(), model.table(), "gf.moment1.", trainer.parameters().moment1, sources);
  add_sources(*model.device(), model.table(), "gf.moment2.", trainer.parameters().moment2, sources);
  Metadata metadata = model_metadata(model);
  metadata[kTrainingKey] = ordered_json{{"options", options_json(trainer)},
                                        {"progress", progress_json(trainer.progress())}}
                               .dump();
  write_safetensors(path, metadata, sources);
}

void load_trainer(Trainer& trainer, const std::string& path) {
  const SafetensorsFile file(path);
  const auto training = file.metadata().find(kTrainingKey);
  if (training == file.metadata().end()) {
    throw_error(GF_ERROR_MISMATCH,
                "%s: holds a model alone, without the state of a training; expected a file of "
                "gf_checkpoint_save, such as last.safetensors",
                path.c_str());
  }
  Model& model = *trainer.model();
  TrainProgress progress;
  try {
    const ordered_json json = ordered_json::parse(training->second);
    check_same_options(path, json.at("options"), trainer);
    progress = read_progress(json.at("progress"), trainer.options().seed);
  } catch (const nlohmann::json::exception& error) {
    throw_error(GF_ERROR_FORMAT, "%s: the state of the training is damaged: %s", path.c_str(),
                error.what());
  }
  check_progress(path, progress, trainer);
  check_no_strangers(file, model.table());
  const std::vector<float> values = read_flat(file, model.table(), "");
  const std::vector<float> moment1 = read_flat(file, model.table(), "gf.moment1.");
  const std::vector<float> moment2 = read_flat(file, model.table(), "gf.moment2.");

  Device& device = *model.device();
  upload_flat(device, trainer.parameters().value, values);
  upload_flat(device, trainer.parameters().moment1, moment1);
  upload_flat(device, trainer.parameters().moment2, moment2);
  model.refresh();
  model.metadata() = user_metadata(file.metadata());
  trainer.set_progress(progress);
}

}  // namespace gf
