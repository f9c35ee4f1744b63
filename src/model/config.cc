#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/error.h"

namespace gf {
namespace {

constexpr int32_t kPublishedWindows[] = {1, 2, 4, 8, 12, 16};
constexpr int32_t kPlusWindows[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
// No published model comes near; beyond it sizes would overflow long before memory is asked for.
constexpr int32_t kLargest = 1 << 24;

void require_range(const char* field, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "%s is %lld, expected %lld to %lld", field,
                static_cast<long long>(value), static_cast<long long>(least),
                static_cast<long long>(most));
  }
}

void check_sizes(const gf_model_config& c) {
  if (c.mixer != GF_MIXER_GRASSMANN && c.mixer != GF_MIXER_TRANSFORMER) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "mixer is %d, expected 0 (Grassmann) or 1 (transformer)",
                static_cast<int>(c.mixer));
  }
  require_range("vocab_size", c.vocab_size, 1, kLargest);
  require_range("max_seq_len", c.max_seq_len, 1, kLargest);
  require_range("num_layers", c.num_layers, 1, 4096);
  require_range("model_dim", c.model_dim, 1, 1 << 16);
  require_range("ff_dim", c.ff_dim, 1, 1 << 18);
  require_range("num_classes", c.num_classes, 0, GF_MAX_CLASSES);
  if (!(c.dropout >= 0.0f && c.dropout < 1.0f)) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "dropout is %g, expected 0 <= dropout < 1",
                static_cast<double>(c.dropout));
  }
}

void check_attention(const gf_model_config& c) {
  require_range("num_heads", c.num_heads, 1, c.model_dim);
  if (c.model_dim % c.num_heads != 0) {
    throw_error(GF_ERROR_INVALID_ARGUMENT,
                "model_dim is %d, expected a multiple of num_heads, which is %d", c.model_dim,
                c.num_heads);
  }
}

template <size_t kCount>
void set_windows(gf_model_config& c, const int32_t (&windows)[kCount]) {
  c.num_windows = static_cast<int32_t>(kCount);
  std::copy(std::begin(windows), std::end(windows), c.windows);
}

void check_windows(const gf_model_config& c) {
  require_range("reduced_dim", c.reduced_dim, 2, 1 << 12);
  require_range("grassmann_heads", c.grassmann_heads, 1, 1 << 10);
  if (c.window_weights != GF_WINDOW_WEIGHTS_MEAN && c.window_weights != GF_WINDOW_WEIGHTS_LEARNED) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "window_weights is %d, expected 0 (mean) or 1 (learned)",
                static_cast<int>(c.window_weights));
  }
  require_range("num_windows", c.num_windows, 1, GF_MAX_WINDOWS);
  if (c.window_schedule != GF_WINDOWS_ALL && c.window_schedule != GF_WINDOWS_PER_LAYER) {
    throw_error(GF_ERROR_INVALID_ARGUMENT,
                "window_schedule is %d, expected 0 (all) or 1 (per layer)",
                static_cast<int>(c.window_schedule));
  }
  for (int32_t i = 0; i < c.num_windows; ++i) {
    if (c.windows[i] < 1) {
      throw_error(GF_ERROR_INVALID_ARGUMENT, "windows[%d] is %d, expected an offset of at least 1",
                  i, c.windows[i]);
    }
  }
}

// The whole list, or this layer's share of it: the list divided over the layers in order, one
// offset each where it has as many entries as there are layers, the same for neighbours where it
// has fewer.
std::vector<int32_t> windows_of_layer(const gf_model_config& c, int64_t layer) {
  const int32_t* begin = c.windows;
  if (c.window_schedule == GF_WINDOWS_ALL) return {begin, begin + c.num_windows};
  const int64_t first = layer * c.num_windows / c.num_layers;
  const int64_t last = std::max(first + 1, (layer + 1) * c.num_windows / c.num_layers);
  return {begin + first, begin + last};
}

}  // namespace

ModelConfig::ModelConfig(const gf_model_config& c) : c_(c) {
  c_.struct_size = sizeof c_;
  check_sizes(c_);
  if (!grassmann()) {
    check_attention(c_);
    return;
  }
  if (c_.num_windows == 0) set_windows(c_, kPublishedWindows);
  if (c_.grassmann_heads == 0) c_.grassmann_heads = 1;
  check_windows(c_);
  for (int64_t layer = 0; layer < layers(); ++layer) {
    windows_.push_back(windows_of_layer(c_, layer));
  }
}

gf_model_config default_config(gf_mixer mixer) {
  gf_model_config c = {};
  c.struct_size = sizeof c;
  c.mixer = mixer;
  c.max_seq_len = 256;
  c.num_layers = 6;
  c.model_dim = 256;
  c.num_heads = 4;
  c.reduced_dim = 32;
  c.ff_dim = 1024;
  c.dropout = 0.1f;
  c.window_schedule = GF_WINDOWS_ALL;
  return c;
}

void set_grassmann_plus(gf_model_config& c) {
  c.window_schedule = GF_WINDOWS_ALL;
  set_windows(c, kPlusWindows);
  c.window_weights = GF_WINDOW_WEIGHTS_LEARNED;
  c.grassmann_heads = 4;
  c.reduced_dim = 16;
}

}  // namespace gf
