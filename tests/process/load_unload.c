/* Loads libgrassflow by dlopen, trains a step, frees all and unloads it, a thousand times. Memory
 * in use, resident memory, mappings and threads must not grow, and the library must be gone after
 * every round: else a host that loads plug-ins could not use it.
 *
 * Which of malloc's caches a block returns to depends on the timing of threads, so some growth is
 * allowed, of less than a hundred bytes a round.
 * Usage: load_unload LIBRARY */
#include <dlfcn.h>
#include <grassflow.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 1000, WARM_UP = 100, LENGTH = 16, IDS = 8 * LENGTH };

static void fail(const char* what, const char* reason) {
  fprintf(stderr, "load_unload: %s: %s\n", what, reason);
  exit(1);
}

static void* find(void* library, const char* name) {
  void* function = dlsym(library, name);
  if (!function) fail(name, dlerror());
  return function;
}

/* Calls of the library, by the types that the header gives them. */
#define FIND(name) __typeof__(&name) name##_ = (__typeof__(&name))find(library, #name)
#define CHECK(call) \
  if ((call) != GF_OK) fail(#call, context ? gf_context_error_(context) : "no context")

static double train_a_step(void* library) {
  FIND(gf_context_options_init_sized);
  FIND(gf_context_create);
  FIND(gf_context_error);
  FIND(gf_context_free);
  FIND(gf_dataset_from_ids);
  FIND(gf_dataset_free);
  FIND(gf_model_config_init_sized);
  FIND(gf_model_create);
  FIND(gf_model_free);
  FIND(gf_trainer_create);
  FIND(gf_trainer_free);
  FIND(gf_train_step);

  gf_context* context = NULL;
  gf_context_options options;
  gf_context_options_init_sized_(&options, sizeof options);
  options.threads = 2;
  CHECK(gf_context_create_(&options, &context, NULL, 0));

  int32_t ids[IDS];
  for (int i = 0; i < IDS; ++i) ids[i] = i % 50;
  gf_dataset* dataset;
  CHECK(gf_dataset_from_ids_(context, ids, IDS, LENGTH, &dataset));
  gf_model_config config;
  gf_model_config_init_sized_(&config, sizeof config, GF_MIXER_GRASSMANN);
  config.vocab_size = 64, config.max_seq_len = LENGTH, config.num_layers = 1;
  config.model_dim = 64, config.reduced_dim = 16, config.ff_dim = 64;
  gf_model* model;
  CHECK(gf_model_create_(context, &config, 1, &model));
  gf_trainer* trainer;
  CHECK(gf_trainer_create_(model, dataset, NULL, &trainer));
  gf_train_report report = {sizeof report, 0, 0, 0, 0, 0, 0, 0, 0};
  CHECK(gf_train_step_(trainer, &report));
  gf_trainer_free_(trainer), gf_model_free_(model), gf_dataset_free_(dataset);
  gf_context_free_(context);
  return report.loss;
}

typedef struct Usage {
  size_t in_use;       /* bytes of malloc */
  long resident;       /* KiB */
  long threads;        /* of this process */
  long mappings, ours; /* lines of /proc/self/maps, and those of the library */
} Usage;

static Usage usage(void) {
  Usage now = {mallinfo2().uordblks, 0, 0, 0, 0};
  char line[512];
  FILE* status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status)) {
    sscanf(line, "VmRSS: %ld", &now.resident);
    sscanf(line, "Threads: %ld", &now.threads);
  }
  FILE* maps = fopen("/proc/self/maps", "r");
  while (maps && fgets(line, sizeof line, maps)) {
    ++now.mappings;
    now.ours += strstr(line, "libgrassflow") != NULL;
  }
  if (!status || !maps) fail("/proc", "cannot be read");
  fclose(status), fclose(maps);
  return now;
}

static void print(const char* when, Usage now) {
  printf("%s: %zu bytes in use, %ld KiB resident, %ld mappings, %ld threads\n", when, now.in_use,
         now.resident, now.mappings, now.threads);
}

int main(int argc, char** argv) {
  if (argc != 2) return fprintf(stderr, "usage: load_unload LIBRARY\n"), 2;
  Usage before = {0, 0, 0, 0, 0};
  double first = 0;
  for (int round = 0; round < ROUNDS; ++round) {
    void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) fail("dlopen", dlerror());
    const double loss = train_a_step(library);
    if (dlclose(library) != 0) fail("dlclose", dlerror());
    if (round == 0) first = loss;
    if (loss != first) fail("a later round", "its loss is another one");
    if (round == WARM_UP) before = usage();
  }
  const Usage after = usage();
  print("after 100 rounds", before);
  print("after 1000 rounds", after);
  if (after.ours != 0) fail("dlclose", "the library is still mapped");
  if (after.threads != 1) fail("threads", "some are left");
  if (after.in_use > before.in_use + (64 << 10)) fail("memory", "64 KiB more are in use");
  if (after.resident > before.resident + 4096)
    fail("resident memory", "it grew by more than 4 MiB");
  if (after.mappings > before.mappings) fail("mappings", "there are more of them");
  return 0;
}
