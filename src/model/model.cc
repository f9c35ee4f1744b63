#include "model/model.h"

#include <algorithm>

#include "base/error.h"

namespace gf {
namespace {

struct WorkspaceBytes {
  size_t saved;
  size_t scratch;

  size_t sum() const { return saved + scratch; }
};

WorkspaceBytes measure(const ModelConfig& config, const ParamTable& table, const Shape& shape) {
  Arena saved, scratch;
  Network(config, table, Parameters{}, shape, saved, scratch);
  return {saved.bytes(), scratch.bytes()};
}

}  // namespace

// ---- Model -------------------------------------------------------------------------------------

Model::Model(std::shared_ptr<Device> device, const ModelConfig& config)
    : device_(std::move(device)), config_(config), table_(config) {
  Arena measured;
  lay_out_parameters(measured, table_, device_->product_bytes());
  arena_ = std::make_unique<Arena>(device_, measured.bytes(), "model parameters");
  params_ = lay_out_parameters(*arena_, table_, device_->product_bytes());
}

void Model::initialise(uint64_t seed) {
  std::vector<float> values;
  for (const ParamSpec& spec : table_.specs()) {
    values.resize(static_cast<size_t>(spec.size()));
    gf::initialise(spec, seed, values.data());
    write(spec, values);
  }
  refresh();
}

void Model::read(const ParamSpec& spec, std::span<float> values) const {
  device_->download(values.data(), params_.value.data + spec.offset, values.size_bytes());
}

void Model::write(const ParamSpec& spec, std::span<const float> values) {
  device_->upload(params_.value.data + spec.offset, values.data(), values.size_bytes());
}

void Model::forward(std::span<const int32_t> ids, std::span<const int32_t> lengths,
                    int64_t sequences, int64_t length, float* logits) const {
  check_length(length, 1);
  check_ids(ids, "ids");
  check_lengths(lengths, length);
  Workspace workspace(*this, params_, {sequences, length, device_->product_bytes(), false});
  Network& network = workspace.network(sequences, length);
  device_->upload(network.batch().ids, ids.data(), ids.size_bytes());
  if (!lengths.empty()) {
    device_->upload(network.batch().lengths, lengths.data(), lengths.size_bytes());
  }
  network.forward(*device_, nullptr);
  const auto [rows, at_once, cols] = network.logits_shape();
  for (int64_t first = 0; first < rows; first += at_once) {
    const Mat panel = network.logits(*device_, first, std::min(at_once, rows - first));
    device_->download(logits + first * cols, panel.data,
                      static_cast<size_t>(panel.size()) * sizeof(float));
  }
}

void Model::check_length(int64_t length, int64_t least) const {
  if (length < least || length > config_.max_seq_len()) {
    throw_error(GF_ERROR_INVALID_ARGUMENT,
                "sequences have %lld ids, expected %lld to %lld (max_seq_len of the model)",
                static_cast<long long>(length), static_cast<long long>(least),
                static_cast<long long>(config_.max_seq_len()));
  }
}

void Model::check_ids(std::span<const int32_t> ids, const char* what) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= config_.vocab_size()) {
      throw_error(GF_ERROR_INVALID_ARGUMENT, "%s[%zu] is %d, expected 0 to %lld (vocabulary)", what,
                  i, ids[i], static_cast<long long>(config_.vocab_size() - 1));
    }
  }
}

void Model::check_lengths(std::span<const int32_t> lengths, int64_t length) const {
  for (size_t b = 0; b < lengths.size(); ++b) {
    if (lengths[b] < 1 || lengths[b] > length) {
      throw_error(GF_ERROR_INVALID_ARGUMENT, "lengths[%zu] is %d, expected 1 to %lld", b,
                  lengths[b], static_cast<long long>(length));
    }
  }
}

std::shared_ptr<Arena> Model::workspace_memory(size_t bytes) const {
  std::erase_if(workspaces_, [](const std::weak_ptr<Arena>& one) { return one.expired(); });
  for (const std::weak_ptr<Arena>& one : workspaces_) {
    if (std::shared_ptr<Arena> memory = one.lock(); memory->size() >= bytes) return memory;
  }
  auto memory = std::make_shared<Arena>(device_, bytes, "activations");
  workspaces_.push_back(memory);
  return memory;
}

// ---- Workspace ---------------------------------------------------------------------------------

size_t Workspace::bytes(const ModelConfig& config, const ParamTable& table, const Shape& shape) {
  // Of few rows the logits of an evaluation may need more than all of a step.
  const Shape evaluation{shape.sequences, shape.length, shape.product_bytes, false};
  return std::max(measure(config, table, shape).sum(), measure(config, table, evaluation).sum());
}

Workspace::Workspace(const Model& model, const Parameters& params, const Shape& shape)
    : model_(model),
      params_(params),
      shape_(shape),
      memory_(model.workspace_memory(bytes(model.config(), model.table(), shape))) {}

Network& Workspace::network(int64_t sequences, int64_t length) {
  const std::pair key{sequences, length};
  if (const auto found = networks_.find(key); found != networks_.end()) return found->second;
  const Shape shape{sequences, length, shape_.product_bytes, shape_.training};
  const WorkspaceBytes needed = measure(model_.config(), model_.table(), shape);
  memory_->rewind(0);
  Arena saved(*memory_, needed.saved), scratch(*memory_, needed.scratch);
  return networks_.try_emplace(key, model_.config(), model_.table(), params_, shape, saved, scratch)
      .first->second;
}

}  // namespace gf
