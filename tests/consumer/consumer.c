/* What a user's program does first: prints the version and takes a training step. */
#include <grassflow.h>
#include <stdio.h>

int main(void) {
  enum { LENGTH = 16, IDS = 4 * LENGTH };
  gf_context* context;
  gf_dataset* dataset;
  gf_model* model;
  gf_trainer* trainer;
  gf_model_config config;
  gf_train_report report = {sizeof report, 0, 0, 0, 0, 0, 0, 0, 0};
  int32_t ids[IDS];
  int i;
  for (i = 0; i < IDS; ++i) ids[i] = i % 50;
  gf_model_config_init(&config, GF_MIXER_GRASSMANN);
  config.vocab_size = 64, config.max_seq_len = LENGTH, config.model_dim = 32;
  if (gf_context_create(NULL, &context, NULL, 0) != GF_OK ||
      gf_dataset_from_ids(context, ids, IDS, LENGTH, &dataset) != GF_OK ||
      gf_model_create(context, &config, 1, &model) != GF_OK ||
      gf_trainer_create(model, dataset, NULL, &trainer) != GF_OK ||
      gf_train_step(trainer, &report) != GF_OK) {
    return 1;
  }
  printf("libgrassflow %s, loss %.4f\n", gf_version_string(), report.loss);
  gf_trainer_free(trainer), gf_model_free(model), gf_dataset_free(dataset);
  gf_context_free(context);
  return 0;
}
