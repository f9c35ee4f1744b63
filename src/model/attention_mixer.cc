#include "model/mixer.h"

namespace gf {
namespace {

// Causal multi-head attention: qkv = W_qkv h + b, attended = softmax(q·k / sqrt(D / H)) v,
// y = W_out attended + b.
class AttentionMixer final : public Mixer {
 public:
  AttentionMixer(const Builder& b, int64_t layer)
      : heads_(b.config.heads()),
        site_(mixer_site(layer)),
        qkv_proj_(b.linear(block_prefix(layer) + "qkv_proj")),
        out_proj_(b.linear(block_prefix(layer) + "out_proj")) {
    const int64_t D = b.config.dim();
    h_ = b.act(b.saved, D);
    qkv_ = b.act(b.saved, 3 * D);
    attended_ = b.act(b.saved, D);
    lse_ = b.mat(b.saved, heads_);
    b.scratch.rewind(0);
    y_ = b.act(b.scratch, D);
    if (!b.shape.training) return;
    b.scratch.rewind(0);  // y is of the forward pass alone
    dh_ = b.mixer_dh;
    dy_ = b.act(b.scratch, D);
    dattended_ = b.act(b.scratch, D);
    dqkv_ = b.act(b.scratch, 3 * D);
  }

  Act input() const override { return h_; }

  void forward(const Pass& pass, const StreamPoint& in, const StreamPoint& out) override {
    const Batch& batch = pass.batch;
    pass.ops.linear(in.h, qkv_proj_, qkv_);
    pass.ops.attention(qkv_, batch.sequences, batch.length, heads_, attended_, lse_);
    pass.ops.linear(attended_, out_proj_, y_);
    pass.ops.add_norm(in.x, y_, pass.dropout(site_), out.norm, out.x, out.stats, out.h);
  }

  void backward(const Pass& pass, const StreamPoint& in, const StreamPoint& out,
                StreamGrad& grad) override {
    const Batch& batch = pass.batch;
    pass.ops.add_norm_backward(grad.dh, out.x, out.stats, pass.dropout(site_), out.norm, grad.dx,
                               dy_);
    pass.ops.linear_backward(dy_, attended_, out_proj_, dattended_, false);
    pass.ops.attention_backward(dattended_, qkv_, attended_, lse_, batch.sequences, batch.length,
                                heads_, dqkv_);
    pass.ops.linear_backward(dqkv_, in.h, qkv_proj_, dh_, false);
    grad.dh = dh_;
  }

 private:
  int64_t heads_;
  uint32_t site_;
  Linear qkv_proj_;  // [3 D, D]
  Linear out_proj_;  // [D, D]
  Act h_, qkv_, attended_;
  Mat lse_;
  Act y_;
  Act dh_, dy_, dattended_, dqkv_;
};

}  // namespace

std::unique_ptr<Mixer> make_attention_mixer(const Builder& builder, int64_t layer) {
  return std::make_unique<AttentionMixer>(builder, layer);
}

}  // namespace gf
