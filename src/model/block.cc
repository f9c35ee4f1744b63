#include "model/block.h"

namespace gf {
namespace {

std::unique_ptr<Mixer> make_mixer(const Builder& builder, int64_t layer) {
  return builder.config.grassmann() ? make_grassmann_mixer(builder, layer)
                                    : make_attention_mixer(builder, layer);
}

}  // namespace

Block::Block(const Builder& b, int64_t layer)
    : layer_(layer),
      mixer_name_(block_prefix(layer) + "mixer"),
      ffn_name_(block_prefix(layer) + "ffn"),
      // The mixer's scratch and then, behind it, the feed-forward part's: what one has read must
      // stay while the other runs backward.
      mixer_(make_mixer(b, layer)),
      W1_(b.linear(block_prefix(layer) + "ffn.0")),
      W2_(b.linear(block_prefix(layer) + "ffn.3")) {
  const int64_t D = b.config.dim(), F = b.config.ff();
  in_ = {b.norm(block_prefix(layer) + "ln1"), b.mat(b.saved, D), b.mat(b.saved, 2),
         mixer_->input()};
  mid_ = {b.norm(block_prefix(layer) + "ln2"), b.mat(b.saved, D), b.mat(b.saved, 2),
          b.act(b.saved, D)};
  u_ = b.act(b.saved, F);
  const size_t begin = b.scratch.mark();
  a_ = b.act(b.scratch, F);
  y_ = b.act(b.scratch, D);
  if (!b.shape.training) return;
  b.scratch.rewind(begin);  // a and y are of the forward pass alone
  dh_ = b.ffn_dh;
  dy_ = b.act(b.scratch, D);
  du_ = b.act(b.scratch, F);
}

void Block::forward(const Pass& pass, const StreamPoint& out) {
  {
    const Range range(pass.device, mixer_name_.c_str());
    mixer_->forward(pass, in_, mid_);
  }
  const Range range(pass.device, ffn_name_.c_str());
  ffn_forward(pass, mid_, out);
}

void Block::backward(const Pass& pass, const StreamPoint& out, StreamGrad& grad) {
  {
    const Range range(pass.device, ffn_name_.c_str());
    ffn_backward(pass, mid_, out, grad);
    pass.ops.settle();
  }
  const Range range(pass.device, mixer_name_.c_str());
  mixer_->backward(pass, in_, mid_, grad);
  pass.ops.settle();
}

void Block::ffn_forward(const Pass& pass, const StreamPoint& in, const StreamPoint& out) {
  pass.ops.linear_gelu(in.h, W1_, pass.dropout(ffn_inner_site(layer_)), u_, a_);
  pass.ops.linear(a_, W2_, y_);
  pass.ops.add_norm(in.x, y_, pass.dropout(ffn_outer_site(layer_)), out.norm, out.x, out.stats,
                    out.h);
}

void Block::ffn_backward(const Pass& pass, const StreamPoint& in, const StreamPoint& out,
                         StreamGrad& grad) {
  pass.ops.add_norm_backward(grad.dh, out.x, out.stats, pass.dropout(ffn_outer_site(layer_)),
                             out.norm, grad.dx, dy_);
  pass.ops.gelu_linear_backward(dy_, u_, pass.dropout(ffn_inner_site(layer_)), W2_, du_);
  pass.ops.linear_backward(du_, in.h, W1_, dh_, false);
  grad.dh = dh_;
}

}  // namespace gf
