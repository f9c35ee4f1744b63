#pragma once

#include <grassflow.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "handle.h"
#include "json_file.h"

namespace tools {

// Everything that decides what a training run computes. The values here are the preset "study" for
// language models.
struct TrainOptions {
  std::string preset = "study";
  // Data
  std::string task = "wikitext";
  std::string tokenizer = "bert";
  std::string data;
  // Model
  std::string model = "grassmann";
  int64_t max_seq_len = 128;
  int64_t num_layers = 6;
  int64_t model_dim = 256;
  int64_t num_heads = 4;
  int64_t grassmann_heads = 1;
  int64_t reduced_dim = 32;
  int64_t ff_dim = 1024;
  double dropout = 0.1;
  std::vector<int32_t> windows = {1, 2, 4, 8, 12, 16};
  std::string window_schedule = "all";
  std::string window_weights = "mean";
  // Training
  int64_t batch_size = 32;
  int64_t epochs = 20;
  int64_t max_steps = 0;
  double lr = 6e-4;
  double min_lr = 6e-5;
  int64_t warmup_steps = 100;
  std::string schedule = "cosine";
  double weight_decay = 0.01;
  double grad_clip = 1;
  int64_t seed = 0;
  std::string precision;
};

// One option: the flag of the command line, the key of config.json and the member it stands for.
struct Setting {
  std::string flag;  // "--max-seq-len"
  const char* group;
  const char* value_name;
  std::string help;
  bool fixed;              // part of what a run computes: may not change on --resume
  bool grassmann = false;  // read by a Grassmann model alone
  std::function<void(TrainOptions&, const std::string& text)> parse;
  std::function<void(TrainOptions&, const Json&)> set;
  std::function<Json(const TrainOptions&)> get;

  std::string key() const;       // "max_seq_len"
  std::string standard() const;  // value of a fresh TrainOptions, as it would be typed
};

const std::vector<Setting>& settings();

// The options that these three names stand for, where nothing else is asked for. Those that depend
// on the length of sequences are set by resolve().
TrainOptions standard_options(const std::string& preset, const std::string& task,
                              const std::string& model);

// A flag as it was given.
struct GivenSetting {
  const Setting* setting;
  std::string text;
};

// The options of a new run: what the flags name as preset, task and model, then the flags over it.
TrainOptions resolve(const std::vector<GivenSetting>& given);

// The options that a config.json holds. Throws Failure naming the one that is not there; those of
// heads and weights, which runs of an earlier version have not, are then the published model's.
TrainOptions options_of(const Json& config);

// The options of a run that goes on: its own. A flag that asks for something else is a UsageError.
TrainOptions resolve_resumed(const std::vector<GivenSetting>& given, const Json& config);

Json to_json(const TrainOptions& options);

// A config.json without what a Grassmann model alone reads.
Json without_grassmann(Json config);

// Flags that give a run the options of this config.json: the preset, and what differs from it.
// Where the corpora lie is left out, and what the model does not read.
std::vector<std::string> flags_of(const Json& config);

// The library's structs. A shape that makes no model is a UsageError.
gf_model_config model_config(const Context& context, const TrainOptions& options,
                             int32_t vocab_size);
gf_train_options optimizer_options(const TrainOptions& options);

}  // namespace tools
