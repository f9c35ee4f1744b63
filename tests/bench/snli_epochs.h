#pragma once

// An epoch of both pair classifiers by the study's recipe, of a file of SNLI's train split and of
// that repeated to as many pairs as the whole has.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "gpu_handles.h"

constexpr int64_t kWholeSnli = 549'367;  // labelled pairs of the train split

struct SnliTimes {
  double first = 0;    // seconds of the first epoch, in which shapes are recorded
  double epoch = 0;    // of a later one, the median
  double eval_ms = 0;  // of the same pairs, once
};

inline std::string read_text(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty()) throw std::runtime_error(std::string(path) + ": no such file, or empty");
  if (text.back() != '\n') text += '\n';
  return text;
}

// Lines of the text over and over again, `lines` in all.
inline std::string repeated(const std::string& text, int64_t lines) {
  std::string result;
  for (size_t at = 0; lines > 0; --lines) {
    const size_t end = text.find('\n', at) + 1;
    result.append(text, at, end - at);
    at = end == text.size() ? 0 : end;
  }
  return result;
}

inline SnliTimes time_snli(gf_context* context, gf_mixer mixer, const gf_dataset* dataset,
                           int rounds) {
  gf_model_config config;
  gf_model_config_init(&config, mixer);
  config.vocab_size = 30522;
  config.max_seq_len = 128;
  config.num_heads = 8;
  config.num_classes = GF_SNLI_CLASSES;
  Model model;
  check(gf_model_create(context, &config, 1, &model.p), context, "gf_model_create");
  gf_train_options options;
  gf_train_options_init(&options);
  options.lr = 3e-4;
  options.min_lr = 0;
  options.epochs = 1'000'000;
  SnliTimes times;
  {
    Trainer trainer;
    check(gf_trainer_create(model.p, dataset, &options, &trainer.p), context, "gf_trainer_create");
    gf_train_state state = {};
    state.struct_size = sizeof state;
    check(gf_trainer_get_state(trainer.p, &state), context, "gf_trainer_get_state");
    times.first = time_steps(context, trainer.p, state.steps_per_epoch);
    std::vector<double> later;
    for (int i = 0; i < rounds; ++i) {
      later.push_back(time_steps(context, trainer.p, state.steps_per_epoch));
    }
    times.epoch = median(later);
  }
  gf_eval_report report = {};
  report.struct_size = sizeof report;
  check(gf_eval(model.p, dataset, 32, &report), context, "gf_eval");
  times.eval_ms = 1e3 * report.seconds;
  return times;
}

inline void run_snli(gf_context* context, const char* path, int rounds, bool json) {
  const std::string data = (std::filesystem::path(path).parent_path() / "..").string();
  Tokenizer tokenizer;
  check(gf_tokenizer_load(context, "bert", data.c_str(), &tokenizer.p), context,
        "gf_tokenizer_load");
  const std::string text = read_text(path);
  if (!json) {
    std::printf("%s\n%-11s %8s %9s %8s %10s %10s %14s %10s\n", gf_context_description(context),
                "kind", "pairs", "padding", "load s", "first s", "epoch s", "real tokens/s",
                "eval ms");
  }
  for (const bool whole : {false, true}) {
    const auto begin = std::chrono::steady_clock::now();
    const std::string lines = whole ? repeated(text, kWholeSnli) : text;
    Dataset dataset;
    check(gf_dataset_from_snli_text(context, tokenizer.p, lines.data(), lines.size(), 128, nullptr,
                                    &dataset.p),
          context, "gf_dataset_from_snli_text");
    const double load = seconds_since(begin);
    gf_dataset_info info = {};
    info.struct_size = sizeof info;
    check(gf_dataset_get_info(dataset.p, &info), context, "gf_dataset_get_info");
    const double padding =
        1 - static_cast<double>(info.tokens) / static_cast<double>(info.padded_tokens);
    for (const gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
      const char* kind = mixer == GF_MIXER_GRASSMANN ? "grassmann" : "transformer";
      const SnliTimes t = time_snli(context, mixer, dataset.p, whole ? 1 : rounds);
      const double speed = static_cast<double>(info.tokens) / t.epoch;
      const auto pairs = static_cast<long long>(info.chunks);
      if (json) {
        std::printf(
            "{\"kind\": \"%s\", \"pairs\": %lld, \"padded_share\": %.4f, \"load_s\": %.2f, "
            "\"first_epoch_s\": %.4f, \"epoch_s\": %.4f, \"tokens_per_s\": %.0f, "
            "\"eval_ms\": %.2f}\n",
            kind, pairs, padding, load, t.first, t.epoch, speed, t.eval_ms);
      } else {
        std::printf("%-11s %8lld %7.2f %% %8.2f %10.4f %10.4f %14.0f %10.2f\n", kind, pairs,
                    100 * padding, load, t.first, t.epoch, speed, t.eval_ms);
      }
      std::fflush(stdout);
    }
  }
}
