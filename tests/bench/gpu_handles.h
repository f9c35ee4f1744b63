#pragma once

// The library as the benchmarks of a GPU use it: handles that free themselves, calls that throw.

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "grassflow.h"

inline void check(gf_status status, const gf_context* context, const char* call) {
  if (status == GF_OK) return;
  throw std::runtime_error(std::string(call) + ": " + gf_status_name(status) + ": " +
                           (context ? gf_context_error(context) : ""));
}

// A handle that frees itself.
template <class T, void (*kFree)(T*)>
struct Handle {
  T* p = nullptr;
  Handle() = default;
  ~Handle() { kFree(p); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};
using Context = Handle<gf_context, gf_context_free>;
using Tokenizer = Handle<gf_tokenizer, gf_tokenizer_free>;
using Dataset = Handle<gf_dataset, gf_dataset_free>;
using Model = Handle<gf_model, gf_model_free>;
using Trainer = Handle<gf_trainer, gf_trainer_free>;

inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Seconds of `count` steps that are all over at the end: to ask for the state waits for them.
inline double time_steps(gf_context* context, gf_trainer* trainer, int64_t count) {
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < count; ++i) {
    check(gf_train_step(trainer, nullptr), context, "gf_train_step");
  }
  gf_train_state state = {};
  state.struct_size = sizeof state;
  check(gf_trainer_get_state(trainer, &state), context, "gf_trainer_get_state");
  return seconds_since(begin);
}
