#pragma once

// What every layer is built from and called with.

#include <string>

#include "base/arena.h"
#include "device.h"
#include "model/params.h"
#include "ops.h"

namespace gf {

// What decides on the sizes of buffers: B, T and what they are for.
struct Shape {
  int64_t sequences;
  int64_t length;
  int32_t product_bytes;  // of an Act's element
  bool training;          // room for all that the backward pass reads

  int64_t rows() const { return sequences * length; }
};

// Hands a layer its parameters and buffers.
struct Builder {
  const ModelConfig& config;
  const ParamTable& table;
  const Parameters& params;
  Shape shape;
  Arena& saved;    // kept until the backward pass
  Arena& scratch;  // shared by all layers: each mixer lays it out from its beginning
  // Gradients of h, handed from sublayer to sublayer: one still reads its neighbour's when it
  // writes its own.
  Act ffn_dh;    // [M, D]
  Act mixer_dh;  // [M, mixer_input_columns()]

  Param param(const std::string& name) const { return table.view(params, name); }
  Linear linear(const std::string& name) const {
    return {param(name + ".weight"), param(name + ".bias")};
  }
  Norm norm(const std::string& name) const {
    return {param(name + ".weight"), param(name + ".bias")};
  }

  // One row for every token.
  Mat mat(Arena& arena, int64_t cols) const { return arena.mat(shape.rows(), cols); }
  Act act(Arena& arena, int64_t cols) const {
    return arena.act(shape.rows(), cols, shape.product_bytes);
  }
};

// One run over a batch, forward or backward.
struct Pass {
  Device& device;
  Ops& ops;
  Batch batch;
  uint32_t dropout_threshold = 0;    // 0: no dropout
  const StepState* state = nullptr;  // device memory

  Dropout dropout(uint32_t site) const { return {dropout_threshold, site, state}; }
};

// A place in the residual stream: x, and h = norm(x), which the next sublayer reads.
struct StreamPoint {
  Norm norm;
  Mat x;      // [M, D]
  Mat stats;  // [M, 2]
  Act h;      // [M, D]
};

// The gradient of the stream on its way back: at the end of a sublayer's backward pass, of its
// input.
struct StreamGrad {
  Mat dx;  // [M, D] of x, updated in place
  Act dh;  // [M, D] of h, wherever the last sublayer has written it
};

inline std::string block_prefix(int64_t layer) {
  return "blocks." + std::to_string(layer) + ".";
}

// Dropout sites are streams of random numbers: part of what makes two runs equal, so never
// renumber.
inline constexpr uint32_t kEmbeddingSite = 0;
inline constexpr uint32_t kClassifierSite = 1;
inline uint32_t mixer_site(int64_t layer) {
  return static_cast<uint32_t>(2 + 3 * layer);
}
inline uint32_t ffn_inner_site(int64_t layer) {
  return static_cast<uint32_t>(3 + 3 * layer);
}
inline uint32_t ffn_outer_site(int64_t layer) {
  return static_cast<uint32_t>(4 + 3 * layer);
}

}  // namespace gf
