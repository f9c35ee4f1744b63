#pragma once

#include <cstdint>
#include <vector>

#include "grassflow.h"

namespace gf {

// A model's shape, checked and complete: the C struct with every default filled in, and the offsets
// that each layer looks back by.
class ModelConfig {
 public:
  // Throws GF_ERROR_INVALID_ARGUMENT naming the field, its value and what was expected.
  explicit ModelConfig(const gf_model_config& c);

  const gf_model_config& c() const { return c_; }
  bool grassmann() const { return c_.mixer == GF_MIXER_GRASSMANN; }
  int64_t vocab_size() const { return c_.vocab_size; }
  int64_t max_seq_len() const { return c_.max_seq_len; }
  int64_t layers() const { return c_.num_layers; }
  int64_t dim() const { return c_.model_dim; }
  int64_t heads() const { return c_.num_heads; }
  int64_t reduced() const { return c_.reduced_dim; }
  int64_t grassmann_heads() const { return c_.grassmann_heads; }
  // Columns of z, and of all heads' Plücker coordinates.
  int64_t z_dim() const { return grassmann_heads() * reduced(); }
  int64_t plucker_dim() const { return z_dim() * (reduced() - 1) / 2; }
  bool learns_windows() const {
    return grassmann() && c_.window_weights == GF_WINDOW_WEIGHTS_LEARNED;
  }
  int64_t ff() const { return c_.ff_dim; }
  int64_t classes() const { return c_.num_classes; }
  float dropout() const { return c_.dropout; }
  const std::vector<int32_t>& windows(int64_t layer) const {
    return windows_[static_cast<size_t>(layer)];
  }

 private:
  gf_model_config c_;
  std::vector<std::vector<int32_t>> windows_;  // by layer; empty for a transformer
};

// The published recipe's shape; the vocabulary stays 0.
gf_model_config default_config(gf_mixer mixer);
// See gf_model_config_grassmann_plus().
void set_grassmann_plus(gf_model_config& c);

}  // namespace gf
