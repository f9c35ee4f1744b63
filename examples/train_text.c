/* Trains a Grassmann-flow model on a text file and says how well it predicts the last tenth. */
#include <grassflow.h>
#include <stdio.h>
#include <stdlib.h>

static gf_context* context;

static void check(gf_status status) {
  if (status >= GF_OK) return;
  fprintf(stderr, "train_text: %s: %s\n", gf_status_name(status), gf_context_error(context));
  exit(1);
}

static int show(const gf_train_report* report, void* unused) {
  (void)unused;
  if (report->step % 20 == 0) printf("step %4d  loss %.4f\n", (int)report->step, report->loss);
  return 0;
}

int main(int argc, char** argv) {
  if (argc != 3) return fprintf(stderr, "usage: train_text FILE MODEL.safetensors\n"), 2;
  char error[256];
  if (gf_context_create(NULL, &context, error, sizeof error) != GF_OK) {
    return fprintf(stderr, "train_text: %s\n", error), 1;
  }
  gf_tokenizer* tokenizer;
  check(gf_tokenizer_load(context, "byte", NULL, &tokenizer));

  gf_dataset *text, *train, *held_out;
  gf_dataset_info info = {.struct_size = sizeof info};
  check(gf_dataset_from_text_file(context, tokenizer, argv[1], GF_TEXT_PLAIN, 64, &text));
  check(gf_dataset_get_info(text, &info));
  const int64_t kept = info.chunks - info.chunks / 10;
  check(gf_dataset_slice(text, 0, kept, &train));
  check(gf_dataset_slice(text, kept, info.chunks - kept, &held_out));

  gf_model_config config;
  gf_model_config_init(&config, GF_MIXER_GRASSMANN);
  config.vocab_size = gf_tokenizer_vocab_size(tokenizer);
  config.max_seq_len = 64, config.num_layers = 2, config.model_dim = 64, config.ff_dim = 256;
  gf_model* model;
  check(gf_model_create(context, &config, 1, &model));

  gf_train_options options;
  gf_train_options_init(&options);
  options.max_steps = 100, options.warmup_steps = 10, options.lr = 3e-3;
  options.progress = show;
  gf_trainer* trainer;
  check(gf_trainer_create(model, train, &options, &trainer));
  gf_status status = GF_OK;
  while (status == GF_OK) check(status = gf_train_step(trainer, NULL));

  gf_eval_report held = {.struct_size = sizeof held};
  check(gf_eval(model, held_out, 0, &held));
  check(gf_model_save(model, argv[2]));
  printf("held-out perplexity %.3f per byte; the model is in %s\n", held.perplexity, argv[2]);
  gf_trainer_free(trainer), gf_model_free(model), gf_tokenizer_free(tokenizer);
  gf_dataset_free(held_out), gf_dataset_free(train), gf_dataset_free(text), gf_context_free(context);
  return 0;
}
