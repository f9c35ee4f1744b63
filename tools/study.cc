#include "study.h"

#include <algorithm>

#include "data_source.h"
#include "tool.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

// The head's matrix products are as many as those of ten layers, and SNLI has a quarter of the
// tokens of WikiText-2.
constexpr double kHeadWork = 10;
constexpr double kPairShare = 0.25;

struct Shape {
  std::string model;
  int32_t length;
  int32_t layers;
  std::string schedule;  // "" for a transformer
};

std::vector<Shape> shapes_of(const StudyGrid& grid, const std::string& task) {
  std::vector<Shape> shapes;
  for (const int32_t length : grid.lengths) {
    for (const int32_t layers : grid.layers) {
      if (has_pairs(task) && (length != grid.lengths[0] || layers != grid.layers[0])) continue;
      for (const std::string& model : grid.models) {
        if (model == "transformer") shapes.push_back({model, length, layers, ""});
        if (model == "transformer") continue;
        for (const std::string& schedule : grid.schedules) {
          shapes.push_back({model, length, layers, schedule});
        }
      }
    }
  }
  return shapes;
}

PlannedRun planned_run(const StudyGrid& grid, const std::string& task, const Shape& shape,
                       int64_t seed) {
  const std::string length = std::to_string(shape.length), layers = std::to_string(shape.layers);
  PlannedRun run;
  run.task = task;
  run.name = shape.model + "_" + task + "_L" + length + "_N" + layers;
  run.flags = {"--preset",  grid.preset,     "--task", task,           "--model",
               shape.model, "--max-seq-len", length,   "--num-layers", layers};
  if (!shape.schedule.empty()) {
    run.flags.insert(run.flags.end(), {"--window-schedule", shape.schedule});
    if (shape.schedule != "all") run.name += "_" + shape.schedule;
  }
  run.flags.insert(run.flags.end(), {"--seed", std::to_string(seed)});
  if (grid.seeds > 1) run.name += "_s" + std::to_string(seed);
  run.flags.insert(run.flags.end(), grid.flags.begin(), grid.flags.end());
  run.work = (shape.layers + kHeadWork) * (has_pairs(task) ? kPairShare : 1);
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
  for (const std::string& task : tasks) {
    for (const Shape& shape : shapes_of(*this, task)) {
      for (int64_t i = 0; i < seeds; ++i) {
        runs.push_back(planned_run(*this, task, shape, first_seed + i));
      }
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
