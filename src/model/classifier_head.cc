#include "model/head.h"

namespace gf {
namespace {

// The mean of the states of a pair's tokens, dropout, and a linear layer: logits of the classes.
// The mixers are causal and padding stands behind all tokens, so it reaches none of them.
class ClassifierHead final : public Head {
 public:
  explicit ClassifierHead(const Builder& b)
      : tokens_(b.param("token_embedding.weight")),
        classifier_(b.linear("classifier")),
        pooled_(b.saved.mat(b.shape.sequences, b.config.dim())),
        logits_(b.saved.mat(b.shape.sequences, b.config.classes())) {}

  LogitsShape logits_shape() const override { return {logits_.rows, logits_.rows, logits_.cols}; }

  Mat logits(const Pass& pass, const Act& h, int64_t first, int64_t count) override {
    forward(pass, h);
    return logits_.row_range(first, count);
  }

  void loss(const Pass& pass, const Act& h, Score* score) override {
    forward(pass, h);
    pass.ops.class_loss(logits_, pass.batch, &score->loss, score->confusion);
  }

  void loss_backward(const Pass& pass, const Act& h, LossSum* loss, const Act& dh) override {
    forward(pass, h);
    pass.ops.classify_backward(pooled_, logits_, pass.batch, pass.dropout(kClassifierSite),
                               classifier_, loss, dh);
    // What the embedding adds to, and a language model's head would have written.
    pass.device.zero(tokens_.grad.data, static_cast<size_t>(tokens_.grad.size()) * sizeof(float));
  }

 private:
  void forward(const Pass& pass, const Act& h) const {
    pass.ops.classify(h, pass.batch, pass.dropout(kClassifierSite), classifier_, pooled_, logits_);
  }

  Param tokens_;       // [V, D]
  Linear classifier_;  // [C, D]
  Mat pooled_;         // [B, D]
  Mat logits_;         // [B, C]
};

}  // namespace

std::unique_ptr<Head> make_classifier_head(const Builder& builder) {
  return std::make_unique<ClassifierHead>(builder);
}

}  // namespace gf
