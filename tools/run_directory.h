#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "event_file.h"
#include "json_file.h"
#include "train_options.h"

namespace tools {

// Where a run keeps its files.
class RunDirectory {
 public:
  // outputs/<YYYY-MM-DD_HH-MM-SS>/<model>_<task>_L<L>_N<N>
  static std::filesystem::path default_path(const TrainOptions& options);

  // A new run. A directory that already holds the checkpoint of one is a UsageError.
  static RunDirectory create(const std::filesystem::path& path);

  // The run to resume: its directory, one of its checkpoints, or "latest": the one in outputs/
  // that was saved last.
  static RunDirectory find(const std::string& run);

  std::string path() const { return root_.string(); }
  std::string best() const { return (root_ / "checkpoints" / "best.safetensors").string(); }
  std::string last() const { return (root_ / "checkpoints" / "last.safetensors").string(); }
  std::filesystem::path config() const { return root_ / "config.json"; }
  std::filesystem::path results() const { return root_ / "results.json"; }
  std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }

 private:
  explicit RunDirectory(std::filesystem::path root) : root_(std::move(root)) {}

  std::filesystem::path root_;
};

// metrics.jsonl: one line per logged step and per evaluation, which is also the run's memory of
// what it has measured. Its numbers go to TensorBoard too.
class MetricsLog {
 public:
  // Keeps the lines of the first `steps` steps, and, if `evaluated`, of the evaluation after them:
  // none stands twice after a resumption.
  MetricsLog(std::filesystem::path path, int64_t steps, bool evaluated);

  // Adds the work done so far to the line, writes it at once and returns it.
  Json append(Json line);

  // Adds to the time spent in steps.
  void count(double seconds) { train_seconds_ += seconds; }
  // Tokens of all steps until now.
  void set_tokens(int64_t tokens) { tokens_ = tokens; }

  const std::vector<Json>& evaluations() const { return evaluations_; }
  int64_t tokens() const { return tokens_; }
  double train_seconds() const { return train_seconds_; }  // in steps alone
  double seconds() const;                                  // of the whole run, pauses left out

 private:
  void remember(const Json& line);

  std::filesystem::path path_;
  std::ofstream file_;
  EventFile events_;
  std::vector<Json> evaluations_;
  int64_t tokens_ = 0;
  double train_seconds_ = 0;
  double earlier_seconds_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace tools
