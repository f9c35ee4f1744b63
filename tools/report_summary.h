#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report_runs.h"
#include "series.h"

namespace tools {

// Of the runs of a group, one for each seed.
struct Statistic {
  size_t count = 0;
  double mean = 0;
  double deviation = 0;  // sample standard deviation; 0 with one value

  static std::optional<Statistic> of(const std::vector<double>& values);
};

std::string format_statistic(const std::optional<Statistic>& statistic, const char* number_format);

// Runs that differ by their seeds alone.
struct Group {
  std::vector<const ReportRun*> runs;  // by seed
  std::optional<Statistic> validation;
  std::optional<Statistic> test;
  // To the transformer of the same task, length, depth, recipe and seeds: for perplexities how much
  // higher in percent, for accuracies the difference in points.
  std::optional<Statistic> validation_gap;
  std::optional<Statistic> test_gap;
  std::optional<Statistic> tokens_per_second;
  std::optional<Statistic> seconds;
  std::optional<Statistic> best_epoch;

  const ReportRun& first() const { return *runs.front(); }
  std::string task() const { return first().task(); }
  const Series& series() const;
};

// A place on a picture's axis: the models of one task, length and depth.
struct Size {
  std::string task;
  int64_t length;
  int64_t layers;
  bool operator==(const Size&) const = default;
};
Size size_of(const Group& group);
std::string size_title(const Size& size);  // "WikiText-2, L = 128, N = 6"

// The runs in groups, by task, length, depth and model, the transformer first.
struct Groups {
  std::vector<Group> series;
  std::vector<Group> ablations;  // see ReportRun::is_ablation()
};

// A group whose transformer is not there has that noted among what is missing.
Groups group_runs(ReportInput& input);

const Group* find_group(const std::vector<Group>& groups, const Size& size, const Series& series);

std::vector<Size> sizes_of(const std::vector<Group>& groups, const std::string& task);
std::vector<std::string> tasks_of(const std::vector<Group>& groups);

// The ablations of a size and the series of the same recipe: the transformer, then from one head
// with the mean of one window to more heads, learned weights and more windows.
std::vector<const Group*> by_windows(const Groups& groups, const Size& size);

// best_results_summary.json
Json summary_json(const ReportInput& input, const Groups& groups);

// The published figures: tools/published_results.json.
const Json& published_results();

}  // namespace tools
