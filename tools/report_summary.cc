#include "report_summary.h"

#include <grassflow.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <tuple>

#include "format.h"
#include "published_results.h"
#include "train_options.h"

namespace tools {
namespace {

// What two runs must share for their difference to be the mixer's.
Json recipe_of(const ReportRun& run) {
  Json recipe = without_grassmann(run.config);
  for (const char* key : {"model", "seed", "data"}) recipe.erase(key);
  return recipe;
}

Json mixer_of(const ReportRun& run) {
  Json mixer;
  for (const char* key : {"windows", "reduced_dim", "grassmann_heads", "window_weights"}) {
    mixer[key] = run.config[key];
  }
  return mixer;
}

// What the runs of a group share, in the order of groups.
auto key_of(const ReportRun& run) {
  static const std::vector<std::string> kTasks = {"wikitext", "wikitext-raw", "text", "sample",
                                                  "snli"};
  const auto task = std::find(kTasks.begin(), kTasks.end(), run.task()) - kTasks.begin();
  const bool transformer = run.model() == "transformer";
  return std::make_tuple(task, run.length(), run.layers(), !transformer, run.model(),
                         run.schedule(), recipe_of(run).dump(),
                         transformer ? "" : mixer_of(run).dump());
}

std::vector<double> collect(const Group& group,
                            const std::function<std::optional<double>(const ReportRun&)>& value) {
  std::vector<double> values;
  for (const ReportRun* run : group.runs) {
    if (const std::optional<double> found = value(*run)) values.push_back(*found);
  }
  return values;
}

std::optional<Statistic> of_results(const Group& group, const char* key) {
  return Statistic::of(collect(group, [&](const ReportRun& run) -> std::optional<double> {
    const Json& results = run.results;
    if (!results.contains(key) || !results[key].is_number()) return std::nullopt;
    return results[key].get<double>();
  }));
}

double gap(double value, double reference, const Measure& measure) {
  return measure.more_is_better ? value - reference : 100 * (value / reference - 1);
}

// Seed by seed, over those that both have.
void add_gaps(Group& group, const Group& transformer) {
  std::vector<double> validation, test;
  for (const ReportRun* run : group.runs) {
    for (const ReportRun* reference : transformer.runs) {
      if (reference->seed() != run->seed()) continue;
      const Measure& measure = measure_of(run->task());
      validation.push_back(gap(*run->best_validation(), *reference->best_validation(), measure));
      test.push_back(gap(*run->best_test(), *reference->best_test(), measure));
    }
  }
  group.validation_gap = Statistic::of(validation);
  group.test_gap = Statistic::of(test);
}

// The transformer that a run is to be compared with, as a command.
MissingRun missing_transformer(const ReportRun& run) {
  Json config = run.config;
  config["model"] = "transformer";
  MissingRun missing;
  missing.name = "transformer_" + run.task() + "_L" + std::to_string(run.length()) + "_N" +
                 std::to_string(run.layers());
  missing.why = "the gap of " + run.name + " is relative to it";
  missing.command = "gf-train";
  for (const std::string& word : flags_of(config)) missing.command += " " + word;
  missing.command += " --output-dir " + (run.directory.parent_path() / missing.name).string();
  return missing;
}

void compare(std::vector<Group>& groups, ReportInput& input) {
  for (Group& group : groups) {
    if (group.first().model() == "transformer") continue;
    const auto transformer = std::find_if(groups.begin(), groups.end(), [&](const Group& other) {
      return other.first().model() == "transformer" &&
             recipe_of(other.first()) == recipe_of(group.first());
    });
    if (transformer != groups.end()) add_gaps(group, *transformer);
    if (group.validation_gap) continue;
    const MissingRun missing = missing_transformer(group.first());
    const bool known =
        std::any_of(input.missing.begin(), input.missing.end(), [&](const MissingRun& other) {
          return other.name.compare(0, missing.name.size(), missing.name) == 0;
        });
    if (!known) input.missing.push_back(missing);
  }
}

Json statistic_json(const std::optional<Statistic>& statistic) {
  if (!statistic) return nullptr;
  return {{"mean", statistic->mean},
          {"standard_deviation", statistic->count > 1 ? Json(statistic->deviation) : Json()},
          {"n", statistic->count}};
}

Json run_json(const ReportRun& run) {
  const std::string key = measure_of(run.task()).key;
  Json json = {{"name", run.name},
               {"seed", run.seed()},
               {"best_epoch", run.results.value("best_epoch", Json())},
               {"best_validation_" + key, *run.best_validation()},
               {"test_" + key, *run.best_test()}};
  if (measure_of(run.task()).more_is_better) json["test"] = run.test;
  return json;
}

Json group_json(const Group& group) {
  const ReportRun& run = group.first();
  const Measure& measure = measure_of(run.task());
  const std::string key = measure.key;
  const std::string unit = measure.more_is_better ? "gap_points" : "gap_percent";
  Json json = {{"task", run.task()},
               {"preset", run.config.value("preset", "")},
               {"model", run.model()},
               {"max_seq_len", run.length()},
               {"num_layers", run.layers()},
               {"window_schedule", run.schedule().empty() ? Json() : Json(run.schedule())},
               {"parameters", run.results.value("parameters", Json())},
               {"best_validation_" + key, statistic_json(group.validation)},
               {"test_" + key, statistic_json(group.test)},
               {"validation_" + unit, statistic_json(group.validation_gap)},
               {"test_" + unit, statistic_json(group.test_gap)},
               {"tokens_per_second", statistic_json(group.tokens_per_second)},
               {"wall_clock_seconds", statistic_json(group.seconds)},
               {"device", run.results.value("device", "")},
               {"runs", Json::array()}};
  for (const ReportRun* each : group.runs) json["runs"].push_back(run_json(*each));
  return json;
}

}  // namespace

std::optional<Statistic> Statistic::of(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  Statistic result;
  result.count = values.size();
  const auto n = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / n;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  if (values.size() > 1) result.deviation = std::sqrt(squares / (n - 1));
  return result;
}

std::string format_statistic(const std::optional<Statistic>& statistic, const char* number_format) {
  if (!statistic) return "–";
  const auto text = [&](double value) {
    char digits[64];
    std::snprintf(digits, sizeof digits, number_format, value);
    return std::string(digits);
  };
  if (statistic->count == 1) return text(statistic->mean);
  const std::string deviation = text(statistic->deviation);
  return text(statistic->mean) + " ± " + (deviation[0] == '+' ? deviation.substr(1) : deviation);
}

const Series& Group::series() const {
  if (first().is_ablation()) return kSeries[find_series("grassmann", "other")];
  return kSeries[find_series(first().model(), first().schedule())];
}

Size size_of(const Group& group) {
  return {group.task(), group.first().length(), group.first().layers()};
}

std::string size_title(const Size& size) {
  return format("%s, L = %lld, N = %lld", task_title(size.task).c_str(),
                static_cast<long long>(size.length), static_cast<long long>(size.layers));
}

Groups group_runs(ReportInput& input) {
  std::map<decltype(key_of(input.runs.front())), Group> by_key;
  for (const ReportRun& run : input.runs) by_key[key_of(run)].runs.push_back(&run);
  std::vector<Group> groups;
  for (auto& [key, group] : by_key) {
    std::sort(group.runs.begin(), group.runs.end(),
              [](const ReportRun* a, const ReportRun* b) { return a->seed() < b->seed(); });
    group.validation =
        Statistic::of(collect(group, [](const ReportRun& run) { return run.best_validation(); }));
    group.test =
        Statistic::of(collect(group, [](const ReportRun& run) { return run.best_test(); }));
    group.tokens_per_second = of_results(group, "tokens_per_second");
    group.seconds = of_results(group, "wall_clock_seconds");
    group.best_epoch = of_results(group, "best_epoch");
    groups.push_back(std::move(group));
  }
  compare(groups, input);
  Groups result;
  for (Group& group : groups) {
    (group.first().is_ablation() ? result.ablations : result.series).push_back(std::move(group));
  }
  return result;
}

const Group* find_group(const std::vector<Group>& groups, const Size& size, const Series& series) {
  for (const Group& group : groups) {
    if (size_of(group) == size && &group.series() == &series) return &group;
  }
  return nullptr;
}

std::vector<Size> sizes_of(const std::vector<Group>& groups, const std::string& task) {
  std::vector<Size> sizes;
  for (const Group& group : groups) {
    const Size size = size_of(group);
    if (size.task == task && (sizes.empty() || !(sizes.back() == size))) sizes.push_back(size);
  }
  return sizes;
}

std::vector<std::string> tasks_of(const std::vector<Group>& groups) {
  std::vector<std::string> tasks;
  for (const Group& group : groups) {
    if (tasks.empty() || tasks.back() != group.task()) tasks.push_back(group.task());
  }
  return tasks;
}

std::vector<const Group*> by_windows(const Groups& groups, const Size& size) {
  std::vector<const Group*> found;
  for (const Group& group : groups.ablations) {
    if (size_of(group) == size) found.push_back(&group);
  }
  const size_t ablations = found.size();
  for (const Group& group : groups.series) {
    const bool comparable =
        std::any_of(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(ablations),
                    [&](const Group* ablation) {
                      return recipe_of(ablation->first()) == recipe_of(group.first());
                    });
    if (comparable) found.push_back(&group);
  }
  const auto place_of = [](const Group* group) {
    const ReportRun& run = group->first();
    const Json& windows = run.config["windows"];
    return std::make_tuple(run.model() != "transformer", run.config["grassmann_heads"],
                           run.config["window_weights"] == "learned", windows.size(),
                           run.schedule() == "all", windows);
  };
  std::sort(found.begin(), found.end(),
            [&](const Group* a, const Group* b) { return place_of(a) < place_of(b); });
  return found;
}

Json summary_json(const ReportInput& input, const Groups& groups) {
  Json json = {{"version", gf_version_string()},
               {"studies", Json::array()},
               {"results", Json::array()},
               {"missing", Json::array()}};
  for (const auto& [directory, study] : input.studies) {
    json["studies"].push_back({{"directory", directory.string()},
                               {"version", study.version},
                               {"commit", study.commit},
                               {"device", study.device},
                               {"seconds", study.seconds()}});
  }
  for (const Group& group : groups.series) json["results"].push_back(group_json(group));
  for (const Group& group : groups.ablations) {
    Json row = group_json(group);
    row.update(mixer_of(group.first()));
    json["ablations"].push_back(row);
  }
  for (const MissingRun& run : input.missing) {
    json["missing"].push_back({{"name", run.name}, {"why", run.why}, {"command", run.command}});
  }
  return json;
}

const Json& published_results() {
  static const Json published = Json::parse(kPublishedResults);
  return published;
}

}  // namespace tools
