#pragma once

#include <chrono>
#include <filesystem>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "process.h"
#include "study_run.h"
#include "study_table.h"

namespace tools {

// Carries a study out: up to so many runs side by side, each one program after the other.
class StudyRunner {
 public:
  // The study's last session is the one that has begun at `start`. Directory and study must outlive
  // the runner.
  StudyRunner(const std::filesystem::path& directory, Study& study, StudyMode mode,
              std::chrono::steady_clock::time_point start);

  // Until every run is done or has failed. Returns 0, or the signal that asked for an early end,
  // after which every run is saved.
  int run();

  size_t failures() const;

 private:
  enum class State { kWaiting, kTraining, kEvaluating, kDone, kFailed };

  struct Job {
    explicit Job(StudyRun which) : run(std::move(which)) {}

    StudyRun run;
    State state = State::kWaiting;
    std::optional<Process> process;
    std::vector<std::string> command;
    double first_share = 0;  // of the run's work, done before this session
    std::string failure;
  };

  void advance(Job& job);  // to the next of its programs
  void poll(Job& job, int signal);
  void interrupt();
  void start_waiting();
  void note_time();
  size_t count(State state) const;
  size_t under_way() const { return count(State::kTraining) + count(State::kEvaluating); }
  std::optional<double> seconds_left() const;
  double seconds() const;
  std::vector<StudyRow> rows() const;
  std::string summary() const;

  const std::filesystem::path& directory_;
  Study& study_;
  StudyMode mode_;
  std::list<Job> jobs_;      // in the order of the plan
  std::vector<Job*> queue_;  // in the order of their start
  StudyTable table_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace tools
