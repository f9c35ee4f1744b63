#include <grassflow.h>
#include <stdio.h>

/* A failed call leaves its handle NULL, which the next ones refuse: one check does. */
int main(void) {
  gf_context* context = NULL;
  gf_tokenizer* bytes = NULL;
  gf_dataset* data = NULL;
  gf_model* model = NULL;
  gf_trainer* trainer = NULL;
  gf_model_config config;
  gf_train_options options;
  gf_train_report report = {.struct_size = sizeof report};
  gf_model_config_init(&config, GF_MIXER_GRASSMANN);
  config.vocab_size = 256, config.model_dim = 64;
  gf_train_options_init(&options);
  options.max_steps = 20, options.warmup_steps = 5, options.lr = 3e-3;
  gf_context_create(NULL, &context, NULL, 0);
  gf_tokenizer_load(context, "byte", NULL, &bytes);
  gf_dataset_from_text_file(context, bytes, "README.md", GF_TEXT_PLAIN, 64, &data);
  gf_model_create(context, &config, 1, &model);
  gf_trainer_create(model, data, &options, &trainer);
  while (gf_train_step(trainer, &report) == GF_OK) printf("loss %.4f\n", report.loss);
  const gf_status saved = gf_model_save(model, "model.safetensors");
  if (saved != GF_OK) puts(gf_context_error(context));
  gf_trainer_free(trainer), gf_model_free(model), gf_dataset_free(data);
  gf_tokenizer_free(bytes), gf_context_free(context);
  return saved != GF_OK;
}
