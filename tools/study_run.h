#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "study.h"

namespace tools {

// What a study does with its runs.
struct StudyMode {
  bool trains = true;
  bool evaluates = true;
  std::vector<std::string> flags;  // of gf-train and gf-eval: device, threads, data
};

// A run of a study, known by its files alone: so a study goes on wherever it was stopped.
class StudyRun {
 public:
  StudyRun(PlannedRun planned, const std::filesystem::path& study);

  const PlannedRun& planned() const { return planned_; }
  const std::filesystem::path& directory() const { return directory_; }
  std::filesystem::path log() const { return directory_ / "log.txt"; }

  // What to call next: training, from its beginning or from the last checkpoint, then an evaluation
  // of the best weights on validation and test. Nothing when all is there.
  std::optional<std::vector<std::string>> next_command(const StudyMode& mode) const;

  // Reads what has been measured since the last call.
  void refresh();

  double share() const;            // of the training that is done, 0 to 1
  double seconds() const;          // of the training so far
  std::string epoch() const;       // "7/20"; "" before the first
  std::string validation() const;  // best so far: "96.26" or, of a classifier, "51.6 %"
  std::string test() const;
  std::string last_words() const;  // the last line of the log

 private:
  std::filesystem::path results(const char* split) const;
  void read_line(const std::string& text);

  PlannedRun planned_;
  std::filesystem::path directory_;
  std::uintmax_t read_ = 0;  // bytes of metrics.jsonl
  Json config_ = Json::object();
  Json best_ = Json::object();  // the line of the best evaluation
  Json test_ = Json::object();
  int64_t step_ = 0;
  int64_t epoch_ = 0;
  int64_t steps_per_epoch_ = 0;  // 0: not known yet
  double seconds_ = 0;
};

}  // namespace tools
