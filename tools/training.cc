#include "training.h"

#include <cmath>

#include "classification.h"
#include "format.h"
#include "interrupt.h"

namespace tools {
namespace {

constexpr int64_t kLogEvery = 10;                 // steps
constexpr std::chrono::minutes kSaveEvery{10};    // beside the end of every epoch
constexpr double kSmoothing = 0.9;                // of the time of a step
constexpr double kEvaluationShare = 1.0 / 3;      // of a training step's time per token
constexpr const char* kBestEpoch = "best_epoch";  // metadata of the checkpoints
constexpr const char* kBestLoss = "best_val_loss";
constexpr const char* kBestAccuracy = "best_val_accuracy";
// Of a checkpoint saved between the last step of an epoch and its evaluation, which was cut short.
constexpr const char* kPendingEvaluation = "pending_evaluation";

Trainer make_trainer(const Context& context, const Model& model, const Splits& splits,
                     const TrainOptions& options, const RunDirectory& run, bool resume) {
  const gf_train_options optimizer = optimizer_options(options);
  Trainer trainer = make<Trainer>(context, [&](gf_trainer** out) {
    return gf_trainer_create(model.get(), splits.train.get(), &optimizer, out);
  });
  if (resume) check(context, gf_checkpoint_load(trainer.get(), run.last().c_str()));
  return trainer;
}

}  // namespace

Training::Training(const Context& context, const Model& model, const Splits& splits,
                   const TrainOptions& options, const RunDirectory& run, Display& display,
                   bool resume)
    : context_(context),
      model_(model),
      splits_(splits),
      options_(options),
      directory_(run),
      display_(display),
      trainer_(make_trainer(context, model, splits, options, run, resume)),
      step_(state().step),
      total_steps_(state().total_steps),
      steps_per_epoch_(state().steps_per_epoch),
      metrics_(run.metrics(), step_, !has_pending_evaluation()) {}

bool Training::run() {
  if (step_ > 0) {
    display_.line(format("resumed after step %s of %s", with_thousands(step_).c_str(),
                         with_thousands(total_steps_).c_str()));
  }
  display_.line(format("  epoch      step   train loss   val loss %10s   tokens/s      time",
                       classifies() ? "val acc" : "val ppl"));
  if (has_pending_evaluation()) finish_epoch();
  while (InterruptGuard::signal() == 0 && step()) {
    if (step_ % steps_per_epoch_ == 0 || step_ == total_steps_) {
      finish_epoch();
    } else if (std::chrono::steady_clock::now() - last_save_ > kSaveEvery) {
      save();
    }
  }
  display_.clear_status();
  if (InterruptGuard::signal() == 0) return true;
  save();
  return false;
}

bool Training::step() {
  // At the end of an epoch too, so that steps still under way count as training.
  const bool logged = (step_ + 1) % kLogEvery == 0 || (step_ + 1) % steps_per_epoch_ == 0 ||
                      step_ + 1 == total_steps_;
  const bool shown = display_.status_due();
  gf_train_report report = {};
  report.struct_size = sizeof report;
  const auto start = std::chrono::steady_clock::now();
  const gf_status status = gf_train_step(trainer_.get(), logged || shown ? &report : nullptr);
  if (status == GF_END) return false;
  if (status == GF_ERROR_NOT_FINITE) stop_at_bad_loss();
  check(context_, status);

  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  ++step_;
  metrics_.count(taken.count());
  if (report.step > 0) metrics_.set_tokens(state().tokens);
  time_step(taken.count(), logged || shown);
  if (logged) log(report);
  if (shown) show(report);
  return true;
}

// Without a report a step may still be under way: its time shows in that of the next one with.
void Training::time_step(double seconds, bool is_waited_for) {
  waited_seconds_ += seconds;
  ++waited_steps_;
  if (!is_waited_for) return;
  const double mean = waited_seconds_ / static_cast<double>(waited_steps_);
  step_seconds_ = step_seconds_ == 0 ? mean : kSmoothing * step_seconds_ + (1 - kSmoothing) * mean;
  waited_seconds_ = 0;
  waited_steps_ = 0;
}

void Training::log(const gf_train_report& report) {
  Json line = {{"event", "step"}, {"step", step_}, {"epoch", epoch()}, {"loss", report.loss}};
  if (!classifies()) line["perplexity"] = std::exp(report.loss);
  line["lr"] = report.learning_rate;
  line["gradient_norm"] = report.gradient_norm;
  display_.event(metrics_.append(line));
}

void Training::show(const gf_train_report& report) {
  const int64_t epochs = (total_steps_ + steps_per_epoch_ - 1) / steps_per_epoch_;
  const double tokens = static_cast<double>(metrics_.tokens()) / static_cast<double>(step_);
  std::vector<StatusField> fields = {
      {4,
       format("epoch %lld/%lld", static_cast<long long>(epoch()), static_cast<long long>(epochs))},
      {0,
       format("step %s/%s", with_thousands(step_).c_str(), with_thousands(total_steps_).c_str())},
      {1, format("loss %.4f", report.loss)},
      {5, "ppl " + format_perplexity(report.loss)},
      {6, "lr " + format_rate(report.learning_rate)},
      {7, format("grad %.2f", report.gradient_norm)},
      {3, with_thousands(std::llround(tokens / step_seconds_)) + " tok/s"},
      {2, "ETA " + format_duration(seconds_left())},
  };
  if (classifies()) std::erase_if(fields, [](const StatusField& field) { return field.rank == 5; });
  display_.status(fields);
}

void Training::finish_epoch() {
  const gf_train_state trained = state();
  metrics_.set_tokens(trained.tokens);
  display_.status({{0, format("epoch %lld: evaluating ...", static_cast<long long>(epoch()))}});
  const std::optional<gf_eval_report> found =
      evaluate(context_, model_, splits_.validation, static_cast<int32_t>(options_.batch_size));
  if (!found) return set_metadata(context_, model_, kPendingEvaluation, "yes");
  remove_metadata(context_, model_, kPendingEvaluation);
  const gf_eval_report& validation = *found;
  evaluation_seconds_ = validation.seconds;
  const bool best = is_best(validation);
  if (best) keep(validation);
  Json line = {{"event", "validation"},
               {"step", step_},
               {"epoch", epoch()},
               {"train_loss", trained.epoch_loss}};
  if (!classifies()) line["train_perplexity"] = std::exp(trained.epoch_loss);
  line.update(measured("val", validation));
  line["best"] = best;
  display_.event(metrics_.append(line));
  save();
  write_results(nullptr);
  display_.line(format("%7lld %9s %12.4f %10.4f %10s %10s %9s%s", static_cast<long long>(epoch()),
                       with_thousands(step_).c_str(), trained.epoch_loss, validation.loss,
                       quality(validation.loss, validation.accuracy).c_str(),
                       with_thousands(std::llround(static_cast<double>(metrics_.tokens()) /
                                                   metrics_.train_seconds()))
                           .c_str(),
                       format_duration(metrics_.seconds()).c_str(), best ? "  best" : ""));
}

bool Training::has_pending_evaluation() const {
  return !metadata(model_, kPendingEvaluation).empty();
}

std::string Training::quality(double loss, double accuracy) const {
  return classifies() ? format_share(accuracy) : format_perplexity(loss);
}

Json Training::measured(const std::string& split, const gf_eval_report& report) const {
  Json json = {{split + "_loss", report.loss}};
  if (classifies()) {
    json[split + "_accuracy"] = report.accuracy;
  } else {
    json[split + "_perplexity"] = report.perplexity;
  }
  return json;
}

bool Training::is_best(const gf_eval_report& validation) const {
  const std::string earlier = metadata(model_, classifies() ? kBestAccuracy : kBestLoss);
  if (earlier.empty()) return true;
  return classifies() ? validation.accuracy > std::stod(earlier)
                      : validation.loss < std::stod(earlier);
}

void Training::keep(const gf_eval_report& validation) {
  set_metadata(context_, model_, kBestEpoch, std::to_string(epoch()));
  set_metadata(context_, model_, kBestLoss, format("%.17g", validation.loss));
  if (classifies()) {
    set_metadata(context_, model_, kBestAccuracy, format("%.17g", validation.accuracy));
  }
  check(context_, gf_model_save(model_.get(), directory_.best().c_str()));
}

void Training::save() {
  check(context_, gf_checkpoint_save(trainer_.get(), directory_.last().c_str()));
  last_save_ = std::chrono::steady_clock::now();
}

void Training::stop_at_bad_loss() {
  const std::string reason = gf_context_error(context_.get());
  save();
  display_.clear_status();
  throw Failure(reason + "; the weights before this step are in " + directory_.last() +
                "; a smaller --lr may help");
}

bool Training::test() {
  display_.status({{0, "test: evaluating the best weights ..."}});
  trainer_.reset();
  check(context_, gf_model_load_weights(model_.get(), directory_.best().c_str()));
  const std::optional<gf_eval_report> found =
      evaluate(context_, model_, splits_.test, static_cast<int32_t>(options_.batch_size));
  if (!found) {
    display_.clear_status();
    return false;
  }
  const gf_eval_report& test = *found;
  Json line = {{"event", "test"}, {"step", step_}};
  line.update(measured("test", test));
  display_.event(metrics_.append(line));
  write_results(&test);
  const double best_loss = std::stod(metadata(model_, kBestLoss));
  const double best_accuracy = classifies() ? std::stod(metadata(model_, kBestAccuracy)) : 0;
  const char* what = classifies() ? "accuracy" : "perplexity";
  display_.line("");
  display_.line(format("best       epoch %s, validation %s %s",
                       metadata(model_, kBestEpoch).c_str(), what,
                       quality(best_loss, best_accuracy).c_str()));
  display_.line(format("test       %s %s (loss %.4f over %s %s)", what,
                       quality(test.loss, test.accuracy).c_str(), test.loss,
                       with_thousands(classifies() ? test.sequences : test.tokens).c_str(),
                       classifies() ? "pairs" : "tokens"));
  if (classifies()) print_classification(test, display_);
  display_.line("results    " + directory_.results().string());
  return true;
}

void Training::write_results(const gf_eval_report* test) const {
  Json results;
  results["config"] = to_json(options_);
  results["parameters"] = parameter_count(context_, config_of(context_, model_));
  results["device"] = gf_context_description(context_.get());
  results["version"] = gf_version_string();
  results["completed"] = test != nullptr;
  results["steps"] = step_;
  results["best_epoch"] = std::stoll(metadata(model_, kBestEpoch));
  results["best_val_loss"] = std::stod(metadata(model_, kBestLoss));
  if (classifies()) {
    results["best_val_accuracy"] = std::stod(metadata(model_, kBestAccuracy));
  } else {
    results["best_val_perplexity"] = std::exp(std::stod(metadata(model_, kBestLoss)));
  }
  if (test) {
    results.update(measured("test", *test));
    results["test_tokens"] = test->tokens;
    if (classifies()) results["test"] = classification_json(*test);
  }
  results["tokens_per_second"] = static_cast<double>(metrics_.tokens()) / metrics_.train_seconds();
  if (classifies()) results["padded_share"] = padded_share(info_of(context_, splits_.train));
  results["train_seconds"] = metrics_.train_seconds();
  results["wall_clock_seconds"] = metrics_.seconds();
  for (Json line : metrics_.evaluations()) {
    line.erase("event");
    results["epochs"].push_back(line);
  }
  write_json(directory_.results(), results);
}

gf_train_state Training::state() const {
  gf_train_state state = {};
  state.struct_size = sizeof state;
  check(context_, gf_trainer_get_state(trainer_.get(), &state));
  return state;
}

double Training::seconds_left() const {
  const int64_t epochs = (total_steps_ + steps_per_epoch_ - 1) / steps_per_epoch_;
  const auto evaluations = static_cast<double>(epochs - epoch() + 1);
  const auto validation = static_cast<double>(info_of(context_, splits_.validation).chunks);
  const auto test = static_cast<double>(info_of(context_, splits_.test).chunks);
  const double guess =
      step_seconds_ * kEvaluationShare * validation / static_cast<double>(options_.batch_size);
  const double evaluation = evaluation_seconds_ > 0 ? evaluation_seconds_ : guess;
  return static_cast<double>(total_steps_ - step_) * step_seconds_ +
         evaluation * (evaluations + test / validation);
}

}  // namespace tools
