#pragma once

#include <memory>
#include <string>

#include "model/mixer.h"

namespace gf {

// x += mixer(ln1(x)), then x += dropout(W2 dropout(gelu(W1 ln2(x) + b1)) + b2). Each sum is made
// together with the norm that follows it, so a block ends at the next one's first point.
class Block {
 public:
  Block(const Builder& builder, int64_t layer);

  const StreamPoint& in() const { return in_; }

  void forward(const Pass& pass, const StreamPoint& out);
  void backward(const Pass& pass, const StreamPoint& out, StreamGrad& grad);

 private:
  void ffn_forward(const Pass& pass, const StreamPoint& in, const StreamPoint& out);
  void ffn_backward(const Pass& pass, const StreamPoint& in, const StreamPoint& out,
                    StreamGrad& grad);

  int64_t layer_;
  std::string mixer_name_, ffn_name_;  // of their ranges
  std::unique_ptr<Mixer> mixer_;
  Linear W1_;        // [F, D]
  Linear W2_;        // [D, F]
  StreamPoint in_;   // before the mixer, ln1
  StreamPoint mid_;  // before the feed-forward part, ln2
  Act u_;            // before GELU; the backward pass makes it what a was
  Act a_, y_;
  Act dh_, dy_, du_;
};

}  // namespace gf
