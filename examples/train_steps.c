/* Twenty steps on the sample corpus, without any file to read: the losses that every binding's
 * train_steps prints too, digit for digit. */
#include <grassflow.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_BYTES = 50000, LENGTH = 64, HELD_OUT_CHUNKS = 80 };

static gf_context* context;

static void check(gf_status status) {
  if (status >= GF_OK) return;
  fprintf(stderr, "train_steps: %s: %s\n", gf_status_name(status), gf_context_error(context));
  exit(1);
}

static int show(const gf_train_report* report, void* unused) {
  (void)unused;
  printf("step %2d  loss %.12f\n", (int)report->step, report->loss);
  return 0;
}

static void print_held_out(gf_model* model, const gf_dataset* held_out) {
  gf_eval_report report = {.struct_size = sizeof report};
  check(gf_eval(model, held_out, 0, &report));
  printf("held-out loss %.12f  perplexity %.12f\n", report.loss, report.perplexity);
}

int main(int argc, char** argv) {
  if (argc != 2) return fprintf(stderr, "usage: train_steps MODEL.safetensors\n"), 2;
  char error[256];
  if (gf_context_create(NULL, &context, error, sizeof error) != GF_OK) {
    return fprintf(stderr, "train_steps: %s\n", error), 1;
  }

  static char text[TEXT_BYTES];
  static int32_t ids[TEXT_BYTES];
  size_t count;
  gf_tokenizer* tokenizer;
  check(gf_sample_text(context, 1, text, TEXT_BYTES));
  check(gf_tokenizer_load(context, "byte", NULL, &tokenizer));
  check(gf_tokenizer_encode(tokenizer, text, TEXT_BYTES, 0, ids, TEXT_BYTES, &count));

  gf_dataset *all, *train, *held_out;
  gf_dataset_info info = {.struct_size = sizeof info};
  check(gf_dataset_from_ids(context, ids, count, LENGTH, &all));
  check(gf_dataset_get_info(all, &info));
  check(gf_dataset_slice(all, 0, info.chunks - HELD_OUT_CHUNKS, &train));
  check(gf_dataset_slice(all, info.chunks - HELD_OUT_CHUNKS, HELD_OUT_CHUNKS, &held_out));

  gf_model_config config;
  gf_model_config_init(&config, GF_MIXER_GRASSMANN);
  config.vocab_size = gf_tokenizer_vocab_size(tokenizer);
  config.max_seq_len = LENGTH, config.num_layers = 2, config.model_dim = 64, config.ff_dim = 256;
  gf_model *model, *loaded;
  check(gf_model_create(context, &config, 1, &model));

  gf_train_options options;
  gf_train_options_init(&options);
  options.max_steps = 20, options.warmup_steps = 5, options.lr = 3e-3;
  options.progress = show;
  gf_trainer* trainer;
  check(gf_trainer_create(model, train, &options, &trainer));
  gf_status status = GF_OK;
  while (status == GF_OK) check(status = gf_train_step(trainer, NULL));

  print_held_out(model, held_out);
  check(gf_model_save(model, argv[1]));
  check(gf_model_load(context, argv[1], &loaded));
  print_held_out(loaded, held_out);
  gf_trainer_free(trainer), gf_model_free(loaded), gf_model_free(model);
  gf_dataset_free(held_out), gf_dataset_free(train), gf_dataset_free(all);
  gf_tokenizer_free(tokenizer), gf_context_free(context);
  return 0;
}
