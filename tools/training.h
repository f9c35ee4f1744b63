#pragma once

#include <chrono>
#include <string>

#include "data_source.h"
#include "display.h"
#include "run_directory.h"
#include "train_options.h"

namespace tools {

struct Splits {
  Dataset train;
  Dataset validation;
  Dataset test;
};

// A run: steps, an evaluation after every epoch, checkpoints, and what is told about them.
class Training {
 public:
  // The model and the splits must outlive it. With `resume` the run goes on from its last
  // checkpoint.
  Training(const Context& context, const Model& model, const Splits& splits,
           const TrainOptions& options, const RunDirectory& run, Display& display, bool resume);

  // Steps until training is complete. False if an InterruptGuard, which must live meanwhile, has
  // noted a signal: everything is then saved.
  bool run();

  // Test of the best weights, which the model has from here on. Ends the trainer. False if a signal
  // has cut it short.
  bool test();

 private:
  bool step();  // false when none is left
  void time_step(double seconds, bool is_waited_for);
  void show(const gf_train_report& report);
  void log(const gf_train_report& report);
  void finish_epoch();
  bool has_pending_evaluation() const;
  bool is_best(const gf_eval_report& validation) const;
  void keep(const gf_eval_report& validation);
  void save();
  void write_results(const gf_eval_report* test) const;
  [[noreturn]] void stop_at_bad_loss();

  gf_train_state state() const;
  int64_t epoch() const { return (step_ + steps_per_epoch_ - 1) / steps_per_epoch_; }  // from 1
  double seconds_left() const;

  // Of a pair classifier accuracy is told, and decides which weights are best; else perplexity.
  bool classifies() const { return has_pairs(options_.task); }
  std::string quality(double loss, double accuracy) const;
  Json measured(const std::string& split, const gf_eval_report& report) const;

  const Context& context_;
  const Model& model_;
  const Splits& splits_;
  const TrainOptions& options_;
  const RunDirectory& directory_;
  Display& display_;
  Trainer trainer_;
  int64_t step_ = 0;
  int64_t total_steps_ = 0;
  int64_t steps_per_epoch_ = 0;
  MetricsLog metrics_;
  double step_seconds_ = 0;    // running mean
  double waited_seconds_ = 0;  // since the last report
  int64_t waited_steps_ = 0;
  double evaluation_seconds_ = 0;  // of the last one
  std::chrono::steady_clock::time_point last_save_ = std::chrono::steady_clock::now();
};

}  // namespace tools
