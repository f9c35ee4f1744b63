#include <cmath>
#include <optional>

#include "api/handles.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"

using namespace gf;
using namespace gf::api;

namespace {

gf_train_options default_options() {
  const TrainOptions t;
  gf_train_options o = {};
  o.struct_size = sizeof o;
  o.batch_size = static_cast<int32_t>(t.batch_size);
  o.epochs = static_cast<int32_t>(t.epochs);
  o.max_steps = t.max_steps;
  o.lr = t.adamw.schedule.lr;
  o.min_lr = t.adamw.schedule.min_lr;
  o.warmup_steps = t.adamw.schedule.warmup_steps;
  o.schedule = GF_SCHEDULE_COSINE;
  o.beta1 = t.adamw.beta1;
  o.beta2 = t.adamw.beta2;
  o.epsilon = t.adamw.epsilon;
  o.weight_decay = t.adamw.weight_decay;
  o.grad_clip = t.adamw.clip;
  o.seed = t.seed;
  return o;
}

TrainOptions read_options(const gf_train_options& o) {
  if (o.schedule < GF_SCHEDULE_COSINE || o.schedule > GF_SCHEDULE_CONSTANT) {
    throw_error(GF_ERROR_INVALID_ARGUMENT,
                "schedule is %d, expected 0 (cosine), 1 (cosine over epochs) or 2 (constant)",
                static_cast<int>(o.schedule));
  }
  TrainOptions t;
  t.batch_size = o.batch_size;
  t.epochs = o.epochs;
  t.max_steps = o.max_steps;
  t.seed = o.seed;
  t.adamw = {o.beta1, o.beta2, o.epsilon, o.weight_decay, o.grad_clip, {}};
  t.adamw.schedule.kind = static_cast<ScheduleKind>(o.schedule);
  t.adamw.schedule.lr = o.lr;
  t.adamw.schedule.min_lr = o.min_lr;
  t.adamw.schedule.warmup_steps = o.warmup_steps;
  return t;
}

gf_train_report describe(const StepReport& r, int64_t total_steps) {
  return {sizeof(gf_train_report),
          r.step,
          total_steps,
          static_cast<int32_t>(r.epoch),
          r.loss,
          r.gradient_norm,
          r.learning_rate,
          r.tokens,
          r.seconds};
}

gf_eval_report describe(const Evaluation& e, int32_t classes) {
  gf_eval_report report = {};
  report.loss = e.loss;
  report.perplexity = std::exp(e.loss);
  report.sequences = e.sequences;
  report.tokens = e.tokens;
  report.seconds = e.seconds;
  report.num_classes = classes;
  int64_t right = 0;
  for (int32_t i = 0; i < classes; ++i) {
    int64_t& count = report.class_counts[i];
    for (int32_t j = 0; j < classes; ++j) {
      report.confusion[i][j] = e.confusion[static_cast<size_t>(i * classes + j)];
      count += report.confusion[i][j];
    }
    right += report.confusion[i][i];
    if (count == 0) continue;
    report.class_accuracy[i] =
        static_cast<double>(report.confusion[i][i]) / static_cast<double>(count);
  }
  if (classes > 0) report.accuracy = static_cast<double>(right) / static_cast<double>(e.sequences);
  return report;
}

}  // namespace

// ---- Training ----------------------------------------------------------------------------------

void gf_train_options_init_sized(gf_train_options* options, size_t struct_size) {
  init_struct(options, struct_size, default_options());
}

gf_status gf_trainer_create(gf_model* model, const gf_dataset* dataset,
                            const gf_train_options* options, gf_trainer** out) {
  return guard(model, [&] {
    require(dataset, "dataset");
    require(out, "out");
    const gf_train_options o = read_struct(options, default_options(), "options");
    auto trainer = std::make_unique<Trainer>(model->model, dataset->dataset, read_options(o));
    *out = new gf_trainer{model->context, std::move(trainer), o.progress, o.progress_user};
    return GF_OK;
  });
}

void gf_trainer_free(gf_trainer* trainer) {
  free_handle(trainer);
}

gf_status gf_train_step(gf_trainer* trainer, gf_train_report* report) {
  return guard(trainer, [&] {
    if (report) require_struct(report, "report");
    if (trainer->trainer->done()) {
      trainer->trainer->finish();
      return GF_END;
    }
    if (!report && !trainer->progress) {
      trainer->trainer->step_without_waiting();
      return GF_OK;
    }
    const gf_train_report done =
        describe(trainer->trainer->step(), trainer->trainer->schedule().total_steps);
    if (report) write_struct(report, done);
    if (trainer->progress && trainer->progress(&done, trainer->progress_user) != 0) {
      return GF_CANCELLED;
    }
    return GF_OK;
  });
}

gf_status gf_trainer_get_state(gf_trainer* trainer, gf_train_state* out) {
  return guard(trainer, [&] {
    require_struct(out, "out");
    trainer->trainer->finish();
    const TrainProgress& p = trainer->trainer->progress();
    const Schedule& schedule = trainer->trainer->schedule();
    const double mean = p.epoch_steps > 0 ? p.epoch_loss / static_cast<double>(p.epoch_steps) : 0.0;
    write_struct(out, {0, p.state.step, schedule.total_steps, schedule.steps_per_epoch,
                       static_cast<int32_t>(p.state.epoch), mean, p.tokens});
    return GF_OK;
  });
}

gf_status gf_checkpoint_save(gf_trainer* trainer, const char* path) {
  return guard(trainer, [&] {
    require(path, "path");
    trainer->trainer->finish();
    save_trainer(*trainer->trainer, path);
    return GF_OK;
  });
}

gf_status gf_checkpoint_load(gf_trainer* trainer, const char* path) {
  return guard(trainer, [&] {
    require(path, "path");
    load_trainer(*trainer->trainer, path);
    return GF_OK;
  });
}

// ---- Evaluation --------------------------------------------------------------------------------

gf_status gf_eval(gf_model* model, const gf_dataset* dataset, int32_t batch_size,
                  gf_eval_report* out) {
  return guard(model, [&] {
    require(dataset, "dataset");
    require_struct(out, "out");
    if (batch_size < 0) {
      throw_error(GF_ERROR_INVALID_ARGUMENT, "batch_size is %d, expected 0 (32) or more",
                  batch_size);
    }
    const std::optional<Evaluation> e = evaluate(
        *model->model, *dataset->dataset, batch_size ? batch_size : 32, model->context->cancel);
    if (!e) return GF_CANCELLED;
    write_struct(out, describe(*e, static_cast<int32_t>(model->model->config().classes())));
    return GF_OK;
  });
}
