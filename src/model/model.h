#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/network.h"

namespace gf {

// Parameters on a device, with the configuration and the texts that travel with them.
class Model {
 public:
  Model(std::shared_ptr<Device> device, const ModelConfig& config);  // parameters are zero

  const std::shared_ptr<Device>& device() const { return device_; }
  const ModelConfig& config() const { return config_; }
  const ParamTable& table() const { return table_; }
  const Parameters& parameters() const { return params_; }  // value and act only
  std::map<std::string, std::string>& metadata() { return metadata_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  void initialise(uint64_t seed);
  void read(const ParamSpec& spec, std::span<float> values) const;
  // Products read a copy that refresh() renews, once after the last of several writes.
  void write(const ParamSpec& spec, std::span<const float> values);
  void refresh() { device_->refresh(params_); }

  // Logits [B, T, V] of a language model, [B, C] of a classifier, which wants the lengths [B]; all
  // on the host. Throws GF_ERROR_INVALID_ARGUMENT for an id outside the vocabulary, a sequence
  // longer than there are positions or not of its length.
  void forward(std::span<const int32_t> ids, std::span<const int32_t> lengths, int64_t sequences,
               int64_t length, float* logits) const;

  // Throws GF_ERROR_INVALID_ARGUMENT unless sequences of this length fit the learned positions.
  void check_length(int64_t length, int64_t least) const;
  // Throws GF_ERROR_INVALID_ARGUMENT naming `what`, the place and the id outside the vocabulary.
  void check_ids(std::span<const int32_t> ids, const char* what) const;

  // At least so many bytes for a workspace: those of another that is alive, since no two are of use
  // at one time, or new ones.
  std::shared_ptr<Arena> workspace_memory(size_t bytes) const;

 private:
  void check_lengths(std::span<const int32_t> lengths, int64_t length) const;

  std::shared_ptr<Device> device_;
  ModelConfig config_;
  ParamTable table_;
  std::unique_ptr<Arena> arena_;
  Parameters params_;
  std::map<std::string, std::string> metadata_;
  mutable std::vector<std::weak_ptr<Arena>> workspaces_;  // handed out
};

// Buffers for batches of up to one shape, and networks laid out in them: one at a time is of use.
// The workspaces of a model stand in the same memory where the first of them has enough of it, so
// what is in one lasts until a network of another runs: an evaluation between two steps of a
// training takes the place of the activations of the first.
class Workspace {
 public:
  // Bytes that the constructor asks for; one for training has room for an evaluation of its shape.
  static size_t bytes(const ModelConfig& config, const ParamTable& table, const Shape& shape);

  Workspace(const Model& model, const Parameters& params, const Shape& shape);

  // The network for so many sequences of this length, both at most the shape's.
  Network& network(int64_t sequences, int64_t length);

 private:
  const Model& model_;
  Parameters params_;
  Shape shape_;
  std::shared_ptr<Arena> memory_;
  std::map<std::pair<int64_t, int64_t>, Network> networks_;  // by sequences and length
};

}  // namespace gf
