#include "train_options.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "command_line.h"
#include "data_source.h"
#include "format.h"

namespace tools {
namespace {

constexpr double kHuge = std::numeric_limits<double>::max();
constexpr int64_t kLeastPairLength = 8;  // of gf_dataset_from_snli_file()
constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();
constexpr const char *kData = "Data", *kModel = "Model", *kTraining = "Training";
// The config.json of an earlier version lacks these.
constexpr const char* kAddedKeys[] = {"grassmann_heads", "window_weights"};

// A setting whose value goes to and from JSON as it is; `parse` makes it from a text.
template <class T, class Parse>
Setting setting(const char* flag, T TrainOptions::*member, const char* group,
                const char* value_name, std::string help, const Parse& parse) {
  return {flag,
          group,
          value_name,
          std::move(help),
          true,
          false,
          [=](TrainOptions& o, const std::string& text) { o.*member = parse(flag, text); },
          [=](TrainOptions& o, const Json& value) { o.*member = value.get<T>(); },
          [=](const TrainOptions& o) { return Json(o.*member); }};
}

Setting integer(const char* flag, int64_t TrainOptions::*member, const char* group, int64_t least,
                const char* help, int64_t greatest = kMaxInt) {
  return setting(flag, member, group, "N", help, [=](const char* name, const std::string& text) {
    return parse_integer(name, text, least, greatest);
  });
}

Setting number(const char* flag, double TrainOptions::*member, const char* group, double least,
               double greatest, const char* expected, const char* help) {
  return setting(flag, member, group, "X", help, [=](const char* name, const std::string& text) {
    return parse_number(name, text, least, greatest, expected);
  });
}

Setting choice(const char* flag, std::string TrainOptions::*member, const char* group,
               const std::vector<std::string>& choices, const std::string& help) {
  return setting(
      flag, member, group, "NAME", help + one_of(choices),
      [=](const char* name, const std::string& text) { return parse_choice(name, text, choices); });
}

Setting data_setting() {
  Setting data = setting("--data", &TrainOptions::data, kData, "PATH",
                         "directory of the corpora, or the file of --task text; without it "
                         "$GF_DATA_DIR, then ./data",
                         [](const char*, const std::string& text) {
                           return std::filesystem::absolute(text).lexically_normal().string();
                         });
  data.fixed = false;
  return data;
}

Setting of_grassmann(Setting setting) {
  setting.grassmann = true;
  return setting;
}

std::vector<Setting> data_settings() {
  using O = TrainOptions;
  return {
      choice("--preset", &O::preset, "Recipe", {"study", "document", "demo"},
             "sets every option below, which flags then override: "),
      choice("--task", &O::task, kData, task_names(), "what to train on: "),
      data_setting(),
      choice("--tokenizer", &O::tokenizer, kData, {"bert", "gpt2", "byte"}, "text to ids: "),
  };
}

std::vector<Setting> model_settings() {
  using O = TrainOptions;
  return {
      choice("--model", &O::model, kModel, {"grassmann", "grassmann+", "transformer"},
             "grassmann+ has more windows, whose weights are learned, and heads: "),
      integer("--max-seq-len", &O::max_seq_len, kModel, 2, "ids of one sequence, L"),
      integer("--num-layers", &O::num_layers, kModel, 1, "layers, N"),
      integer("--model-dim", &O::model_dim, kModel, 1, "width, D"),
      integer("--num-heads", &O::num_heads, kModel, 1, "attention heads, H; divides D"),
      of_grassmann(integer("--grassmann-heads", &O::grassmann_heads, kModel, 1,
                           "heads of the Grassmann mixer, each with vectors of its own")),
      of_grassmann(integer("--reduced-dim", &O::reduced_dim, kModel, 2,
                           "width of a Grassmann head's vectors, r")),
      integer("--ff-dim", &O::ff_dim, kModel, 1, "width of the feed-forward layer, F"),
      number("--dropout", &O::dropout, kModel, 0, 0.999, "a number from 0 to 0.999",
             "probability of dropping an element"),
      of_grassmann(setting("--windows", &O::windows, kModel, "LIST",
                           "offsets a Grassmann layer looks back by",
                           [](const char* flag, const std::string& text) {
                             return parse_integers(flag, text, 1, GF_MAX_WINDOWS);
                           })),
      of_grassmann(choice("--window-schedule", &O::window_schedule, kModel, {"all", "per-layer"},
                          "every layer has all windows, or each layer one of them: ")),
      of_grassmann(choice("--window-weights", &O::window_weights, kModel, {"mean", "learned"},
                          "of a layer's windows: ")),
  };
}

std::vector<Setting> training_settings() {
  using O = TrainOptions;
  constexpr double kSmallest = std::numeric_limits<double>::min();
  return {
      integer("--batch-size", &O::batch_size, kTraining, 1,
              "sequences of a step; the study takes 16 where L is above 128"),
      integer("--epochs", &O::epochs, kTraining, 1, "passes over the data"),
      integer("--max-steps", &O::max_steps, kTraining, 0, "end after so many steps; 0: never",
              std::numeric_limits<int64_t>::max()),
      number("--lr", &O::lr, kTraining, kSmallest, kHuge, "a number above 0",
             "highest learning rate"),
      number("--min-lr", &O::min_lr, kTraining, 0, kHuge, "a number, at least 0",
             "last learning rate of the cosine"),
      integer("--warmup-steps", &O::warmup_steps, kTraining, 0, "steps of linear warm-up"),
      choice("--schedule", &O::schedule, kTraining, {"cosine", "cosine-epoch", "constant"},
             "learning rate after the warm-up; cosine-epoch is constant inside an epoch: "),
      number("--weight-decay", &O::weight_decay, kTraining, 0, kHuge, "a number, at least 0",
             "of AdamW, for every parameter"),
      number("--grad-clip", &O::grad_clip, kTraining, 0, kHuge, "a number, at least 0",
             "largest gradient norm; 0: no clipping"),
      integer("--seed", &O::seed, kTraining, 0, "of the weights, the shuffle and dropout",
              std::numeric_limits<int64_t>::max()),
      choice("--precision", &O::precision, kTraining, {"fp32", "bf16"},
             "of matrix products; without it the device's own: "),
  };
}

std::vector<Setting> make_settings() {
  std::vector<Setting> all;
  for (const auto& group : {data_settings(), model_settings(), training_settings()}) {
    all.insert(all.end(), group.begin(), group.end());
  }
  return all;
}

void set_document(TrainOptions& options) {
  options.tokenizer = "gpt2";
  options.max_seq_len = 256;
  options.num_heads = 8;
  options.lr = 3e-4;
  options.min_lr = 0;
  options.warmup_steps = 0;
  options.schedule = "cosine-epoch";
}

void set_demo(TrainOptions& options) {
  options.task = "sample";
  options.tokenizer = "byte";
  options.num_layers = 4;
  options.model_dim = 64;
  options.reduced_dim = 16;
  options.ff_dim = 256;
  options.windows = {1, 2, 4, 8};
  options.batch_size = 16;
  options.dropout = 0;
  options.epochs = 4;
  options.lr = 5e-3;
  options.min_lr = 5e-4;
  options.warmup_steps = 20;
}

// The library's grassmann+. Its r is that of the study's width; another preset's is smaller in the
// same measure as its published model's.
void set_grassmann_plus(TrainOptions& options) {
  gf_model_config plus;
  gf_model_config_init(&plus, GF_MIXER_GRASSMANN);
  gf_model_config_grassmann_plus(&plus);
  options.grassmann_heads = plus.grassmann_heads;
  options.reduced_dim = plus.reduced_dim * options.reduced_dim / TrainOptions{}.reduced_dim;
  options.windows.assign(plus.windows, plus.windows + plus.num_windows);
  options.window_schedule = schedule_name(plus.window_schedule);
  options.window_weights = weights_name(plus.window_weights);
}

const GivenSetting* find(const std::vector<GivenSetting>& given, const char* flag) {
  const auto match = std::find_if(given.begin(), given.end(),
                                  [&](const GivenSetting& g) { return g.setting->flag == flag; });
  return match == given.end() ? nullptr : &*match;
}

gf_schedule schedule_of(const std::string& name) {
  if (name == "cosine-epoch") return GF_SCHEDULE_COSINE_EPOCH;
  return name == "constant" ? GF_SCHEDULE_CONSTANT : GF_SCHEDULE_COSINE;
}

// As a person would type it.
std::string to_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) {
    const auto windows = value.get<std::vector<int32_t>>();
    return format_windows(windows.data(), static_cast<int64_t>(windows.size()));
  }
  return value.dump();
}

}  // namespace

std::string Setting::key() const {
  std::string name = flag.substr(2);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::string Setting::standard() const {
  return to_text(get(TrainOptions{}));
}

const std::vector<Setting>& settings() {
  static const std::vector<Setting> table = make_settings();
  return table;
}

TrainOptions standard_options(const std::string& preset, const std::string& task,
                              const std::string& model) {
  const bool pairs = has_pairs(task);
  TrainOptions options;
  options.preset = preset;
  if (preset == "document") set_document(options);
  if (preset == "demo") set_demo(options);
  if (preset == "study" && pairs) {
    options.num_heads = 8;
    options.lr = 3e-4;
    options.min_lr = 0;
  }
  if (preset == "demo" && pairs) {  // of which there are more
    options.epochs = 1;
    options.lr = 1e-3;
    options.min_lr = 1e-4;
  }
  options.model = model;
  if (model == "grassmann+") set_grassmann_plus(options);
  return options;
}

TrainOptions resolve(const std::vector<GivenSetting>& given) {
  TrainOptions chosen;
  for (const char* flag : {"--preset", "--task", "--model"}) {
    if (const GivenSetting* name = find(given, flag)) name->setting->parse(chosen, name->text);
  }
  TrainOptions options = standard_options(chosen.preset, chosen.task, chosen.model);
  for (const GivenSetting& g : given) g.setting->parse(options, g.text);
  if (options.preset == "study" && !find(given, "--batch-size") && !has_pairs(options.task)) {
    options.batch_size = options.max_seq_len > 128 ? 16 : 32;
  }
  if (has_pairs(options.task) && options.max_seq_len < kLeastPairLength) {
    throw UsageError(format("--max-seq-len %lld is too short for pairs: expected at least %lld",
                            static_cast<long long>(options.max_seq_len),
                            static_cast<long long>(kLeastPairLength)));
  }
  // The demo needs no files, of pairs neither.
  if (options.preset == "demo" && options.task == "snli" && options.data.empty()) {
    options.task = "sample-pairs";
  }
  return options;
}

TrainOptions options_of(const Json& config) {
  TrainOptions options;
  for (const Setting& s : settings()) {
    const bool added = std::count(std::begin(kAddedKeys), std::end(kAddedKeys), s.key()) > 0;
    if (added && !config.contains(s.key())) continue;
    try {
      s.set(options, config.at(s.key()));
    } catch (const Json::exception&) {
      throw Failure("the run's config.json is damaged: no valid value for " + s.key());
    }
  }
  return options;
}

TrainOptions resolve_resumed(const std::vector<GivenSetting>& given, const Json& config) {
  const TrainOptions earlier = options_of(config);
  TrainOptions options = earlier;
  for (const GivenSetting& g : given) {
    g.setting->parse(options, g.text);
    const Json before = g.setting->get(earlier), now = g.setting->get(options);
    if (g.setting->fixed && now != before) {
      throw UsageError(g.setting->flag + " " + g.text +
                       " conflicts with the run to resume, which has " + to_text(before) +
                       ": leave the flag out, or start a new run");
    }
  }
  return options;
}

Json to_json(const TrainOptions& options) {
  Json json;
  for (const Setting& s : settings()) json[s.key()] = s.get(options);
  return json;
}

Json without_grassmann(Json config) {
  for (const Setting& s : settings()) {
    if (s.grassmann) config.erase(s.key());
  }
  return config;
}

std::vector<std::string> flags_of(const Json& config) {
  const TrainOptions options = options_of(config);
  std::vector<GivenSetting> given;
  std::vector<std::string> flags;
  for (const Setting& s : settings()) {
    const std::string text = to_text(s.get(options));
    // Two decide about the others; those that are as the preset has them need no flag.
    const bool decides = s.flag == "--preset" || s.flag == "--max-seq-len";
    const bool differs = s.get(options) != s.get(resolve(given));
    if (!s.fixed || !(decides || differs)) continue;
    if (s.grassmann && options.model == "transformer") continue;
    given.push_back({&s, text});
    flags.insert(flags.end(), {s.flag, text});
  }
  return flags;
}

gf_model_config model_config(const Context& context, const TrainOptions& options,
                             int32_t vocab_size) {
  gf_model_config config;
  gf_model_config_init(&config,
                       options.model == "transformer" ? GF_MIXER_TRANSFORMER : GF_MIXER_GRASSMANN);
  config.vocab_size = vocab_size;
  config.max_seq_len = static_cast<int32_t>(options.max_seq_len);
  config.num_layers = static_cast<int32_t>(options.num_layers);
  config.model_dim = static_cast<int32_t>(options.model_dim);
  config.num_heads = static_cast<int32_t>(options.num_heads);
  config.grassmann_heads = static_cast<int32_t>(options.grassmann_heads);
  config.reduced_dim = static_cast<int32_t>(options.reduced_dim);
  config.ff_dim = static_cast<int32_t>(options.ff_dim);
  config.num_classes = has_pairs(options.task) ? GF_SNLI_CLASSES : 0;
  config.dropout = static_cast<float>(options.dropout);
  config.window_schedule =
      options.window_schedule == "per-layer" ? GF_WINDOWS_PER_LAYER : GF_WINDOWS_ALL;
  config.window_weights =
      options.window_weights == "learned" ? GF_WINDOW_WEIGHTS_LEARNED : GF_WINDOW_WEIGHTS_MEAN;
  config.num_windows = static_cast<int32_t>(options.windows.size());
  std::copy(options.windows.begin(), options.windows.end(), config.windows);
  if (options.model == "transformer" && options.model_dim % options.num_heads != 0) {
    throw UsageError(format("--num-heads %lld does not divide --model-dim %lld",
                            static_cast<long long>(options.num_heads),
                            static_cast<long long>(options.model_dim)));
  }
  if (gf_model_config_count(context.get(), &config, nullptr, nullptr) < 0) {
    throw UsageError(gf_context_error(context.get()));
  }
  return config;
}

gf_train_options optimizer_options(const TrainOptions& options) {
  gf_train_options result;
  gf_train_options_init(&result);
  result.batch_size = static_cast<int32_t>(options.batch_size);
  result.epochs = static_cast<int32_t>(options.epochs);
  result.max_steps = options.max_steps;
  result.lr = options.lr;
  result.min_lr = options.min_lr;
  result.warmup_steps = options.warmup_steps;
  result.schedule = schedule_of(options.schedule);
  result.weight_decay = options.weight_decay;
  result.grad_clip = options.grad_clip;
  result.seed = static_cast<uint64_t>(options.seed);
  return result;
}

}  // namespace tools
