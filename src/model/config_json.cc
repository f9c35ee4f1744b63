#include "model/config_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace gf {

using nlohmann::ordered_json;

std::string config_to_json(const ModelConfig& config) {
  const gf_model_config& c = config.c();
  ordered_json json = {
      {"mixer", config.grassmann() ? "grassmann" : "transformer"},
      {"vocab_size", c.vocab_size},
      {"max_seq_len", c.max_seq_len},
      {"num_layers", c.num_layers},
      {"model_dim", c.model_dim},
      {"num_heads", c.num_heads},
      {"reduced_dim", c.reduced_dim},
      {"ff_dim", c.ff_dim},
      {"num_classes", c.num_classes},
      {"dropout", c.dropout},
      {"window_schedule", c.window_schedule == GF_WINDOWS_ALL ? "all" : "per-layer"},
      {"windows", std::vector<int32_t>(c.windows, c.windows + c.num_windows)},
      {"grassmann_heads", c.grassmann_heads},
      {"window_weights", config.learns_windows() ? "learned" : "mean"},
  };
  return json.dump();
}

ModelConfig config_from_json(const std::string& text, const std::string& where) {
  try {
    const ordered_json json = ordered_json::parse(text);
    const std::string mixer = json.at("mixer"), schedule = json.at("window_schedule");
    if (mixer != "grassmann" && mixer != "transformer") {
      throw_error(GF_ERROR_FORMAT, "%s: mixer is \"%s\", expected grassmann or transformer",
                  where.c_str(), mixer.c_str());
    }
    gf_model_config c =
        default_config(mixer == "grassmann" ? GF_MIXER_GRASSMANN : GF_MIXER_TRANSFORMER);
    c.vocab_size = json.at("vocab_size");
    c.max_seq_len = json.at("max_seq_len");
    c.num_layers = json.at("num_layers");
    c.model_dim = json.at("model_dim");
    c.num_heads = json.at("num_heads");
    c.reduced_dim = json.at("reduced_dim");
    c.ff_dim = json.at("ff_dim");
    c.num_classes = json.at("num_classes");
    c.dropout = json.at("dropout");
    c.window_schedule = schedule == "all" ? GF_WINDOWS_ALL : GF_WINDOWS_PER_LAYER;
    const std::vector<int32_t> windows = json.at("windows");
    c.num_windows = static_cast<int32_t>(std::min<size_t>(windows.size(), GF_MAX_WINDOWS));
    std::copy_n(windows.begin(), c.num_windows, c.windows);
    // Models written before there were heads have neither.
    c.grassmann_heads = json.value("grassmann_heads", 0);
    c.window_weights = json.value("window_weights", "mean") == "mean" ? GF_WINDOW_WEIGHTS_MEAN
                                                                      : GF_WINDOW_WEIGHTS_LEARNED;
    return ModelConfig(c);
  } catch (const nlohmann::json::exception& error) {
    throw_error(GF_ERROR_FORMAT, "%s: the model's configuration is damaged: %s", where.c_str(),
                error.what());
  } catch (const Error& error) {
    throw_error(GF_ERROR_FORMAT, "%s: %s", where.c_str(), error.what());
  }
}

}  // namespace gf
