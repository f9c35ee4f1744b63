/* What check_pytorch.py runs: makes a model, reads weights into it, saves it, loads it again and
 * writes the logits of the loaded one.
 *
 *   logits_tool MIXER V L N D H R F WEIGHTS MODEL IDS B T LOGITS
 *
 * MIXER is grassmann or transformer; WEIGHTS a safetensors file, or - for fresh ones; MODEL is
 * written; IDS holds B * T int32, LOGITS receives B * T * V float. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grassflow.h"

static gf_context* context;

static void check(gf_status status, const char* what) {
  if (status == GF_OK) return;
  fprintf(stderr, "logits_tool: %s: %s: %s\n", what, gf_status_name(status),
          gf_context_error(context));
  exit(1);
}

static void check_io(size_t done, size_t wanted, const char* path) {
  if (done == wanted) return;
  fprintf(stderr, "logits_tool: %s: %zu of %zu values\n", path, done, wanted);
  exit(1);
}

static gf_model_config read_config(char** argument) {
  gf_model_config config;
  gf_model_config_init(
      &config, strcmp(argument[1], "grassmann") == 0 ? GF_MIXER_GRASSMANN : GF_MIXER_TRANSFORMER);
  config.vocab_size = atoi(argument[2]);
  config.max_seq_len = atoi(argument[3]);
  config.num_layers = atoi(argument[4]);
  config.model_dim = atoi(argument[5]);
  config.num_heads = atoi(argument[6]);
  config.reduced_dim = atoi(argument[7]);
  config.ff_dim = atoi(argument[8]);
  return config;
}

static void save_model(const gf_model_config* config, const char* weights, const char* path) {
  gf_model* model;
  check(gf_model_create(context, config, 1, &model), "create");
  if (strcmp(weights, "-") != 0) check(gf_model_load_weights(model, weights), "load weights");
  check(gf_model_save(model, path), "save");
  gf_model_free(model);
}

static void write_logits(const char* path, const char* ids_path, int B, int T, int V,
                         const char* logits_path) {
  const size_t rows = (size_t)B * (size_t)T, count = rows * (size_t)V;
  int32_t* ids = malloc(rows * sizeof *ids);
  float* logits = malloc(count * sizeof *logits);
  FILE* in = fopen(ids_path, "rb");
  check_io(in && ids ? fread(ids, sizeof *ids, rows, in) : 0, rows, ids_path);
  fclose(in);

  gf_model* model;
  check(gf_model_load(context, path, &model), "load");
  check(gf_model_forward(model, ids, B, T, logits), "forward");
  gf_model_free(model);

  FILE* out = fopen(logits_path, "wb");
  check_io(out ? fwrite(logits, sizeof *logits, count, out) : 0, count, logits_path);
  check_io((size_t)fclose(out), 0, logits_path);
  free(logits);
  free(ids);
}

int main(int argc, char** argv) {
  if (argc != 15) {
    fprintf(stderr, "usage: logits_tool MIXER V L N D H R F WEIGHTS MODEL IDS B T LOGITS\n");
    return 2;
  }
  char error[256];
  if (gf_context_create(NULL, &context, error, sizeof error) != GF_OK) {
    fprintf(stderr, "logits_tool: %s\n", error);
    return 1;
  }
  const gf_model_config config = read_config(argv);
  save_model(&config, argv[9], argv[10]);
  write_logits(argv[10], argv[11], atoi(argv[12]), atoi(argv[13]), config.vocab_size, argv[14]);
  gf_context_free(context);
  return 0;
}
