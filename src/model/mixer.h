#pragma once

#include <memory>

#include "model/layer.h"

namespace gf {

// What carries information between tokens: the one part in which the two models differ.
class Mixer {
 public:
  virtual ~Mixer() = default;

  // Where the norm before the mixer writes its result: a mixer may want it beside something else.
  virtual Act input() const = 0;

  // out.x = in.x + dropout(mix(in.h)), out.h = out.norm(out.x).
  virtual void forward(const Pass& pass, const StreamPoint& in, const StreamPoint& out) = 0;
  virtual void backward(const Pass& pass, const StreamPoint& in, const StreamPoint& out,
                        StreamGrad& grad) = 0;
};

// Columns of the gradient of a mixer's input, Builder::mixer_dh.
inline int64_t mixer_input_columns(const ModelConfig& config) {
  return config.grassmann() ? 2 * config.dim() : config.dim();
}

std::unique_ptr<Mixer> make_attention_mixer(const Builder& builder, int64_t layer);
std::unique_ptr<Mixer> make_grassmann_mixer(const Builder& builder, int64_t layer);

}  // namespace gf
