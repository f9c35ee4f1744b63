// gf-train: trains a language model or a pair classifier and evaluates it.

#include <algorithm>
#include <optional>

#include "command_line.h"
#include "data_source.h"
#include "display.h"
#include "dry_run.h"
#include "format.h"
#include "interrupt.h"
#include "profile.h"
#include "run_directory.h"
#include "train_options.h"
#include "training.h"

namespace tools {
namespace {

constexpr const char* kName = "gf-train";

struct Command {
  TrainOptions options;
  DeviceFlags device;
  std::optional<RunDirectory> resumed;  // the run to go on with
  std::string output_dir;
  bool dry_run = false;
  bool profile = false;
  Display::Mode mode = Display::Mode::kHuman;
};

std::optional<Command> parse(int argc, char** argv) {
  CommandLine line(
      kName, "Trains and evaluates a Grassmann-flow or transformer model of text or pairs.",
      {"gf-train --preset demo                    a minute, no files needed",
       "gf-train --task text --data book.txt --tokenizer byte",
       "gf-train --task snli --model transformer",
       "gf-train --model transformer --max-seq-len 128 --dry-run", "gf-train --resume latest"});
  Command command;
  bool json = false, quiet = false;
  std::string resume;
  std::vector<std::string> texts(settings().size());
  std::vector<Option> flags;
  for (const Setting& setting : settings()) {
    line.group(setting.group);
    flags.push_back(line.option(setting.flag, setting.value_name, setting.help, texts[flags.size()],
                                setting.standard()));
  }
  line.group("Run");
  line.option("--output-dir", "DIR",
              "where checkpoints and results go; without it "
              "outputs/<time>/<model>_<task>_L<L>_N<N>",
              command.output_dir);
  const Option resumes = line.option_or_flag(
      "--resume", "[RUN]", "go on with a run: its directory, its checkpoint, or latest", resume);
  command.device.add_to(line);
  line.option("--dry-run", "print parameter counts and the bytes that training takes, and end",
              command.dry_run);
  line.option("--profile", "print the time that each operation takes in a step, and end",
              command.profile);
  line.option("--json", "one JSON object per line on standard output", json);
  line.option("--quiet", "print errors only", quiet);
  if (!line.parse(argc, argv)) return std::nullopt;

  std::vector<GivenSetting> given;
  for (size_t i = 0; i < flags.size(); ++i) {
    if (flags[i].given()) given.push_back({&settings()[i], texts[i]});
  }
  if (resumes.given()) {
    const std::string standard = command.output_dir.empty() ? "latest" : command.output_dir;
    command.resumed = RunDirectory::find(resume.empty() ? standard : resume);
    if (!command.output_dir.empty() &&
        !std::filesystem::equivalent(command.output_dir, command.resumed->path())) {
      throw UsageError("--output-dir conflicts with --resume: a run stays in its directory");
    }
    command.options = resolve_resumed(given, read_json(command.resumed->config()));
  } else {
    command.options = resolve(given);
  }
  command.mode = json    ? Display::Mode::kMachine
                 : quiet ? Display::Mode::kQuiet
                         : Display::Mode::kHuman;
  return command;
}

Splits load_splits(const Context& context, const TrainOptions& options, Corpus& corpus,
                   const Tokenizer& tokenizer) {
  const auto length = static_cast<int32_t>(options.max_seq_len);
  return {corpus.load(context, tokenizer, Split::kTrain, length),
          corpus.load(context, tokenizer, Split::kValidation, length),
          corpus.load(context, tokenizer, Split::kTest, length)};
}

// A fresh model that knows what gf-eval must know, or the last checkpoint's.
Model make_model(const Context& context, const Command& command, const Corpus& corpus,
                 const Tokenizer& tokenizer) {
  if (command.resumed) {
    return make<Model>(context, [&](gf_model** out) {
      return gf_model_load(context.get(), command.resumed->last().c_str(), out);
    });
  }
  const TrainOptions& options = command.options;
  const gf_model_config config =
      model_config(context, options, gf_tokenizer_vocab_size(tokenizer.get()));
  Model model = make<Model>(context, [&](gf_model** out) {
    return gf_model_create(context.get(), &config, static_cast<uint64_t>(options.seed), out);
  });
  set_metadata(context, model, "model", options.model);
  set_metadata(context, model, "task", options.task);
  set_metadata(context, model, "tokenizer", options.tokenizer);
  set_metadata(context, model, "data", corpus.location());
  return model;
}

RunDirectory open_directory(const Command& command) {
  if (command.resumed) return *command.resumed;
  const RunDirectory run =
      RunDirectory::create(command.output_dir.empty() ? RunDirectory::default_path(command.options)
                                                      : std::filesystem::path(command.output_dir));
  write_json(run.config(), to_json(command.options));
  return run;
}

std::string shape_of(const TrainOptions& options) {
  const std::string shape =
      with_thousands(options.num_layers) + " layers, width " + with_thousands(options.model_dim);
  if (options.model == "transformer") {
    return shape + ", " + with_thousands(options.num_heads) + " heads";
  }
  return shape +
         (options.grassmann_heads > 1 ? ", " + with_thousands(options.grassmann_heads) + " heads"
                                      : "") +
         ", windows " +
         format_windows(options.windows.data(), static_cast<int64_t>(options.windows.size())) +
         (options.window_schedule == "all" ? " in every layer" : ", one per layer") +
         (options.window_weights == "learned" ? ", weights learned" : "");
}

// Counts of all splits, where there is one at all.
void tell_pairs(const Corpus& corpus, const gf_dataset_info& train, Display& display) {
  gf_pair_report all = {};
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    const gf_pair_report& report = corpus.pairs(split);
    all.unlabelled += report.unlabelled;
    all.empty += report.empty;
    all.cut += report.cut;
    all.longest = std::max(all.longest, report.longest);
  }
  display.line(format("           %.1f tokens a pair, the longest %d; %s of a step is padding",
                      corpus.pairs(Split::kTrain).mean_length, all.longest,
                      format_share(padded_share(train)).c_str()));
  if (corpus.trains_on_subset()) {
    display.line(
        "           a subset of the train split: not to be compared with published results");
  }
  const auto tell = [&](int64_t count, const char* what) {
    if (count > 0) {
      display.line(format("           %s pairs %s", with_thousands(count).c_str(), what));
    }
  };
  tell(all.unlabelled, "left out: their annotators disagreed");
  tell(all.empty, "with an empty sentence");
  tell(all.cut, "longer than a sequence: cut");
}

void introduce(const Context& context, const Command& command, const Model& model,
               const Corpus& corpus, const Splits& splits, const RunDirectory& run,
               Display& display) {
  const TrainOptions& o = command.options;
  const int64_t parameters = parameter_count(context, config_of(context, model));
  const auto chunks = [&](const Dataset& split) {
    return with_thousands(info_of(context, split).chunks);
  };
  display.line(
      format("model      %s, %s parameters", o.model.c_str(), with_thousands(parameters).c_str()));
  display.line("           " + shape_of(o));
  display.line(format("data       %s, tokenizer %s, sequences of %s%s", corpus.name().c_str(),
                      o.tokenizer.c_str(), has_pairs(o.task) ? "at most " : "",
                      with_thousands(o.max_seq_len).c_str()));
  display.line(format("           %s%s for training, %s for validation, %s for the test",
                      chunks(splits.train).c_str(), has_pairs(o.task) ? " pairs" : "",
                      chunks(splits.validation).c_str(), chunks(splits.test).c_str()));
  if (has_pairs(o.task)) tell_pairs(corpus, info_of(context, splits.train), display);
  if (corpus.holds_out()) {
    display.line(
        "           held out are the last 5 % for the test, the 5 % before for validation");
  }
  display.line(format("recipe     %s: %s epochs, batch %s, learning rate %s, seed %s",
                      o.preset.c_str(), with_thousands(o.epochs).c_str(),
                      with_thousands(o.batch_size).c_str(), format_rate(o.lr).c_str(),
                      std::to_string(o.seed).c_str()));
  display.line(format("device     %s", gf_context_description(context.get())));
  display.line(format("output     %s", run.path().c_str()));
  display.line("");
  display.event({{"event", command.resumed ? "resume" : "start"},
                 {"config", to_json(o)},
                 {"parameters", parameters},
                 {"device", gf_context_description(context.get())},
                 {"output_dir", run.path()}});
}

int run(int argc, char** argv) {
  const std::optional<Command> command = parse(argc, argv);
  if (!command) return 0;
  const TrainOptions& options = command->options;
  Display display(command->mode);
  const Context context = make_context(kName, command->device.device, options.precision,
                                       command->device.thread_count(), command->device.attention);
  if (command->dry_run) {
    print_dry_run(context, options, display);
    return 0;
  }

  Corpus corpus = Corpus::find(options.task, options.data);
  const Tokenizer tokenizer = load_tokenizer(context, options.tokenizer, options.data);
  const Splits splits = load_splits(context, options, corpus, tokenizer);
  const Model model = make_model(context, *command, corpus, tokenizer);
  if (command->profile) {
    print_profile(context, model, splits.train, options, display);
    return 0;
  }
  const RunDirectory run = open_directory(*command);
  const InterruptGuard guard(context.get());
  introduce(context, *command, model, corpus, splits, run, display);

  Training training(context, model, splits, options, run, display, command->resumed.has_value());
  if (!training.run() || !training.test()) {
    std::fprintf(stderr, "%s: interrupted; everything is saved. To go on: %s --resume %s\n", kName,
                 kName, run.path().c_str());
    return 128 + InterruptGuard::signal();
  }
  return 0;
}

}  // namespace
}  // namespace tools

int main(int argc, char** argv) {
  return tools::run_tool(tools::kName, [&] { return tools::run(argc, argv); });
}
