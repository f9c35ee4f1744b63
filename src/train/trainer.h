#pragma once

#include <map>
#include <memory>

#include "train/batches.h"

namespace gf {

struct TrainOptions {
  int64_t batch_size = 32;
  int64_t epochs = 20;
  int64_t max_steps = 0;  // 0: epochs decide
  uint64_t seed = 0;
  AdamW adamw;  // the totals of its schedule are the trainer's to fill in
};

struct StepReport {
  int64_t step;  // steps done, this one included
  int64_t epoch;
  double loss;
  double gradient_norm;
  double learning_rate;
  int64_t tokens;  // of the batch, without padding
  double seconds;
};

// Where a run stands. Together with the parameters and both moments, all the state it has.
struct TrainProgress {
  StepState state;
  double epoch_loss = 0;  // sum over the steps of the epoch of the last step
  int64_t epoch_steps = 0;
  int64_t tokens = 0;  // of the batches of all steps, without padding
};

// What a step did.
struct LastStep {
  StepResult result;
  int64_t epoch = 0;
  int64_t tokens = 0;
};

// A model in training. Steps may run behind the caller on an asynchronous device: what is asked of
// their outcome waits for them.
class Trainer {
 public:
  // Throws GF_ERROR_INVALID_ARGUMENT naming the option, or the property of the data, at fault.
  Trainer(std::shared_ptr<Model> model, std::shared_ptr<const Dataset> dataset,
          const TrainOptions& options);
  ~Trainer();

  // Bytes of all that training needs on the device, the parameters and evaluations of as large
  // batches between its steps included, the data not.
  static size_t bytes(const ModelConfig& config, const Shape& shape);

  // Next batch, forward, backward, clip, AdamW. Throws GF_ERROR_NOT_FINITE naming step and tensor,
  // with the weights and the place in the data as before the step; without waiting, at a later step
  // or at finish().
  StepReport step();
  void step_without_waiting();
  // Waits for all steps begun.
  void finish();

  bool done() const { return next_.step >= schedule().total_steps; }
  const Schedule& schedule() const { return options_.adamw.schedule; }
  const TrainOptions& options() const { return options_; }
  const TrainProgress& progress() const { return progress_; }  // of the steps finished
  void set_progress(const TrainProgress& progress);
  const std::shared_ptr<Model>& model() const { return model_; }
  const Dataset& dataset() const { return *dataset_; }
  const Parameters& parameters() const { return params_; }  // values, gradients, moments

 private:
  void run_step(const BatchKind& kind);
  void compute_gradient(const BatchKind& kind);
  void take(const StepResult& result);
  void upload_state();
  [[noreturn]] void report_not_finite(double loss);

  std::shared_ptr<Model> model_;
  std::shared_ptr<const Dataset> dataset_;
  TrainOptions options_;
  TrainProgress progress_;
  StepState next_;  // where the next step to be begun stands
  LastStep last_;   // finished

  std::unique_ptr<Batches> batches_;
  std::unique_ptr<Arena> arena_;
  Parameters params_;
  StepState* state_ = nullptr;
  LossSum* loss_ = nullptr;
  double* squared_norm_ = nullptr;
  StepResult* results_ = nullptr;  // of the last kMostPending steps, shared with the host
  std::unique_ptr<Workspace> workspace_;
  std::map<BatchKind, std::unique_ptr<Recording>> recordings_;  // of a step
};

}  // namespace gf
