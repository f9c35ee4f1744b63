// gf-study: trains and evaluates the models of a study, several runs side by side.

#include <grassflow.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>

#include "command_line.h"
#include "data_source.h"
#include "format.h"
#include "process.h"
#include "study.h"
#include "study_runner.h"
#include "tool.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

constexpr const char* kName = "gf-study";
constexpr int64_t kJobsOnGpu = 4;

struct Command {
  std::string preset = "study";
  std::string task = "all";
  std::string model = "all";
  std::string lengths;
  std::string layers;
  std::string schedules = "all,per-layer";
  std::string seed = "0";
  std::string seeds = "1";
  bool ablations = false;
  std::string mode = "both";
  std::string jobs = "0";
  std::string data;
  std::string output_dir;
  std::string commit;
  DeviceFlags device;
  std::vector<std::string> train_flags;  // after --
  std::optional<fs::path> continued;
  bool grid_given = false;
  bool dry_run = false;
};

// Options that say which runs the study has.
std::vector<Option> add_grid(CommandLine& line, Command& command) {
  line.group("Runs");
  return {
      line.option("--preset", "NAME", "recipe of the runs: study, document or demo", command.preset,
                  command.preset),
      line.option("--task", "NAME",
                  "wikitext, snli or all; with --preset demo: sample, sample-pairs or all",
                  command.task, command.task),
      line.option("--model", "NAME", "transformer, grassmann, grassmann+ or all", command.model,
                  command.model),
      line.option("--max-seq-len", "LIST",
                  "ids of one sequence, L, of the language models; pair classifiers take the first "
                  "[128,256; demo: 128]",
                  command.lengths),
      line.option("--num-layers", "LIST", "layers, N, likewise [6,12; demo: 4]", command.layers),
      line.option("--window-schedule", "LIST", "of the model grassmann: all, per-layer or both",
                  command.schedules, command.schedules),
      line.option("--ablations",
                  "add what explains the windows, at the first L and N: each offset alone, learned "
                  "weights, more windows, heads",
                  command.ablations),
      line.option("--seed", "N", "first seed", command.seed, command.seed),
      line.option("--seeds", "K", "repeat every run with K seeds", command.seeds, command.seeds),
  };
}

void add_conduct(CommandLine& line, Command& command) {
  line.group("Study");
  line.option("--mode", "NAME", "train, eval or both", command.mode, command.mode);
  line.option("--jobs", "J", "runs side by side; 0: 4 on a GPU, else 1", command.jobs,
              command.jobs);
  line.option("--output-dir", "DIR",
              "where the runs go; what is already there is not done again; without it "
              "outputs/<time>",
              command.output_dir);
  line.option("--data", "PATH", "directory of the corpora; without it $GF_DATA_DIR, then ./data",
              command.data);
  line.option("--commit", "TEXT", "noted in study.json", command.commit);
  command.device.add_to(line);
  line.option("--dry-run", "print the command of every run, and end", command.dry_run);
}

std::optional<Command> parse(int argc, char** argv) {
  CommandLine line(
      kName,
      "Trains and evaluates the models of a study. What follows -- goes to gf-train,\n"
      "for every run.",
      {"gf-study --preset demo                      no files needed",
       "gf-study --task wikitext --seeds 3 --jobs 4",
       "gf-study --model grassmann --num-layers 6 -- --precision fp32", "gf-study --continue"});
  Command command;
  std::string continued;
  const std::vector<Option> grid = add_grid(line, command);
  add_conduct(line, command);
  const Option continues = line.option_or_flag(
      "--continue", "[DIR]", "go on with a study, or with the latest in outputs/", continued);
  char** const rest = std::find_if(
      argv, argv + argc, [](const char* argument) { return !std::strcmp(argument, "--"); });
  if (!line.parse(static_cast<int>(rest - argv), argv)) return std::nullopt;
  if (rest != argv + argc) command.train_flags.assign(rest + 1, argv + argc);
  command.grid_given =
      std::any_of(grid.begin(), grid.end(), [](const Option& option) { return option.given(); });
  if (continues.given()) {
    if (command.grid_given || !command.train_flags.empty() || !command.output_dir.empty()) {
      throw UsageError(
          "--continue takes a study's runs as they were planned: leave out what "
          "chooses others");
    }
    command.continued = continued.empty() ? latest_study() : fs::path(continued);
    if (command.continued->empty()) {
      throw UsageError("--continue: outputs/ holds no study; name its directory");
    }
  }
  return command;
}

// "all", or one of the names or several with commas between them.
std::vector<std::string> choose(const std::string& flag, const std::string& text,
                                std::vector<std::string> names) {
  if (text == "all" && std::find(names.begin(), names.end(), "all") == names.end()) return names;
  std::vector<std::string> chosen;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    chosen.push_back(parse_choice(flag, text.substr(begin, end - begin), names));
    begin = end + 1;
  }
  return chosen;
}

StudyGrid grid_of(const Command& command) {
  StudyGrid grid;
  grid.preset = parse_choice("--preset", command.preset, {"study", "document", "demo"});
  const bool demo = grid.preset == "demo";
  const auto numbers = [&](const char* flag, const std::string& given, const char* standard,
                           int32_t least) {
    return parse_integers(flag, given.empty() ? standard : given, least, 100);
  };
  grid.tasks = choose("--task", command.task,
                      {demo ? "sample" : "wikitext", demo ? "sample-pairs" : "snli"});
  grid.models = choose("--model", command.model, {"transformer", "grassmann", "grassmann+"});
  grid.lengths = numbers("--max-seq-len", command.lengths, demo ? "128" : "128,256", 2);
  grid.layers = numbers("--num-layers", command.layers, demo ? "4" : "6,12", 1);
  grid.schedules = choose("--window-schedule", command.schedules, {"all", "per-layer"});
  grid.ablations = command.ablations;
  if (grid.ablations && std::all_of(grid.tasks.begin(), grid.tasks.end(), has_pairs)) {
    throw UsageError("--ablations are of language models, but --task " + command.task +
                     " asks for pair classifiers alone");
  }
  grid.first_seed = parse_integer("--seed", command.seed, 0, 1 << 30);
  grid.seeds = parse_integer("--seeds", command.seeds, 1, 1000);
  grid.flags = command.train_flags;
  return grid;
}

// The study that the directory holds, with the runs that were asked for.
Study plan(const Command& command, const fs::path& directory) {
  std::optional<Study> earlier = Study::read(directory);
  if (command.continued && !earlier) {
    throw UsageError("--continue: " + Study::file(directory).string() + " does not exist");
  }
  Study study = earlier.value_or(Study{});
  if (!command.continued) study.add(grid_of(command).runs());
  return study;
}

// Asks gf-train, which also finds mistakes in the flags before anything has begun. In a process of
// its own, so that no memory of a GPU stays taken.
std::string describe_device(const PlannedRun& run, const std::vector<std::string>& flags) {
  std::vector<std::string> words = {tool_path("gf-train")};
  words.insert(words.end(), run.flags.begin(), run.flags.end());
  words.insert(words.end(), flags.begin(), flags.end());
  words.insert(words.end(), {"--dry-run", "--json"});
  const Finished asked = run_to_end(words);
  if (asked.status == 2) throw UsageError("gf-train does not take the options of " + run.name);
  const Json answer = Json::parse(asked.output, nullptr, false);
  if (asked.status != 0 || !answer.is_object()) throw Failure(words[0] + " does not work");
  return answer.value("device", "");
}

std::vector<std::string> machine_flags(const Command& command) {
  std::vector<std::string> flags = {"--device",    command.device.device,
                                    "--threads",   command.device.threads,
                                    "--attention", command.device.attention};
  if (!command.data.empty()) flags.insert(flags.end(), {"--data", command.data});
  return flags;
}

int run(int argc, char** argv) {
  const auto start = std::chrono::steady_clock::now();
  const std::optional<Command> command = parse(argc, argv);
  if (!command) return 0;
  const auto jobs = parse_integer("--jobs", command->jobs, 0, 64);
  parse_choice("--mode", command->mode, {"train", "eval", "both"});
  const fs::path directory = command->continued            ? *command->continued
                             : command->output_dir.empty() ? fs::path("outputs") / time_stamp()
                                                           : fs::path(command->output_dir);
  Study study = plan(*command, directory);
  if (command->dry_run) {
    for (const PlannedRun& planned : study.runs) {
      std::printf("%s\n", planned.command(directory).c_str());
    }
    return 0;
  }
  const StudyMode mode = {command->mode != "eval", command->mode != "train",
                          machine_flags(*command)};
  study.device = describe_device(study.runs.front(), mode.flags);
  study.version = gf_version_string();
  if (!command->commit.empty()) study.commit = command->commit;
  const int64_t automatic = study.device.rfind("cuda", 0) == 0 ? kJobsOnGpu : 1;
  study.sessions.push_back({utc_time(), 0, jobs > 0 ? jobs : automatic});
  fs::create_directories(directory);
  study.write(directory);

  std::printf("study      %zu runs, %lld side by side\n", study.runs.size(),
              static_cast<long long>(study.sessions.back().jobs));
  std::printf("device     %s\noutput     %s\n\n", study.device.c_str(), directory.c_str());
  StudyRunner runner(directory, study, mode, start);
  const int signal = runner.run();
  if (signal != 0) {
    std::fprintf(stderr, "%s: interrupted; every run is saved. To go on: %s --continue %s\n", kName,
                 kName, directory.c_str());
    return 128 + signal;
  }
  if (runner.failures() > 0) {
    std::fprintf(stderr, "%s: to try the failed runs again: %s --continue %s\n", kName, kName,
                 directory.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace tools

int main(int argc, char** argv) {
  return tools::run_tool(tools::kName, [&] { return tools::run(argc, argv); });
}
