#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "json_file.h"

namespace tools {

// One run of a study: what gf-train is told, beside where and on which device.
struct PlannedRun {
  std::string name;  // of its directory in the study's
  std::string task;
  std::vector<std::string> flags;
  double work = 0;  // roughly, in units of a layer's training on WikiText-2

  std::string command(const std::filesystem::path& study) const;  // as a person would type it
};

// Which runs a study has: every combination, the pair classifiers with the first length and depth
// only, and of the models only "grassmann" with several schedules. The ablations are language
// models of the first length and depth.
struct StudyGrid {
  std::string preset = "study";
  std::vector<std::string> tasks;
  std::vector<std::string> models;
  std::vector<int32_t> lengths;
  std::vector<int32_t> layers;
  std::vector<std::string> schedules;
  bool ablations = false;
  int64_t first_seed = 0;
  int64_t seeds = 1;
  std::vector<std::string> flags;  // of gf-train, for every run

  std::vector<PlannedRun> runs() const;
};

// What study.json in the study's directory holds: the plan, and how it was carried out.
struct Study {
  struct Session {
    std::string started;  // UTC, 2026-11-25T19:30:00Z
    double seconds = 0;
    int64_t jobs = 1;
  };

  std::vector<PlannedRun> runs;
  std::string version;
  std::string commit;  // "" when it was not told
  std::string device;
  std::vector<Session> sessions;

  static std::filesystem::path file(const std::filesystem::path& directory);

  // Nothing when the directory holds no study.json. Throws Failure when it is damaged.
  static std::optional<Study> read(const std::filesystem::path& directory);
  void write(const std::filesystem::path& directory) const;

  // Adds runs that are not in the plan. One that is, with other flags, is a UsageError.
  void add(const std::vector<PlannedRun>& more);

  double seconds() const;  // of all sessions
};

// The directory in outputs/ whose study was begun last; empty when there is none.
std::filesystem::path latest_study();

}  // namespace tools
