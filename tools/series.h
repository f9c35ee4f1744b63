#pragma once

#include <cstddef>
#include <string>

namespace tools {

// A kind of model: its name in tables and its colour in pictures, where bars that stand together
// have this order. The colours are those that people with any colour vision tell apart: M. Okabe
// and K. Ito, "Color universal design".
struct Series {
  const char* name;
  const char* model;
  const char* schedule;  // of the windows, as in config.json; "" for a transformer
  const char* color;
};

inline constexpr Series kSeries[] = {
    {"transformer", "transformer", "", "#0072B2"},
    {"Grassmann, all windows", "grassmann", "all", "#D55E00"},
    {"Grassmann, one window per layer", "grassmann", "per-layer", "#009E73"},
    {"Grassmann+", "grassmann+", "all", "#000000"},
    {"Grassmann, other windows", "grassmann", "other", "#999999"},
    {"Grassmann, as published", "grassmann", "not told", "#CC79A7"},
};

inline size_t find_series(const std::string& model, const std::string& schedule) {
  for (size_t s = 0; s < std::size(kSeries); ++s) {
    if (model == kSeries[s].model && schedule == kSeries[s].schedule) return s;
  }
  return std::size(kSeries) - 1;
}

}  // namespace tools
