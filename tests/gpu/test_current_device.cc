// A program that uses GPUs by itself finds what its threads work on as it was, whatever it calls.

#include <dlfcn.h>

#include <string>
#include <vector>

#include "api/api_test.h"

namespace {

using namespace gf_test;

using Cuda = void*;  // a CUcontext

// A function of the driver, which only a machine with a GPU has: tests are built without CUDA.
template <class Function>
Function* driver(const char* name) {
  static void* library = dlopen("libcuda.so.1", RTLD_NOW);
  void* function = library ? dlsym(library, name) : nullptr;
  if (!function) fail_msg("libcuda.so.1 has no %s", name);
  return reinterpret_cast<Function*>(function);
}

// Null where the thread has none, or nobody has used CUDA so far.
Cuda current() {
  Cuda context = nullptr;
  driver<int(Cuda*)>("cuCtxGetCurrent")(&context);
  return context;
}

int count_gpus() {
  int count = 0;
  assert_int_equal(driver<int(int*)>("cuDeviceGetCount")(&count), 0);
  return count;
}

bool has_context(int gpu) {
  unsigned flags = 0;
  int active = 0;
  assert_int_equal(
      driver<int(int, unsigned*, int*)>("cuDevicePrimaryCtxGetState")(gpu, &flags, &active), 0);
  return active != 0;
}

gf_context* make_context_on(const std::string& device) {
  gf_context_options options;
  gf_context_options_init(&options);
  options.device = device.c_str();
  options.precision = in_bf16() ? "bf16" : "fp32";
  gf_context* context = nullptr;
  assert_int_equal(gf_context_create(&options, &context, nullptr, 0), GF_OK);
  return context;
}

struct Use {
  std::vector<double> losses;  // of steps and of the evaluation
  Cuda inside;                 // what the library works on
};

// All calls that work on a GPU, made by a thread that works on `mine`.
Use use(const std::string& device, Cuda mine) {
  const auto check = [&](gf_status status) {
    assert_int_equal(status, GF_OK);
    assert_ptr_equal(current(), mine);
  };
  gf_context* context = make_context_on(device);
  assert_ptr_equal(current(), mine);
  const gf_model_config config = small_config(GF_MIXER_GRASSMANN);
  gf_model* model = nullptr;
  check(gf_model_create(context, &config, 7, &model));
  gf_dataset* dataset = make_dataset(context);
  Use used = {};
  gf_train_options options;
  gf_train_options_init(&options);
  options.progress = [](const gf_train_report*, void* inside) {
    *static_cast<Cuda*>(inside) = current();
    return 0;
  };
  options.progress_user = &used.inside;
  gf_trainer* trainer = nullptr;
  check(gf_trainer_create(model, dataset, &options, &trainer));
  for (int i = 0; i < 4; ++i) {  // the third is where a step is recorded
    gf_train_report report = {};
    report.struct_size = sizeof report;
    check(gf_train_step(trainer, i < 3 ? &report : nullptr));
    used.losses.push_back(report.loss);
  }
  gf_train_state state = {};
  state.struct_size = sizeof state;
  check(gf_trainer_get_state(trainer, &state));
  const std::string path = scratch_directory() + "/checkpoint";
  check(gf_checkpoint_save(trainer, path.c_str()));
  check(gf_checkpoint_load(trainer, path.c_str()));
  check(gf_context_set_profiling(context, 1));
  gf_eval_report evaluation = {};
  evaluation.struct_size = sizeof evaluation;
  check(gf_eval(model, dataset, 8, &evaluation));
  used.losses.push_back(evaluation.loss);
  size_t operations = 0;
  check(gf_context_profile(context, nullptr, 0, &operations));
  check(gf_context_set_profiling(context, 0));
  std::vector<float> logits(size_t{3} * 256);
  const int32_t ids[] = {1, 2, 3};
  check(gf_model_forward(model, ids, 1, 3, logits.data()));
  std::vector<float> bias(32);
  check(gf_model_read_parameter(model, "blocks.0.ffn.0.bias", bias.data(), bias.size()));
  check(gf_model_write_parameter(model, "blocks.0.ffn.0.bias", bias.data(), bias.size()));
  gf_context_free(context);
  assert_ptr_equal(current(), mine);
  gf_trainer_free(trainer);
  assert_ptr_equal(current(), mine);
  gf_model_free(model);
  assert_ptr_equal(current(), mine);
  gf_dataset_free(dataset);  // the last: the device goes with it
  assert_ptr_equal(current(), mine);
  assert_non_null(used.inside);
  return used;
}

void a_thread_without_a_context_gets_none(void**) {
  assert_null(current());
  use("cuda", nullptr);
  use("cuda", nullptr);  // now that the GPU has been used
}

void another_context_of_the_same_gpu_comes_back(void**) {
  const Use wanted = use("cuda", nullptr);
  Cuda mine = nullptr;
  assert_int_equal(driver<int(Cuda*, unsigned, int)>("cuCtxCreate_v2")(&mine, 0, 0), 0);
  assert_ptr_equal(current(), mine);
  const Use found = use("cuda", mine);
  assert_true(found.losses == wanted.losses);
  assert_ptr_equal(found.inside, wanted.inside);  // not mine
  assert_int_equal(driver<int(Cuda)>("cuCtxDestroy_v2")(mine), 0);
}

void a_context_that_cannot_be_made_changes_nothing(void**) {
  gf_context_options options;
  gf_context_options_init(&options);
  options.device = "cuda:99";
  gf_context* context = nullptr;
  assert_int_equal(gf_context_create(&options, &context, nullptr, 0), GF_ERROR_DEVICE);
  assert_null(current());
}

// The first of all tests, since it asks what GPUs have been used; with one GPU there is no other.
void no_other_gpu_is_touched(void**) {
  const int last = count_gpus() - 1;
  use("cuda:" + std::to_string(last), nullptr);
  for (int gpu = 0; gpu < last; ++gpu) assert_false(has_context(gpu));
}

}  // namespace

int main() {
  if (!on_gpu()) {
    print_message("[  SKIPPED ] gpu/current_device: the device is the CPU; see GF_TEST_DEVICE\n");
    return kSkipped;
  }
  if (driver<int(unsigned)>("cuInit")(0) != 0) return 1;
  const CMUnitTest tests[] = {
      cmocka_unit_test(no_other_gpu_is_touched),
      cmocka_unit_test(a_thread_without_a_context_gets_none),
      cmocka_unit_test(another_context_of_the_same_gpu_comes_back),
      cmocka_unit_test(a_context_that_cannot_be_made_changes_nothing),
  };
  return cmocka_run_group_tests_name("gpu/current_device", tests, nullptr, nullptr);
}
