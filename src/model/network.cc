#include "model/network.h"

namespace gf {
namespace {

std::vector<Block> make_blocks(const Builder& b) {
  std::vector<Block> blocks;
  const size_t begin = b.saved.mark();
  for (int64_t layer = 0; layer < b.config.layers(); ++layer) {
    // Without a backward pass nothing outlives its layer: all share one layer's buffers.
    if (!b.shape.training) b.saved.rewind(begin);
    blocks.emplace_back(b, layer);
  }
  return blocks;
}

// A language model has neither lengths nor labels.
Batch make_batch(const Builder& b) {
  Batch batch{b.saved.array<int32_t>(b.shape.rows()), b.shape.sequences, b.shape.length};
  if (b.config.classes() > 0) {
    batch.lengths = b.saved.array<int32_t>(b.shape.sequences);
    batch.labels = b.saved.array<int32_t>(b.shape.sequences);
  }
  return batch;
}

std::unique_ptr<Head> make_head(const Builder& b) {
  return b.config.classes() > 0 ? make_classifier_head(b) : make_lm_head(b);
}

Builder make_builder(const ModelConfig& config, const ParamTable& table, const Parameters& params,
                     const Shape& shape, Arena& saved, Arena& scratch) {
  Builder b{config, table, params, shape, saved, scratch, {}, {}};
  if (shape.training) {
    b.ffn_dh = b.act(saved, config.dim());
    b.mixer_dh = b.act(saved, mixer_input_columns(config));
  }
  return b;
}

}  // namespace

Network::Network(const ModelConfig& config, const ParamTable& table, const Parameters& params,
                 const Shape& shape, Arena& saved, Arena& scratch)
    : Network(make_builder(config, table, params, shape, saved, scratch)) {}

Network::Network(const Builder& b)
    : shape_(b.shape),
      dropout_threshold_(gf::dropout_threshold(b.config.dropout())),
      batch_(make_batch(b)),
      tokens_(b.param("token_embedding.weight")),
      positions_(b.param("position_embedding.weight")),
      last_{b.norm("ln_f"), b.mat(b.saved, b.config.dim()), b.mat(b.saved, 2),
            b.act(b.saved, b.config.dim())},
      grad_{b.shape.training ? b.mat(b.saved, b.config.dim()) : Mat{}, b.ffn_dh},
      blocks_(make_blocks(b)),
      head_(make_head(b)) {}

void Network::forward(Device& device, const StepState* state) {
  const Pass run = pass(device, state);
  const StreamPoint& first = blocks_.front().in();
  run.ops.embed(run.batch, tokens_, positions_, run.dropout(kEmbeddingSite), first.x);
  run.ops.norm(first.x, first.norm, first.stats, first.h);
  for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i].forward(run, after(i));
}

Mat Network::logits(Device& device, int64_t first, int64_t count) {
  return head_->logits(pass(device, nullptr), last_.h, first, count);
}

void Network::loss(Device& device, Score* score) {
  head_->loss(pass(device, nullptr), last_.h, score);
}

void Network::backward(Device& device, const StepState* state, LossSum* sum) {
  const Pass run = pass(device, state);
  const StreamPoint& first = blocks_.front().in();
  StreamGrad grad = grad_;
  head_->loss_backward(run, last_.h, sum, grad.dh);
  // Twice, since the panel shares its memory with what the last block writes next.
  run.ops.settle();
  run.ops.settle();
  device.zero(grad.dx.data, static_cast<size_t>(grad.dx.size()) * sizeof(float));
  for (size_t i = blocks_.size(); i-- > 0;) blocks_[i].backward(run, after(i), grad);
  run.ops.norm_backward(grad.dh, first.x, first.stats, first.norm, grad.dx);
  run.ops.embed_backward(run.batch, grad.dx, run.dropout(kEmbeddingSite), tokens_, positions_);
}

Pass Network::pass(Device& device, const StepState* state) const {
  return {device, device.ops(), batch_, state ? dropout_threshold_ : 0, state};
}

const StreamPoint& Network::after(size_t block) const {
  return block + 1 < blocks_.size() ? blocks_[block + 1].in() : last_;
}

}  // namespace gf
