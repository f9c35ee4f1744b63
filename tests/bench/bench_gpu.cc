// Training steps and evaluation on a GPU through the C API alone, as a user's program would run
// them: random ids, batches from a dataset on the device, no report asked of a step. gpu.sh runs it
// beside PyTorch; `bench_gpu --help` lists the options.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "gpu_handles.h"
#include "snli_epochs.h"

namespace {

constexpr int32_t kVocabulary = 30522, kPaddedVocabulary = 30528;
constexpr int64_t kDim = 256, kFf = 1024, kReduced = 32;
constexpr int64_t kBatches = 64;          // of the training data: every batch is whole
constexpr int64_t kEvalTokens = 4 << 20;  // enough to hide what an evaluation sets up

// Ceilings of one H200, as measured: bf16 products and device memory.
constexpr double kOperationsPerSecond = 709e12, kBytesPerSecond = 4.3e12;
constexpr double kOptimizerBytes = 34;  // a parameter: norm, AdamW and the bf16 copy

constexpr char kHelp[] =
    "Usage: bench_gpu [OPTION]...\n\n"
    "  --shape KIND,L,N,B  a case: grassmann or transformer, ids of a sequence, layers,\n"
    "                      sequences of a batch; repeatable; default: the study's six\n"
    "  --snli FILE         an epoch of pair classifiers instead: FILE of SNLI's train split and "
    "it\n"
    "                      repeated to the size of the whole, vocabulary in the directory above\n"
    "  --scaling           both kinds at T = 256 to 65,536 with 65,536 tokens a step, N = 6\n"
    "  --device NAME       default cuda\n"
    "  --precision NAME    bf16 or fp32; default: the device's own\n"
    "  --rounds COUNT      rounds, of which the median counts; default 7\n"
    "  --quick             few steps a round: to see that it works\n"
    "  --no-eval           training only\n"
    "  --json              one JSON line a case\n";

struct Case {
  gf_mixer mixer;
  int32_t length, layers, batch;

  const char* kind() const { return mixer == GF_MIXER_GRASSMANN ? "grassmann" : "transformer"; }
  int64_t tokens() const { return int64_t{batch} * length; }
};

struct Options {
  std::vector<Case> cases;
  const char* device = "cuda";
  const char* precision = nullptr;
  const char* snli = nullptr;
  int rounds = 7;
  bool quick = false, evaluates = true, json = false;
};

struct Result {
  double ms = 0, fastest_ms = 0, eval_ms = 0;  // of a batch
  int64_t promised_bytes = 0, parameters = 0;
};

// ---- The library -------------------------------------------------------------------------------

void open(const Options& options, Context& context) {
  gf_context_options o;
  gf_context_options_init(&o);
  o.device = options.device;
  o.precision = options.precision;
  char error[512] = "";
  const gf_status status = gf_context_create(&o, &context.p, error, sizeof error);
  if (status != GF_OK) throw std::runtime_error(std::string(gf_status_name(status)) + ": " + error);
}

void make_random_dataset(gf_context* context, int64_t chunks, int32_t length, Dataset& dataset) {
  std::vector<int32_t> ids(static_cast<size_t>(chunks * length));
  uint32_t bits = 1;  // xorshift32: Marsaglia, "Xorshift RNGs" (2003)
  for (int32_t& id : ids) {
    bits ^= bits << 13;
    bits ^= bits >> 17;
    bits ^= bits << 5;
    id = static_cast<int32_t>(bits % kVocabulary);
  }
  check(gf_dataset_from_ids(context, ids.data(), ids.size(), length, &dataset.p), context,
        "gf_dataset_from_ids");
}

// ---- Measurement
// ---------------------------------------------------------------------------------

void measure_training(const Options& options, const Case& c, gf_context* context, gf_model* model,
                      Result& result) {
  Dataset dataset;
  make_random_dataset(context, kBatches * c.batch, c.length, dataset);
  gf_train_options o;
  gf_train_options_init(&o);
  o.batch_size = c.batch;
  o.epochs = 1'000'000;
  Trainer trainer;
  check(gf_trainer_create(model, dataset.p, &o, &trainer.p), context, "gf_trainer_create");
  // The first steps allocate, plan and record; then some to learn how long one takes.
  time_steps(context, trainer.p, options.quick ? 3 : 20);
  const int64_t trial = options.quick ? 2 : 30;
  const double seconds = time_steps(context, trainer.p, trial) / static_cast<double>(trial);
  const int64_t count =
      options.quick ? 2 : std::clamp<int64_t>(static_cast<int64_t>(0.3 / seconds), 50, 1000);
  std::vector<double> times;
  for (int round = 0; round < options.rounds; ++round) {
    times.push_back(time_steps(context, trainer.p, count) * 1e3 / static_cast<double>(count));
  }
  result.ms = median(times);
  result.fastest_ms = *std::min_element(times.begin(), times.end());
}

// Whole calls: what an evaluation allocates, uploads and records is part of its time.
void measure_evaluation(const Options& options, const Case& c, gf_context* context, gf_model* model,
                        Result& result) {
  const int64_t batches = options.quick ? 2 : std::max<int64_t>(kEvalTokens / c.tokens(), 16);
  Dataset dataset;
  make_random_dataset(context, batches * c.batch, c.length, dataset);
  std::vector<double> times;
  for (int round = 0; round <= options.rounds; ++round) {
    gf_eval_report report = {};
    report.struct_size = sizeof report;
    const auto begin = std::chrono::steady_clock::now();
    check(gf_eval(model, dataset.p, c.batch, &report), context, "gf_eval");
    if (round > 0) times.push_back(seconds_since(begin) * 1e3 / static_cast<double>(batches));
  }
  result.eval_ms = median(times);
}

Result measure(const Options& options, const Case& c, gf_context* context) {
  gf_model_config config;
  gf_model_config_init(&config, c.mixer);
  config.vocab_size = kVocabulary;
  config.max_seq_len = c.length;
  config.num_layers = c.layers;
  Result result;
  check(gf_model_config_bytes(context, &config, c.batch, c.length, nullptr, &result.promised_bytes),
        context, "gf_model_config_bytes");
  check(gf_model_config_count(context, &config, nullptr, &result.parameters), context,
        "gf_model_config_count");
  Model model;
  check(gf_model_create(context, &config, 1, &model.p), context, "gf_model_create");
  measure_training(options, c, context, model.p, result);
  if (options.evaluates) measure_evaluation(options, c, context, model.p, result);
  return result;
}

// ---- The floor
// -----------------------------------------------------------------------------------

// Operations of the matrix products of a forward pass, a token.
double forward_operations(const Case& c) {
  const int64_t feed_forward = 2 * kDim * kFf;
  const int64_t mixer =
      c.mixer == GF_MIXER_GRASSMANN
          ? kDim * kReduced + kDim * kReduced * (kReduced - 1) / 2 + 2 * kDim * kDim
          : 4 * kDim * kDim;
  return 2.0 * static_cast<double>(c.layers * (feed_forward + mixer) + kDim * kPaddedVocabulary);
}

// Two causal products of T / 2 tokens on average.
double attention_operations(const Case& c) {
  if (c.mixer == GF_MIXER_GRASSMANN) return 0;
  return 2.0 * static_cast<double>(c.layers * c.length * kDim);
}

// Backward twice the products of forward; of attention, which makes its scores anew, 2.5 times.
double training_floor_ms(const Case& c, int64_t parameters) {
  const double operations = 3 * forward_operations(c) + 3.5 * attention_operations(c);
  return 1e3 * (static_cast<double>(c.tokens()) * operations / kOperationsPerSecond +
                static_cast<double>(parameters) * kOptimizerBytes / kBytesPerSecond);
}

double evaluation_floor_ms(const Case& c) {
  return 1e3 * static_cast<double>(c.tokens()) * (forward_operations(c) + attention_operations(c)) /
         kOperationsPerSecond;
}

// ---- Output
// --------------------------------------------------------------------------------------

double per_second(const Case& c, double ms) {
  return ms > 0 ? static_cast<double>(c.tokens()) * 1e3 / ms : 0;
}

void print(const Options& options, const Case& c, const Result& r, const gf_context* context) {
  const double floor = training_floor_ms(c, r.parameters), eval_floor = evaluation_floor_ms(c);
  if (options.json) {
    std::printf(
        "{\"side\": \"grassflow\", \"kind\": \"%s\", \"L\": %d, \"N\": %d, \"B\": %d, "
        "\"ms\": %.4f, \"fastest_ms\": %.4f, \"tokens_per_s\": %.0f, \"ns_per_token\": %.3f, "
        "\"floor_ms\": %.4f, \"eval_ms\": %.4f, \"eval_tokens_per_s\": %.0f, "
        "\"eval_floor_ms\": %.4f, \"promised_bytes\": %lld, \"parameters\": %lld, "
        "\"version\": \"%s\", \"device\": \"%s\"}\n",
        c.kind(), c.length, c.layers, c.batch, r.ms, r.fastest_ms, per_second(c, r.ms),
        r.ms * 1e6 / static_cast<double>(c.tokens()), floor, r.eval_ms, per_second(c, r.eval_ms),
        eval_floor, static_cast<long long>(r.promised_bytes), static_cast<long long>(r.parameters),
        gf_version_string(), gf_context_description(context));
  } else {
    std::printf("%-11s %6d %3d %4d %9.3f %9.3f %12.0f %9.2f %6.1f %% %12.0f %6.1f %% %9.3f\n",
                c.kind(), c.length, c.layers, c.batch, r.ms, r.fastest_ms, per_second(c, r.ms),
                r.ms * 1e6 / static_cast<double>(c.tokens()), 100 * floor / r.ms,
                per_second(c, r.eval_ms), r.eval_ms > 0 ? 100 * eval_floor / r.eval_ms : 0,
                static_cast<double>(r.promised_bytes) / (1 << 30));
  }
  std::fflush(stdout);
}

void print_heading(const gf_context* context) {
  std::printf("%s\n%-11s %6s %3s %4s %9s %9s %12s %9s %8s %12s %8s %9s\n",
              gf_context_description(context), "kind", "L", "N", "B", "ms", "fastest", "tokens/s",
              "ns/token", "floor", "eval tok/s", "floor", "GiB");
}

// ---- Command line
// --------------------------------------------------------------------------------

Case parse_case(const std::string& text) {
  const size_t comma = text.find(',');
  const std::string kind = text.substr(0, comma);
  Case c = {kind == "grassmann" ? GF_MIXER_GRASSMANN : GF_MIXER_TRANSFORMER, 0, 0, 0};
  char rest = 0;
  if ((kind != "grassmann" && kind != "transformer") || comma == std::string::npos ||
      std::sscanf(text.c_str() + comma, ",%d,%d,%d%c", &c.length, &c.layers, &c.batch, &rest) !=
          3 ||
      c.length < 2 || c.layers < 1 || c.batch < 1) {
    throw std::runtime_error("--shape " + text + ": expected grassmann|transformer,L,N,B");
  }
  return c;
}

void add_scaling(std::vector<Case>& cases) {
  constexpr int32_t kTokens = 65536;
  for (const gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
    for (int32_t length = 256; length <= kTokens; length *= 4) {
      cases.push_back({mixer, length, 6, kTokens / length});
    }
  }
}

void add_study(std::vector<Case>& cases) {
  for (const gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
    for (const auto& [length, layers, batch] :
         {std::array{128, 6, 32}, {256, 12, 16}, {256, 6, 128}}) {
      cases.push_back({mixer, length, layers, batch});
    }
  }
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&] {
      if (++i == argc) throw std::runtime_error(name + " wants a value");
      return argv[i];
    };
    if (name == "--shape") {
      o.cases.push_back(parse_case(value()));
    } else if (name == "--scaling") {
      add_scaling(o.cases);
    } else if (name == "--snli") {
      o.snli = value();
    } else if (name == "--device") {
      o.device = value();
    } else if (name == "--precision") {
      o.precision = value();
    } else if (name == "--rounds") {
      o.rounds = std::max(1, std::atoi(value()));
    } else if (name == "--quick") {
      o.quick = true;
    } else if (name == "--no-eval") {
      o.evaluates = false;
    } else if (name == "--json") {
      o.json = true;
    } else {
      throw std::runtime_error("unknown option " + name + "\n" + kHelp);
    }
  }
  if (o.cases.empty()) add_study(o.cases);
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && !std::strcmp(argv[1], "--help")) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  try {
    const Options options = parse(argc, argv);
    Context context;
    open(options, context);
    if (options.snli) {
      run_snli(context.p, options.snli, options.rounds, options.json);
      return 0;
    }
    if (!options.json) print_heading(context.p);
    for (const Case& c : options.cases)
      print(options, c, measure(options, c, context.p), context.p);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_gpu: %s\n", e.what());
    return 1;
  }
}
