#include "study.h"

#include <algorithm>

#include "data_source.h"
#include "format.h"
#include "tool.h"
#include "train_options.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

// The head's matrix products are as many as those of ten layers, and SNLI has a quarter of the
// tokens of WikiText-2.
constexpr double kHeadWork = 10;
constexpr double kPairShare = 0.25;

// What gf-train is told of a model, and what the name of its run ends with.
struct Variant {
  std::string model;
  std::string suffix;
  std::vector<std::string> flags;
};

std::vector<Variant> variants_of(const StudyGrid& grid) {
  std::vector<Variant> variants;
  for (const std::string& model : grid.models) {
    if (model != "grassmann") {
      variants.push_back({model, "", {}});
      continue;
    }
    for (const std::string& schedule : grid.schedules) {
      variants.push_back(
          {model, schedule == "all" ? "" : "_" + schedule, {"--window-schedule", schedule}});
    }
  }
  return variants;
}

// The way from the published mixer to grassmann+, and each published offset by itself.
std::vector<Variant> ablations_of(const StudyGrid& grid, const std::string& task) {
  const TrainOptions published = standard_options(grid.preset, task, "grassmann");
  const TrainOptions plus = standard_options(grid.preset, task, "grassmann+");
  const std::vector<std::string> learned = {"--window-weights", "learned"};
  std::vector<Variant> variants;
  for (const int32_t offset : published.windows) {
    const std::string text = std::to_string(offset);
    variants.push_back({"grassmann", "_window-" + text, {"--windows", text}});
  }
  const auto add_learned = [&](const std::string& suffix, std::vector<std::string> flags) {
    flags.insert(flags.end(), learned.begin(), learned.end());
    variants.push_back({"grassmann", suffix, std::move(flags)});
  };
  add_learned("_learned", {});
  const auto windows = static_cast<int64_t>(plus.windows.size());
  add_learned("_learned_" + std::to_string(windows) + "-windows",
              {"--windows", format_windows(plus.windows.data(), windows)});
  const std::string heads = std::to_string(plus.grassmann_heads);
  add_learned("_learned_" + heads + "-heads",
              {"--grassmann-heads", heads, "--reduced-dim", std::to_string(plus.reduced_dim)});
  return variants;
}

PlannedRun planned_run(const StudyGrid& grid, const std::string& task, int32_t length,
                       int32_t layers, const Variant& variant, int64_t seed) {
  const std::string L = std::to_string(length), N = std::to_string(layers);
  PlannedRun run;
  run.task = task;
  run.name = variant.model + "_" + task + "_L" + L + "_N" + N + variant.suffix;
  run.flags = {"--preset",    grid.preset,     "--task", task,           "--model",
               variant.model, "--max-seq-len", L,        "--num-layers", N};
  run.flags.insert(run.flags.end(), variant.flags.begin(), variant.flags.end());
  run.flags.insert(run.flags.end(), {"--seed", std::to_string(seed)});
  if (grid.seeds > 1) run.name += "_s" + std::to_string(seed);
  run.flags.insert(run.flags.end(), grid.flags.begin(), grid.flags.end());
  run.work = (layers + kHeadWork) * (has_pairs(task) ? kPairShare : 1);
  return run;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

std::string PlannedRun::command(const fs::path& study) const {
  return "gf-train " + joined(flags) + " --output-dir " + (study / name).string();
}

std::vector<PlannedRun> StudyGrid::runs() const {
  std::vector<PlannedRun> runs;
  const auto add = [&](const std::string& task, int32_t length, int32_t depth,
                       const std::vector<Variant>& variants) {
    for (const Variant& variant : variants) {
      for (int64_t i = 0; i < seeds; ++i) {
        runs.push_back(planned_run(*this, task, length, depth, variant, first_seed + i));
      }
    }
  };
  for (const std::string& task : tasks) {
    for (const int32_t length : lengths) {
      for (const int32_t depth : layers) {
        const bool first = length == lengths[0] && depth == layers[0];
        if (first || !has_pairs(task)) add(task, length, depth, variants_of(*this));
      }
    }
    if (ablations && !has_pairs(task)) {
      add(task, lengths[0], layers[0], ablations_of(*this, task));
    }
  }
  return runs;
}

fs::path Study::file(const fs::path& directory) {
  return directory / "study.json";
}

std::optional<Study> Study::read(const fs::path& directory) {
  if (!fs::exists(file(directory))) return std::nullopt;
  const Json json = read_json(file(directory));
  Study study;
  try {
    study.version = json.at("version");
    study.commit = json.at("commit");
    study.device = json.at("device");
    for (const Json& run : json.at("runs")) {
      study.runs.push_back({run.at("name"), run.at("task"), run.at("flags"), run.at("work")});
    }
    for (const Json& session : json.at("sessions")) {
      study.sessions.push_back({session.at("started"), session.at("seconds"), session.at("jobs")});
    }
  } catch (const Json::exception& error) {
    throw Failure(file(directory).string() + " is damaged: " + error.what());
  }
  return study;
}

void Study::write(const fs::path& directory) const {
  Json json = {{"version", version},   {"commit", commit},          {"device", device},
               {"seconds", seconds()}, {"sessions", Json::array()}, {"runs", Json::array()}};
  for (const Session& session : sessions) {
    json["sessions"].push_back(
        {{"started", session.started}, {"seconds", session.seconds}, {"jobs", session.jobs}});
  }
  for (const PlannedRun& run : runs) {
    json["runs"].push_back(
        {{"name", run.name}, {"task", run.task}, {"flags", run.flags}, {"work", run.work}});
  }
  write_json(file(directory), json);
}

void Study::add(const std::vector<PlannedRun>& more) {
  for (const PlannedRun& run : more) {
    const auto known = std::find_if(runs.begin(), runs.end(),
                                    [&](const PlannedRun& r) { return r.name == run.name; });
    if (known == runs.end()) {
      runs.push_back(run);
    } else if (known->flags != run.flags) {
      throw UsageError("the study has " + run.name + " with other options: '" +
                       joined(known->flags) + "', not '" + joined(run.flags) +
                       "'; another --output-dir starts a new study");
    }
  }
}

double Study::seconds() const {
  double sum = 0;
  for (const Session& session : sessions) sum += session.seconds;
  return sum;
}

fs::path latest_study() {
  fs::path latest;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator("outputs", none)) {
    if (fs::exists(Study::file(entry.path())) && entry.path() > latest) latest = entry.path();
  }
  return latest;
}

}  // namespace tools
