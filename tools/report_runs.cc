#include "report_runs.h"

#include <algorithm>
#include <fstream>

#include "data_source.h"
#include "format.h"
#include "tool.h"
#include "train_options.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

constexpr Measure kPerplexity = {"perplexity", "perplexity", 1, false};
constexpr Measure kAccuracy = {"accuracy", "accuracy, %", 100, true};

// Whether two runs compute the same.
bool same_run(const ReportRun& a, const ReportRun& b) {
  const auto computed = [](const ReportRun& run) {
    Json config = run.config;
    config.erase("data");
    return run.model() == "transformer" ? without_grassmann(config) : config;
  };
  return computed(a) == computed(b);
}

std::optional<double> number(const Json& json, const std::string& key, double scale) {
  if (!json.contains(key) || !json[key].is_number()) return std::nullopt;
  return scale * json[key].get<double>();
}

// An empty object where there is no such file. Throws Failure where it is damaged.
Json read_if_there(const fs::path& path) {
  if (!fs::exists(path)) return Json::object();
  Json json = read_json(path);
  if (!json.is_object()) throw Failure(path.string() + " is damaged: it holds no JSON object");
  return json;
}

// The last epoch that metrics.jsonl knows of; 0 without one.
int64_t last_epoch(const fs::path& directory) {
  int64_t epoch = 0;
  std::ifstream file(directory / "metrics.jsonl");
  for (std::string text; std::getline(file, text);) {
    const Json line = Json::parse(text, nullptr, false);
    if (line.is_object()) epoch = line.value("epoch", epoch);
  }
  return epoch;
}

std::string progress(const ReportRun& run) {
  const int64_t epoch = last_epoch(run.directory);
  if (epoch == 0) return "began, but measured nothing";
  return format("stopped in epoch %lld of %lld", static_cast<long long>(epoch),
                static_cast<long long>(run.config.value("epochs", int64_t{0})));
}

void read_files(ReportRun& run) {
  using State = ReportRun::State;
  run.config = read_if_there(run.directory / "config.json");
  if (run.config.empty()) {
    run.remark = "not begun";
    return;
  }
  run.config = to_json(options_of(run.config));  // whole, and of a damaged one throws
  run.results = read_if_there(run.directory / "results.json");
  run.validation = read_if_there(run.directory / (run.task() + "_validation_results.json"));
  run.test = read_if_there(run.directory / (run.task() + "_test_results.json"));
  if (run.test.empty()) run.test = run.results.value("test", Json::object());
  run.state = State::kUnfinished;
  if (!run.results.value("completed", false)) {
    run.remark = progress(run);
  } else if (!run.best_validation() || !run.best_test()) {
    run.remark = "trained, but not evaluated on validation and test";
  } else {
    run.state = State::kComplete;
  }
}

ReportRun read_run(const fs::path& directory) {
  ReportRun run;
  run.directory = directory;
  run.name = directory.filename().string();
  try {
    read_files(run);
  } catch (const std::exception& error) {  // of a file that cannot be read, or of a type in it
    run.state = ReportRun::State::kDamaged;
    run.remark = error.what();
  }
  return run;
}

// What brings a run to its end that is there in part.
std::string command_to_finish(const ReportRun& run, const PlannedRun* planned,
                              const fs::path& study) {
  const std::string directory = run.directory.string();
  if (run.state == ReportRun::State::kUnfinished && run.results.value("completed", false)) {
    const std::string split = run.best_validation() ? "test" : "validation";
    const fs::path file = run.directory / (run.task() + "_" + split + "_results.json");
    return "gf-eval --checkpoint " + directory + " --split " + split + " --output-file " +
           file.string();
  }
  if (fs::exists(run.directory / "checkpoints/last.safetensors")) {
    return "gf-train --resume " + directory;
  }
  return planned ? planned->command(study) : "gf-train --output-dir " + directory;
}

const PlannedRun* find_planned(const Study& study, const std::string& name) {
  const auto found = std::find_if(study.runs.begin(), study.runs.end(),
                                  [&](const PlannedRun& planned) { return planned.name == name; });
  return found == study.runs.end() ? nullptr : &*found;
}

bool is_run(const fs::path& directory) {
  return fs::exists(directory / "config.json") || fs::exists(directory / "checkpoints");
}

std::vector<fs::path> run_directories(const fs::path& directory) {
  if (is_run(directory)) return {directory};
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.is_directory() && is_run(entry.path())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void add_run(ReportInput& input, ReportRun run, const PlannedRun* planned, const fs::path& study) {
  if (run.state != ReportRun::State::kComplete) {
    input.missing.push_back({run.name, run.remark, command_to_finish(run, planned, study)});
    return;
  }
  const auto twin = std::find_if(input.runs.begin(), input.runs.end(),
                                 [&](const ReportRun& other) { return same_run(run, other); });
  if (twin == input.runs.end()) return input.runs.push_back(std::move(run));
  input.remarks.push_back(twin->directory.string() + " is left out: " + run.directory.string() +
                          " is a run with the same options and the same seed");
  *twin = std::move(run);
}

}  // namespace

const Measure& measure_of(const std::string& task) {
  return has_pairs(task) ? kAccuracy : kPerplexity;
}

std::string task_title(const std::string& task) {
  if (task == "wikitext") return "WikiText-2";
  if (task == "wikitext-raw") return "WikiText-2 (raw)";
  if (task == "snli") return "SNLI";
  if (task == "sample-pairs") return "the sample pairs";
  return task == "sample" ? "the sample corpus" : "text";
}

std::string ReportRun::schedule() const {
  return model() == "transformer" ? "" : config.value("window_schedule", "");
}

bool ReportRun::is_ablation() const {
  if (model() == "grassmann+") return schedule() != "all";
  if (model() != "grassmann") return false;
  return config["grassmann_heads"] != 1 || config["window_weights"] != "mean" ||
         (schedule() == "all" && config["windows"].size() == 1);
}

std::optional<double> ReportRun::best_validation() const {
  const Measure& measure = measure_of(task());
  const auto noted = number(results, std::string("best_val_") + measure.key, measure.scale);
  return noted ? noted : number(validation, measure.key, measure.scale);
}

std::optional<double> ReportRun::best_test() const {
  const Measure& measure = measure_of(task());
  const auto evaluated = number(test, measure.key, measure.scale);
  return evaluated ? evaluated : number(results, std::string("test_") + measure.key, measure.scale);
}

std::vector<double> ReportRun::validation_by_epoch() const {
  const Measure& measure = measure_of(task());
  std::vector<double> values;
  for (const Json& epoch : results.value("epochs", Json::array())) {
    const auto value = number(epoch, std::string("val_") + measure.key, measure.scale);
    if (value) values.push_back(*value);
  }
  return values;
}

ReportInput read_report_input(const std::vector<std::string>& directories) {
  ReportInput input;
  for (const std::string& name : directories) {
    const fs::path directory = fs::path(name) / "";
    if (!fs::is_directory(directory)) throw Failure(name + " is not a directory");
    const fs::path parent = directory.parent_path();
    const std::optional<Study> study = Study::read(parent);
    const std::vector<fs::path> found = run_directories(parent);
    if (found.empty() && !study) {
      throw Failure(name + " holds neither a run nor a study: no config.json, no study.json");
    }
    for (const fs::path& path : found) {
      add_run(input, read_run(path), study ? find_planned(*study, path.filename()) : nullptr,
              parent);
    }
    if (!study) continue;
    for (const PlannedRun& planned : study->runs) {
      if (is_run(parent / planned.name)) continue;
      input.missing.push_back({planned.name, "not begun", planned.command(parent)});
    }
    input.studies.emplace_back(parent, *study);
  }
  return input;
}

}  // namespace tools
