#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "study.h"

namespace tools {

// What a task is measured by.
struct Measure {
  const char* key;    // in the files: "perplexity"
  const char* title;  // to people: "perplexity", "accuracy, %"
  double scale;       // from the files' unit to the people's
  bool more_is_better;
};
const Measure& measure_of(const std::string& task);
std::string task_title(const std::string& task);  // "WikiText-2"

// A run as its directory tells of it.
struct ReportRun {
  enum class State { kComplete, kUnfinished, kDamaged, kNotBegun };

  std::string name;  // of the directory
  std::filesystem::path directory;
  State state = State::kNotBegun;
  std::string remark;  // why it is not complete: "stopped after epoch 3 of 20"
  Json config = Json::object();
  Json results = Json::object();
  Json validation = Json::object();  // what gf-eval has written, if it has
  Json test = Json::object();

  std::string task() const { return config.value("task", ""); }
  std::string title() const { return task_title(task()); }
  std::string model() const { return config.value("model", ""); }
  int64_t length() const { return config.value("max_seq_len", int64_t{0}); }
  int64_t layers() const { return config.value("num_layers", int64_t{0}); }
  std::string schedule() const;  // "" for a transformer
  int64_t seed() const { return config.value("seed", int64_t{0}); }

  // A Grassmann model that is none of the study's series: one offset for every layer, learned
  // weights or heads without being grassmann+, or grassmann+ with one window per layer.
  bool is_ablation() const;

  // In the unit of the task's measure.
  std::optional<double> best_validation() const;
  std::optional<double> best_test() const;
  std::vector<double> validation_by_epoch() const;
};

// A run that the comparison lacks, and the command that makes it.
struct MissingRun {
  std::string name;
  std::string why;
  std::string command;
};

// All that lies in the directories: each that of a study or of one run.
struct ReportInput {
  std::vector<std::pair<std::filesystem::path, Study>> studies;
  std::vector<ReportRun> runs;  // complete ones
  std::vector<MissingRun> missing;
  std::vector<std::string> remarks;  // on what was left out
};

// Throws Failure for a directory that does not exist or holds no run at all.
ReportInput read_report_input(const std::vector<std::string>& directories);

}  // namespace tools
