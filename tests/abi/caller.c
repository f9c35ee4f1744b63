/* A program that fills in and receives every struct of the header. It is compiled against three of
 * them, an older, the present and a newer one (resize_header.py), and run with one library: all
 * print the same. GF_NEWER_HEADER says that structs end with a field `later`. */
#include <grassflow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 16, CHUNKS = 12, CANARY = 64 };

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static gf_context* context;

static void fail(int line, const char* condition) {
  fprintf(stderr, "caller.c:%d: %s does not hold; last error: %s\n", line, condition,
          gf_context_error(context));
  exit(1);
}

/* A struct with a guard behind it, which a library that took it for a larger one would write to. */
#define GUARDED(type)            \
  struct {                       \
    type it;                     \
    unsigned char guard[CANARY]; \
  }
#define SET_GUARD(value) memset(&(value), 0x5a, sizeof(value))
#define CHECK_GUARD(value) CHECK(guard_holds((value).guard))

static int guard_holds(const unsigned char* guard) {
  int i;
  for (i = 0; i < CANARY; ++i) {
    if (guard[i] != 0x5a) return 0;
  }
  return 1;
}

static int64_t seen_step;

static int progress(const gf_train_report* report, void* user) {
  (void)user;
  seen_step = report->step;
  return 0;
}

static void open_context(void) {
  GUARDED(gf_context_options) options;
  SET_GUARD(options);
  gf_context_options_init(&options.it);
  CHECK_GUARD(options);
  CHECK(options.it.struct_size == sizeof options.it);
  options.it.threads = 1;
  CHECK(gf_context_create(&options.it, &context, NULL, 0) == GF_OK);
}

static gf_dataset* make_dataset(void) {
  static char text[CHUNKS * LENGTH];
  static int32_t ids[CHUNKS * LENGTH];
  GUARDED(gf_special_ids) special;
  GUARDED(gf_dataset_info) info;
  gf_tokenizer* tokenizer;
  gf_dataset* dataset;
  size_t count;
  CHECK(gf_sample_text(context, 1, text, sizeof text) == GF_OK);
  CHECK(gf_tokenizer_load(context, "byte", NULL, &tokenizer) == GF_OK);
  CHECK(gf_tokenizer_encode(tokenizer, text, sizeof text, 0, ids, sizeof text, &count) == GF_OK);
  SET_GUARD(special);
  special.it.struct_size = sizeof special.it;
  CHECK(gf_tokenizer_special_ids(tokenizer, &special.it) == GF_OK);
  CHECK_GUARD(special);
  CHECK(special.it.struct_size == sizeof special.it && special.it.pad == -1);
  gf_tokenizer_free(tokenizer);

  CHECK(gf_dataset_from_ids(context, ids, count, LENGTH, &dataset) == GF_OK);
  SET_GUARD(info);
  info.it.struct_size = sizeof info.it;
  CHECK(gf_dataset_get_info(dataset, &info.it) == GF_OK);
  CHECK_GUARD(info);
  CHECK(info.it.chunks == CHUNKS);
  return dataset;
}

static gf_model* make_model(void) {
  GUARDED(gf_model_config) config;
  gf_model* model;
  SET_GUARD(config);
  gf_model_config_init(&config.it, GF_MIXER_GRASSMANN);
  CHECK_GUARD(config);
  config.it.vocab_size = 256, config.it.max_seq_len = LENGTH, config.it.num_layers = 2;
  config.it.model_dim = 16, config.it.reduced_dim = 4, config.it.ff_dim = 32;
#ifdef GF_NEWER_HEADER
  CHECK(config.it.later == 0);
  config.it.later = 1;
  CHECK(gf_model_create(context, &config.it, 1, &model) == GF_ERROR_UNSUPPORTED);
  CHECK(strstr(gf_context_error(context), "does not know"));
  config.it.later = 0;
#endif
  CHECK(gf_model_create(context, &config.it, 1, &model) == GF_OK);
  SET_GUARD(config);
  config.it.struct_size = sizeof config.it;
  CHECK(gf_model_get_config(model, &config.it) == GF_OK);
  CHECK_GUARD(config);
  CHECK(config.it.model_dim == 16 && config.it.struct_size == sizeof config.it);
  return model;
}

/* Arrays: the caller's size is their stride. */
static void list_parameters(const gf_model* model) {
  typedef gf_parameter Parameters[100];
  GUARDED(Parameters) parameters;
  size_t count, i;
  SET_GUARD(parameters);
  parameters.it[0].struct_size = sizeof parameters.it[0];
  CHECK(gf_model_parameters(model, parameters.it, 100, &count) == GF_OK && count <= 100);
  CHECK_GUARD(parameters);
  for (i = 0; i < count; ++i) printf("%s %d\n", parameters.it[i].name, (int)parameters.it[i].dims);
}

static void train(gf_model* model, const gf_dataset* dataset) {
  GUARDED(gf_train_options) options;
  GUARDED(gf_train_report) report;
  GUARDED(gf_train_state) state;
  gf_trainer* trainer;
  int i;
  SET_GUARD(options);
  gf_train_options_init(&options.it);
  CHECK_GUARD(options);
  options.it.batch_size = 4, options.it.epochs = 1, options.it.progress = progress;
  CHECK(gf_trainer_create(model, dataset, &options.it, &trainer) == GF_OK);
  for (i = 1; i <= CHUNKS / 4; ++i) {
    SET_GUARD(report);
    report.it.struct_size = sizeof report.it;
    CHECK(gf_train_step(trainer, &report.it) == GF_OK);
    CHECK_GUARD(report);
    CHECK(report.it.step == i && seen_step == i);
    printf("loss %.17g\n", report.it.loss);
  }
  SET_GUARD(state);
  state.it.struct_size = sizeof state.it;
  CHECK(gf_trainer_get_state(trainer, &state.it) == GF_OK);
  CHECK_GUARD(state);
  CHECK(state.it.step == CHUNKS / 4);
  gf_trainer_free(trainer);
}

static void evaluate(gf_model* model, const gf_dataset* dataset) {
  GUARDED(gf_eval_report) report;
  typedef gf_profile_entry Entries[100];
  GUARDED(Entries) entries;
  size_t count, i;
  CHECK(gf_context_set_profiling(context, 1) == GF_OK);
  SET_GUARD(report);
  report.it.struct_size = sizeof report.it;
  CHECK(gf_eval(model, dataset, 0, &report.it) == GF_OK);
  CHECK_GUARD(report);
  printf("held-out %.17g\n", report.it.loss);
  SET_GUARD(entries);
  entries.it[0].struct_size = sizeof entries.it[0];
  CHECK(gf_context_profile(context, entries.it, 100, &count) == GF_OK && count <= 100);
  CHECK_GUARD(entries);
  for (i = 0; i < count; ++i) CHECK(strlen(entries.it[i].name) > 0 && entries.it[i].calls > 0);
}

int main(void) {
  gf_dataset* dataset;
  gf_model* model;
  open_context();
  dataset = make_dataset();
  model = make_model();
  list_parameters(model);
  train(model, dataset);
  evaluate(model, dataset);
  gf_model_free(model), gf_dataset_free(dataset), gf_context_free(context);
  return 0;
}
