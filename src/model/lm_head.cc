#include <algorithm>

#include "model/head.h"

namespace gf {
namespace {

// Rows of logits at a time. Each panel reads and writes the whole gradient of the embedding once,
// so few rows cost bandwidth and many cost memory: 256 rows of the BERT vocabulary are 31 MB.
constexpr int64_t kPanelRows = 256;
// Without gradients a panel costs nothing to begin.
constexpr int64_t kInferencePanelRows = 128;
// In bf16 the rows of a panel begin on 16 bytes: matrix units run at a quarter of their speed at
// 30,522 columns of what they reach at 30,528.
constexpr int64_t kHalfPanelMultiple = 64;

// Logits against the tied token embedding, without bias; cross-entropy of the next token.
class LmHead final : public Head {
 public:
  explicit LmHead(const Builder& b)
      : tokens_(b.param("token_embedding.weight")), rows_(b.shape.rows()) {
    b.scratch.rewind(0);
    const int64_t V = b.config.vocab_size();
    const bool is_half = b.shape.product_bytes < static_cast<int32_t>(sizeof(float));
    const int64_t most = b.shape.training ? kPanelRows : kInferencePanelRows;
    const int64_t multiple = is_half ? kHalfPanelMultiple : 1;
    const int64_t rows = std::min(most, b.shape.rows());
    panel_ = b.scratch.act(rows, (V + multiple - 1) / multiple * multiple, b.shape.product_bytes);
    if (b.shape.training) return;
    b.scratch.rewind(0);  // nobody reads logits while a loss is made
    logits_ = b.scratch.mat(rows, V);
  }

  LogitsShape logits_shape() const override { return {rows_, logits_.rows, logits_.cols}; }

  Mat logits(const Pass& pass, const Act& h, int64_t first, int64_t count) override {
    const Mat out = logits_.first_rows(count);
    pass.ops.logits(h.row_range(first, count), tokens_, out);
    return out;
  }

  void loss(const Pass& pass, const Act& h, Score* score) override {
    pass.ops.lm_loss(h, tokens_, pass.batch, panel_, &score->loss);
  }

  void loss_backward(const Pass& pass, const Act& h, LossSum* loss, const Act& dh) override {
    pass.ops.lm_loss_backward(h, tokens_, pass.batch, panel_, loss, dh);
  }

 private:
  Param tokens_;  // [V, D]
  int64_t rows_;
  Mat logits_;  // [R, V] for the caller
  Act panel_;   // [R, V or more]: the logits of a loss that exist at one time
};

}  // namespace

std::unique_ptr<Head> make_lm_head(const Builder& builder) {
  return std::make_unique<LmHead>(builder);
}

}  // namespace gf
