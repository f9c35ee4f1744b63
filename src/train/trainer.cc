#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"

namespace gf {
namespace {

// Steps that may have begun before the first of them is asked about: the wait that follows costs
// far less than they do.
constexpr int64_t kMostPending = 64;

void require(bool holds, const char* option, double value, const char* expected) {
  if (!holds) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "%s is %g, expected %s", option, value, expected);
  }
}

void check(const TrainOptions& o) {
  const AdamW& a = o.adamw;
  require(o.batch_size >= 1, "batch_size", static_cast<double>(o.batch_size), "at least 1");
  require(o.epochs >= 1, "epochs", static_cast<double>(o.epochs), "at least 1");
  require(o.max_steps >= 0, "max_steps", static_cast<double>(o.max_steps), "0 (no limit) or more");
  require(std::isfinite(a.schedule.lr) && a.schedule.lr >= 0, "lr", a.schedule.lr, "0 or more");
  require(a.schedule.min_lr >= 0 && a.schedule.min_lr <= a.schedule.lr, "min_lr", a.schedule.min_lr,
          "0 to lr");
  require(a.schedule.warmup_steps >= 0, "warmup_steps",
          static_cast<double>(a.schedule.warmup_steps), "0 or more");
  require(a.beta1 >= 0 && a.beta1 < 1, "beta1", a.beta1, "0 <= beta1 < 1");
  require(a.beta2 >= 0 && a.beta2 < 1, "beta2", a.beta2, "0 <= beta2 < 1");
  require(std::isfinite(a.epsilon) && a.epsilon > 0, "epsilon", a.epsilon, "a positive number");
  require(std::isfinite(a.weight_decay) && a.weight_decay >= 0, "weight_decay", a.weight_decay,
          "0 or more");
  require(std::isfinite(a.clip) && a.clip >= 0, "grad_clip", a.clip, "0 (no clipping) or more");
}

// Steps of an epoch and of the whole training: a short batch is a step of its own.
Schedule with_totals(Schedule schedule, const TrainOptions& options, int64_t batches) {
  schedule.epochs = options.epochs;
  schedule.steps_per_epoch = batches;
  schedule.total_steps = schedule.steps_per_epoch * options.epochs;
  if (options.max_steps > 0) {
    schedule.total_steps = std::min(schedule.total_steps, options.max_steps);
  }
  return schedule;
}

double mean_loss(const StepResult& result) {
  return result.loss_sum / static_cast<double>(result.loss_count);
}

// Gradients and moments beside the model's values.
Parameters lay_out_training(Arena& arena, const ParamTable& table, const Parameters& values) {
  Parameters flat = values;
  flat.grad = arena.mat(1, table.flat_size());
  flat.moment1 = arena.mat(1, table.flat_size());
  flat.moment2 = arena.mat(1, table.flat_size());
  return flat;
}

}  // namespace

Trainer::Trainer(std::shared_ptr<Model> model, std::shared_ptr<const Dataset> dataset,
                 const TrainOptions& options)
    : model_(std::move(model)), dataset_(std::move(dataset)), options_(options) {
  check(options_);
  check_dataset(*model_, *dataset_);
  options_.batch_size = batch_size_of(*dataset_, options_.batch_size);
  progress_.state.seed = next_.seed = options_.seed;

  Device& device = *model_->device();
  const auto lay_out = [&](Arena& arena) {
    params_ = lay_out_training(arena, model_->table(), model_->parameters());
    state_ = arena.array<StepState>(1);
    loss_ = arena.array<LossSum>(1);
    squared_norm_ = arena.array<double>(1);
  };
  Arena measured;
  lay_out(measured);
  arena_ = std::make_unique<Arena>(model_->device(), measured.bytes(), "gradients and moments");
  lay_out(*arena_);
  batches_ = std::make_unique<Batches>(model_->device(), *dataset_, options_.batch_size,
                                       Batches::Order::kShuffled);
  options_.adamw.schedule = with_totals(options_.adamw.schedule, options_, batches_->per_epoch());
  workspace_ = std::make_unique<Workspace>(
      *model_, params_,
      Shape{options_.batch_size, dataset_->length(), device.product_bytes(), true});
  upload_state();
  results_ = static_cast<StepResult*>(
      device.allocate_shared(kMostPending * sizeof(StepResult), "results of steps"));
}

size_t Trainer::bytes(const ModelConfig& config, const Shape& shape) {
  const ParamTable table(config);
  Arena measured;
  lay_out_training(measured, table, lay_out_parameters(measured, table, shape.product_bytes));
  return measured.bytes() + Workspace::bytes(config, table, shape);
}

Trainer::~Trainer() {
  model_->device()->release(results_);
}

StepReport Trainer::step() {
  const auto begin = std::chrono::steady_clock::now();
  step_without_waiting();
  finish();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  const StepResult& result = last_.result;
  return {result.step + 1,
          last_.epoch,
          mean_loss(result),
          std::sqrt(result.squared_norm),
          learning_rate(schedule(), result.step),
          last_.tokens,
          elapsed.count()};
}

// The device moves its own state on; next_ follows it, taking for granted that results are finite.
void Trainer::step_without_waiting() {
  if (next_.step - progress_.state.step == kMostPending) finish();
  const BatchKind kind = batches_->kind(next_);
  std::unique_ptr<Recording>& recording = recordings_[kind];
  if (!recording) recording = model_->device()->record([this, kind] { run_step(kind); });
  recording->run();
  next_.move_on(batches_->per_epoch());
}

void Trainer::run_step(const BatchKind& kind) {
  Ops& ops = model_->device()->ops();
  compute_gradient(kind);
  ops.squared_norm(params_.grad, squared_norm_);
  ops.adamw(params_, options_.adamw, state_, squared_norm_, loss_);
  ops.finish_step(loss_, squared_norm_, batches_->per_epoch(), state_, results_, kMostPending);
}

void Trainer::compute_gradient(const BatchKind& kind) {
  Device& device = *model_->device();
  Network& network = workspace_->network(kind.sequences, kind.length);
  batches_->gather(kind, state_, network.batch());
  network.forward(device, state_);
  network.backward(device, state_, loss_);
}

void Trainer::finish() {
  if (next_.step == progress_.state.step) return;
  model_->device()->synchronize();
  while (progress_.state.step < next_.step) {
    const StepResult& result = results_[progress_.state.step % kMostPending];
    const double loss = mean_loss(result);
    if (!std::isfinite(loss) || !std::isfinite(result.squared_norm)) {
      next_ = progress_.state;
      upload_state();
      report_not_finite(loss);
    }
    take(result);
  }
}

void Trainer::take(const StepResult& result) {
  StepState& state = progress_.state;
  if (state.cursor == 0) {
    progress_.epoch_loss = 0;
    progress_.epoch_steps = 0;
  }
  progress_.epoch_loss += mean_loss(result);
  ++progress_.epoch_steps;
  last_ = {result, state.epoch, batches_->tokens(state)};
  progress_.tokens += last_.tokens;
  state.move_on(batches_->per_epoch());
}

void Trainer::set_progress(const TrainProgress& progress) {
  progress_ = progress;
  next_ = progress.state;
  upload_state();
}

void Trainer::upload_state() {
  model_->device()->upload(state_, &progress_.state, sizeof progress_.state);
}

// Steps begun after the one that failed have left gradients of their own kind of batch: its own are
// computed again. That is no whole step, so the weights cannot move whatever comes out.
void Trainer::report_not_finite(double loss) {
  const BatchKind kind = batches_->kind(progress_.state);
  model_->device()->record([&] { compute_gradient(kind); })->run();
  const auto first_bad = [&](const Mat& flat) -> const ParamSpec* {
    std::vector<float> values;
    for (const ParamSpec& spec : model_->table().specs()) {
      values.resize(static_cast<size_t>(spec.size()));
      model_->device()->download(values.data(), flat.data + spec.offset,
                                 values.size() * sizeof(float));
      if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
        return &spec;
      }
    }
    return nullptr;
  };
  const ParamSpec* value = first_bad(params_.value);
  const ParamSpec* gradient = value ? value : first_bad(params_.grad);
  throw_error(GF_ERROR_NOT_FINITE, "step %lld: the loss is %g, and %s is not finite first in %s",
              static_cast<long long>(progress_.state.step + 1), loss,
              value ? "the parameter" : "the gradient",
              gradient ? gradient->name.c_str() : "their norm alone");
}

}  // namespace gf
