#include "study_run.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "format.h"
#include "process.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

// An empty object where there is no file, or only a part of one.
Json read_if_whole(const fs::path& path) {
  std::ifstream file(path);
  const Json json = Json::parse(file, nullptr, false);
  return json.is_object() ? json : Json::object();
}

std::string format_score(const Json& line, const std::string& split) {
  if (line.contains(split + "_accuracy")) {
    return format_share(line.value(split + "_accuracy", 0.0));
  }
  if (line.contains(split + "_loss")) return format_perplexity(line.value(split + "_loss", 0.0));
  return "";
}

}  // namespace

StudyRun::StudyRun(PlannedRun planned, const fs::path& study)
    : planned_(std::move(planned)), directory_(study / planned_.name) {}

std::optional<std::vector<std::string>> StudyRun::next_command(const StudyMode& mode) const {
  std::vector<std::string> command;
  const auto add = [&](const std::vector<std::string>& words) {
    command.insert(command.end(), words.begin(), words.end());
  };
  if (mode.trains && !read_if_whole(directory_ / "results.json").value("completed", false)) {
    add({tool_path("gf-train")});
    if (fs::exists(directory_ / "checkpoints/last.safetensors")) {
      add({"--resume", directory_.string()});
    } else {
      add(planned_.flags);
      add({"--output-dir", directory_.string()});
    }
    add(mode.flags);
    return command;
  }
  if (!mode.evaluates) return std::nullopt;
  for (const char* split : {"validation", "test"}) {
    if (!read_if_whole(results(split)).empty()) continue;
    add({tool_path("gf-eval"), "--checkpoint", directory_.string(), "--split", split,
         "--output-file", results(split).string()});
    add(mode.flags);
    return command;
  }
  return std::nullopt;
}

void StudyRun::refresh() {
  const fs::path path = directory_ / "metrics.jsonl";
  std::error_code none;
  const std::uintmax_t size = fs::file_size(path, none);
  if (none || size == read_) return;
  if (size < read_) read_ = 0;  // a run that goes on drops what it will measure again
  if (config_.empty()) config_ = read_if_whole(directory_ / "config.json");
  std::ifstream file(path);
  file.seekg(static_cast<std::streamoff>(read_));
  for (std::string text; std::getline(file, text) && !file.eof();) {
    read_line(text);
    read_ += text.size() + 1;
  }
}

void StudyRun::read_line(const std::string& text) {
  const Json line = Json::parse(text, nullptr, false);
  if (!line.is_object()) return;
  step_ = line.value("step", step_);
  epoch_ = line.value("epoch", epoch_);
  seconds_ = line.value("seconds", seconds_);
  const std::string event = line.value("event", "");
  if (event == "test") test_ = line;
  if (event != "validation") return;
  if (line.value("best", false)) best_ = line;
  if (epoch_ > 0) steps_per_epoch_ = step_ / epoch_;
}

double StudyRun::share() const {
  const auto epochs = config_.value("epochs", int64_t{0});
  const auto most = config_.value("max_steps", int64_t{0});
  if (epochs == 0) return 0;
  if (steps_per_epoch_ == 0) return 0;
  const int64_t all = steps_per_epoch_ * epochs;
  const int64_t steps = most > 0 ? std::min(most, all) : all;
  return std::min(1.0,
                  static_cast<double>(step_) / static_cast<double>(std::max<int64_t>(steps, 1)));
}

double StudyRun::seconds() const {
  return seconds_;
}

std::string StudyRun::epoch() const {
  if (epoch_ == 0) return "";
  return std::to_string(epoch_) + "/" + std::to_string(config_.value("epochs", int64_t{0}));
}

std::string StudyRun::validation() const {
  return format_score(best_, "val");
}

std::string StudyRun::test() const {
  return format_score(test_, "test");
}

std::string StudyRun::last_words() const {
  std::string last;
  std::ifstream file(log());
  for (std::string text; std::getline(file, text);) {
    if (!text.empty()) last = text;
  }
  return last.empty() ? "it said nothing" : last;
}

fs::path StudyRun::results(const char* split) const {
  return directory_ / (planned_.task + "_" + split + "_results.json");
}

}  // namespace tools
