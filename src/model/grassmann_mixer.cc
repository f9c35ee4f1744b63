#include <algorithm>

#include "model/mixer.h"

namespace gf {
namespace {

// Plücker coordinates of token pairs: z = W_red h + b, p = mean over the offsets, or a learned sum,
// of (z_t ∧ z_{t-d}) / |.| by head, g = W_plu p + b, α = sigmoid(W_gate [h; g] + b), y =
// layer_norm(α h + (1 - α) g).
class GrassmannMixer final : public Mixer {
 public:
  GrassmannMixer(const Builder& b, int64_t layer)
      : windows_{b.config.windows(layer), b.config.grassmann_heads(), {}},
        site_(mixer_site(layer)),
        W_red_(b.linear(block_prefix(layer) + "grassmann.W_red")),
        W_plu_(b.linear(block_prefix(layer) + "grassmann.W_plu")),
        W_gate_(b.linear(block_prefix(layer) + "grassmann.W_gate")),
        layer_norm_(b.norm(block_prefix(layer) + "grassmann.layer_norm")) {
    if (b.config.learns_windows()) {
      windows_.weight = b.param(block_prefix(layer) + "grassmann.offset_weight");
    }
    const int64_t D = b.config.dim();
    hg_ = b.act(b.saved, 2 * D);
    h_ = hg_.columns(0, D);
    g_ = hg_.columns(D, D);
    z_ = b.act(b.saved, b.config.z_dim());
    gate_ = b.act(b.saved, D);
    stats_ = b.mat(b.saved, 2);
    b.scratch.rewind(0);
    p_ = b.act(b.scratch, b.config.plucker_dim());
    if (!b.shape.training) return;
    dhg_ = b.mixer_dh;
    dgate_ = b.act(b.scratch, D);
    dp_ = b.act(b.scratch, b.config.plucker_dim());
    dz_ = b.act(b.scratch, b.config.z_dim());
    dh_ = dhg_.columns(0, D);
    dg_ = dhg_.columns(D, D);
  }

  Act input() const override { return h_; }

  void forward(const Pass& pass, const StreamPoint& in, const StreamPoint& out) override {
    const Batch& batch = pass.batch;
    pass.ops.linear(in.h, W_red_, z_);
    pass.ops.plucker(z_, batch.sequences, batch.length, windows_, W_plu_, p_, g_);
    pass.ops.linear(hg_, W_gate_, gate_);
    pass.ops.gate_add_norm(in.x, hg_, gate_, layer_norm_, pass.dropout(site_), out.norm, out.x,
                           stats_, out.stats, out.h);
  }

  void backward(const Pass& pass, const StreamPoint& in, const StreamPoint& out,
                StreamGrad& grad) override {
    const Batch& batch = pass.batch;
    pass.ops.gate_add_norm_backward(grad.dh, out.x, hg_, gate_, stats_, out.stats, layer_norm_,
                                    pass.dropout(site_), out.norm, grad.dx, dhg_, dgate_);
    pass.ops.linear_backward(dgate_, hg_, W_gate_, dhg_, true);
    pass.ops.plucker_backward(dg_, z_, batch.sequences, batch.length, windows_, W_plu_, p_, dp_,
                              dz_);
    pass.ops.linear_backward(dz_, in.h, W_red_, dh_, true);
    grad.dh = dh_;
  }

 private:
  Windows windows_;  // of H heads
  uint32_t site_;
  Linear W_red_;   // [H r, D]
  Linear W_plu_;   // [D, H r (r - 1) / 2]
  Linear W_gate_;  // [D, 2 D]
  Norm layer_norm_;
  Act hg_;     // h | g: the gate's product reads both as one operand
  Act h_, g_;  // its halves
  Act z_, gate_;
  Mat stats_;
  Act p_;
  Act dhg_, dh_, dg_, dgate_, dp_, dz_;
};

}  // namespace

std::unique_ptr<Mixer> make_grassmann_mixer(const Builder& builder, int64_t layer) {
  return std::make_unique<GrassmannMixer>(builder, layer);
}

}  // namespace gf
