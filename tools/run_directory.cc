#include "run_directory.h"

#include "format.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

constexpr const char* kOutputs = "outputs";

// The last.safetensors in outputs/ that was written last; empty when there is none.
fs::path latest_checkpoint() {
  fs::path latest;
  std::error_code none;
  for (const auto& entry : fs::recursive_directory_iterator(kOutputs, none)) {
    if (entry.path().filename() != "last.safetensors") continue;
    if (latest.empty() || entry.last_write_time() > fs::last_write_time(latest)) {
      latest = entry.path();
    }
  }
  return latest;
}

// What a line of metrics measures, as TensorBoard groups it: "train/loss", "validation/val_loss".
std::vector<std::pair<std::string, double>> scalars_of(const Json& line) {
  const std::string event = line["event"];
  std::vector<std::pair<std::string, double>> scalars;
  for (const auto& [key, value] : line.items()) {
    if (!value.is_number() || key == "step" || key == "epoch") continue;
    scalars.emplace_back((event == "step" ? "train" : event) + "/" + key, value.get<double>());
  }
  return scalars;
}

}  // namespace

fs::path RunDirectory::default_path(const TrainOptions& options) {
  const std::string name = options.model + "_" + options.task + "_L" +
                           std::to_string(options.max_seq_len) + "_N" +
                           std::to_string(options.num_layers);
  return fs::path(kOutputs) / time_stamp() / name;
}

RunDirectory RunDirectory::create(const fs::path& path) {
  const RunDirectory run(path);
  if (fs::exists(run.last())) {
    throw UsageError(path.string() + " already holds a run: --resume " + path.string() +
                     " goes on with it, another --output-dir starts a new one");
  }
  std::error_code error;
  fs::create_directories(path / "checkpoints", error);
  if (error) throw Failure("cannot create " + path.string() + ": " + error.message());
  return run;
}

RunDirectory RunDirectory::find(const std::string& run) {
  const fs::path given = run == "latest" ? latest_checkpoint() : fs::path(run);
  if (given.empty()) throw Failure("no run to resume: outputs/ holds no last.safetensors");
  if (!fs::exists(given)) throw Failure("no run to resume: " + run + " does not exist");
  const RunDirectory found(fs::is_directory(given) ? given : given.parent_path().parent_path());
  if (!fs::exists(found.config())) {
    throw Failure("no run to resume: " + found.config().string() + " does not exist");
  }
  if (!fs::exists(found.last())) {
    throw Failure("nothing to resume from: " + found.last() +
                  " was not written before the run ended; start it anew");
  }
  return found;
}

MetricsLog::MetricsLog(fs::path path, int64_t steps, bool evaluated)
    : path_(std::move(path)), events_(path_.parent_path(), steps) {
  std::string kept;
  std::ifstream earlier(path_);
  for (std::string text; std::getline(earlier, text);) {
    const Json line = Json::parse(text, nullptr, false);
    // A line cut short by a crash, or past the checkpoint: it will be measured again.
    if (!line.is_object() || line.value("step", steps + 1) > steps) continue;
    const std::string event = line.value("event", "");
    if (event == "test") continue;
    if (event == "validation" && line.value("step", steps) == steps && !evaluated) continue;
    remember(line);
    kept += text + "\n";
  }
  replace_file(path_, kept);
  file_.open(path_, std::ios::app);
}

Json MetricsLog::append(Json line) {
  events_.write(line["step"], scalars_of(line));
  line["tokens"] = tokens_;
  line["train_seconds"] = train_seconds_;
  line["seconds"] = seconds();
  if (line["event"] == "validation") evaluations_.push_back(line);
  file_ << line.dump() << std::endl;
  if (!file_) throw Failure("cannot write " + path_.string());
  return line;
}

double MetricsLog::seconds() const {
  const std::chrono::duration<double> here = std::chrono::steady_clock::now() - start_;
  return earlier_seconds_ + here.count();
}

void MetricsLog::remember(const Json& line) {
  if (line.value("event", "") == "validation") evaluations_.push_back(line);
  tokens_ = line.value("tokens", tokens_);
  train_seconds_ = line.value("train_seconds", train_seconds_);
  earlier_seconds_ = line.value("seconds", earlier_seconds_);
}

}  // namespace tools
