#include "model/lm_head.h"

#include <algorithm>

namespace gf {
namespace {

// Rows of logits at a time. Each panel reads and writes the whole gradient of the embedding once,
// so few rows cost bandwidth and many cost memory: 256 rows of the BERT vocabulary are 31 MB.
constexpr int64_t kPanelRows = 256;
// Without gradients a panel costs nothing to begin, and its memory comes on top of a training's.
constexpr int64_t kInferencePanelRows = 128;

}  // namespace

LmHead::LmHead(const Builder& b) : tokens_(b.param("token_embedding.weight")) {
  b.scratch.rewind(0);
  const int64_t rows = b.shape.training ? kPanelRows : kInferencePanelRows;
  panel_ = b.scratch.mat(std::min(rows, b.shape.rows()), b.config.vocab_size());
}

Mat LmHead::logits(const Pass& pass, const Act& h) const {
  const Mat out = panel_.row_range(0, h.rows);
  pass.ops.logits(h, tokens_, out);
  return out;
}

void LmHead::loss(const Pass& pass, const Act& h, LossSum* sum) const {
  pass.ops.lm_loss(h, tokens_, pass.batch, panel_, sum);
}

void LmHead::loss_backward(const Pass& pass, const Act& h, LossSum* sum, const Act& dh) const {
  pass.ops.lm_loss_backward(h, tokens_, pass.batch, panel_, sum, dh);
}

}  // namespace gf
