#pragma once

// A golden file, its model on the device under test, and how far results are off.

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/model.h"
#include "support/device_under_test.h"
#include "support/support.h"

namespace golden {

using Values = std::vector<float>;

// ---- A file and its model ----------------------------------------------------------------------

inline int32_t number(const gf::SafetensorsFile& file, const char* key) {
  return std::stoi(file.metadata().at(key));
}

inline gf::ModelConfig config_of(const gf::SafetensorsFile& file) {
  const bool grassmann = file.metadata().at("kind") == "grassmann";
  gf_model_config c = gf::default_config(grassmann ? GF_MIXER_GRASSMANN : GF_MIXER_TRANSFORMER);
  c.vocab_size = number(file, "vocab");
  c.max_seq_len = number(file, "max_seq");
  c.num_layers = number(file, "layers");
  c.model_dim = number(file, "dim");
  c.num_heads = number(file, "heads");
  c.reduced_dim = number(file, "reduced");
  c.ff_dim = number(file, "ff");
  c.num_classes = number(file, "classes");
  c.dropout = 0;
  c.window_schedule =
      file.metadata().at("schedule") == "per-layer" ? GF_WINDOWS_PER_LAYER : GF_WINDOWS_ALL;
  for (const int32_t offset : nlohmann::json::parse(file.metadata().at("offsets"))) {
    c.windows[c.num_windows++] = offset;
  }
  if (file.metadata().contains("mixer_heads")) {
    c.grassmann_heads = number(file, "mixer_heads");
    c.window_weights = GF_WINDOW_WEIGHTS_LEARNED;
  }
  return gf::ModelConfig(c);
}

inline Values values_of(const gf::SafetensorsFile& file, const std::string& name) {
  const gf::TensorView* tensor = file.find(name);
  if (!tensor) fail_msg("%s has no %s", file.path().c_str(), name.c_str());
  Values values(static_cast<size_t>(tensor->size()));
  file.read_floats(*tensor, values);
  return values;
}

inline std::vector<int32_t> ids_of(const gf::SafetensorsFile& file, const std::string& name) {
  const gf::TensorView& tensor = *file.find(name);
  assert_string_equal(tensor.dtype.c_str(), "I64");
  std::vector<int64_t> wide(static_cast<size_t>(tensor.size()));
  std::memcpy(wide.data(), tensor.bytes.data(), tensor.bytes.size());
  return {wide.begin(), wide.end()};
}

// The model of a golden file on the device under test, ready to be trained by hand.
struct Subject {
  explicit Subject(const std::string& name)
      : file(gf_test::source_path("golden/" + name + ".safetensors")),
        model(gf_test::make_test_device(2), config_of(file)),
        params(model.parameters()),
        arena(model.device(), bytes(), "gradients and moments") {
    lay_out(arena);
    for (const gf::ParamSpec& spec : model.table().specs()) {
      model.write(spec, values_of(file, "param." + spec.name));
    }
    model.refresh();
  }

  gf::Device& device() const { return *model.device(); }

  size_t bytes() {
    gf::Arena measured;
    lay_out(measured);
    return measured.bytes();
  }

  void lay_out(gf::Arena& memory) {
    params.grad = memory.mat(1, model.table().flat_size());
    params.moment1 = memory.mat(1, model.table().flat_size());
    params.moment2 = memory.mat(1, model.table().flat_size());
    loss = memory.array<gf::LossSum>(1);
    state = memory.array<gf::StepState>(1);
    squared_norm = memory.array<double>(1);
  }

  template <class T>
  T read(const T* in_device) const {
    T value;
    device().download(&value, in_device, sizeof value);
    return value;
  }

  Values read(const gf::Mat& flat, const gf::ParamSpec& spec) const {
    Values values(static_cast<size_t>(spec.size()));
    device().download(values.data(), flat.data + spec.offset, values.size() * sizeof(float));
    return values;
  }

  void upload(int32_t* to, const std::vector<int32_t>& values) const {
    device().upload(to, values.data(), values.size() * sizeof(int32_t));
  }

  // Mean loss; gradients to params.grad.
  double pass(gf::Network& network, const std::vector<int32_t>& ids, int64_t losses) {
    upload(network.batch().ids, ids);
    network.forward(device(), nullptr);
    network.backward(device(), nullptr, loss);
    const gf::LossSum found = read(loss);
    assert_int_equal(found.count, losses);
    return found.sum / static_cast<double>(found.count);
  }

  gf::SafetensorsFile file;
  gf::Model model;
  gf::Parameters params;
  gf::Arena arena;
  gf::LossSum* loss = nullptr;
  gf::StepState* state = nullptr;
  double* squared_norm = nullptr;
};

// ---- Distances ---------------------------------------------------------------------------------

inline double norm(const Values& a) {
  double sum = 0;
  for (const float value : a) sum += double{value} * value;
  return std::sqrt(sum);
}

inline double distance(const Values& a, const Values& b) {
  assert_int_equal(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return std::sqrt(sum);
}

// Written so that what is not a number is not within anything.
inline void assert_within(double found, double most, const std::string& what) {
  if (!(found <= most)) fail_msg("%s is off by %.3g, allowed %.3g", what.c_str(), found, most);
}

// The largest of several distances; what is no number is larger than any.
struct Largest {
  double found = 0;
  std::string what;

  void see(double off, std::string name) {
    if (off <= found || std::isnan(found)) return;
    found = off;
    what = std::move(name);
  }
  void assert_within(double most) const {
    print_message("off most: %s by %.2e\n", what.c_str(), found);
    golden::assert_within(found, most, what);
  }
};

}  // namespace golden
