// Devices that are not there, memory that does not suffice, and that a device goes on after it.

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/support.h"
#include "train/evaluate.h"
#include "train/train_test.h"

namespace {

using namespace gf_test;

void a_gpu_that_is_not_there_names_those_that_are(void**) {
  assert_fails(GF_ERROR_DEVICE, "\"cuda:99\": this machine's GPUs are cuda:0 to cuda:", [] {
    gf::make_cuda_device({.index = 99});
  });
  gf_context_options options;
  gf_context_options_init(&options);
  options.device = "cuda:99";
  gf_context* context = nullptr;
  char error[200] = "";
  assert_int_equal(gf_context_create(&options, &context, error, sizeof error), GF_ERROR_DEVICE);
  assert_non_null(std::strstr(error, "cuda:0 to cuda:"));
}

void auto_takes_the_gpu(void**) {
  gf_context_options options;
  gf_context_options_init(&options);
  options.device = "auto";
  options.precision = in_bf16() ? "bf16" : "fp32";
  gf_context* context = nullptr;
  assert_int_equal(gf_context_create(&options, &context, nullptr, 0), GF_OK);
  assert_string_equal(gf_context_description(context), make_test_device(0)->description().c_str());
  print_message("%s\n", gf_context_description(context));
  gf_context_free(context);
}

// That the device still works: a few steps of training.
void assert_works(const std::shared_ptr<gf::Device>& device) {
  auto model =
      std::make_shared<gf::Model>(device, gf::ModelConfig(small_config(GF_MIXER_GRASSMANN)));
  model->initialise(3);
  gf::Trainer trainer(model, make_data(30), quick_options());
  for (int i = 0; i < 3; ++i) assert_true(std::isfinite(trainer.step().loss));
}

void too_much_memory_is_refused_and_the_device_goes_on(void**) {
  const auto device = make_test_device(0);
  const size_t bytes = size_t{1} << 50;
  const std::string wanted = "no memory for " + std::to_string(bytes) + " bytes of a test: ";
  assert_fails(GF_ERROR_OUT_OF_MEMORY, wanted.c_str(), [&] { device->allocate(bytes, "a test"); });
  assert_fails(GF_ERROR_OUT_OF_MEMORY, " are free", [&] { device->allocate(bytes, "a test"); });
  assert_works(device);

  gf_model_config config = small_config(GF_MIXER_TRANSFORMER);
  config.vocab_size = 16'000'000;
  config.model_dim = 65536;
  assert_fails(GF_ERROR_OUT_OF_MEMORY, "bytes of model parameters",
               [&] { gf::Model(device, gf::ModelConfig(config)); });
  assert_works(device);
}

// Less than this of a device's memory may come and go unseen.
constexpr size_t kGrain = size_t{64} << 20;

// All memory that can be had, in blocks that halve down to 16 MB.
class Hoard {
 public:
  explicit Hoard(std::shared_ptr<gf::Device> device) : device_(std::move(device)) {
    for (size_t bytes = size_t{1} << 38; bytes >= size_t{1} << 24;) {
      if (take(bytes)) continue;
      bytes /= 2;
    }
  }
  ~Hoard() {
    for (void* block : blocks_) device_->release(block);
  }
  Hoard(const Hoard&) = delete;
  Hoard& operator=(const Hoard&) = delete;

  size_t bytes() const { return bytes_; }

 private:
  bool take(size_t bytes) {
    try {
      blocks_.push_back(device_->allocate(bytes, "a hoard"));
    } catch (const gf::Error& error) {
      assert_int_equal(error.status(), GF_ERROR_OUT_OF_MEMORY);
      return false;
    }
    bytes_ += bytes;
    return true;
  }

  std::shared_ptr<gf::Device> device_;
  std::vector<void*> blocks_;
  size_t bytes_ = 0;
};

void a_training_that_finds_no_memory_leaves_none_taken(void**) {
  const auto device = make_test_device(0);
  gf_model_config config = small_config(GF_MIXER_GRASSMANN);
  config.vocab_size = 100'000;
  config.model_dim = 256;
  auto model = std::make_shared<gf::Model>(device, gf::ModelConfig(config));
  model->initialise(3);
  for (int i = 0; i < 3; ++i) {
    const Hoard hoard(device);
    assert_true(hoard.bytes() > size_t{1} << 28);
    assert_fails(GF_ERROR_OUT_OF_MEMORY, "bytes of gradients and moments",
                 [&] { gf::Trainer(model, make_data(30), quick_options()); });
  }
  gf::Trainer trainer(model, make_data(30), quick_options());
  assert_true(std::isfinite(trainer.step().loss));
}

// Its logits alone take 100,000 x 128 x 4 bytes: in the training's memory or not at all.
void an_evaluation_between_steps_needs_none_of_its_own(void**) {
  const auto device = make_test_device(0);
  gf_model_config config = small_config(GF_MIXER_TRANSFORMER);
  config.vocab_size = 100'000;
  auto model = std::make_shared<gf::Model>(device, gf::ModelConfig(config));
  model->initialise(3);
  const auto data = make_data(4, 2);
  const double before = gf::evaluate(*model, *data, 4).loss;  // operations now have their scratch
  gf::Trainer trainer(model, make_data(30), quick_options());
  poison_workspaces(*model);
  void* const for_tables = device->allocate(size_t{8} << 20, "a test");
  const Hoard hoard(device);
  device->release(for_tables);
  assert_true(gf::evaluate(*model, *data, 4).loss == before);
}

void freed_memory_comes_back(void**) {
  const auto device = make_test_device(0);
  assert_works(device);  // what a device keeps for its operations, it keeps from here on
  const size_t first = Hoard(device).bytes();
  for (int i = 0; i < 3; ++i) {
    assert_works(device);
    const size_t again = Hoard(device).bytes();
    if (again + kGrain < first) {
      fail_msg("%zu MB could be had, then %zu MB", first >> 20, again >> 20);
    }
  }
}

void a_device_that_is_gone_leaves_all_to_the_next(void**) {
  size_t first = 0;
  for (int i = 0; i < 3; ++i) {
    const auto device = make_test_device(0);
    assert_works(device);
    const size_t bytes = Hoard(device).bytes();
    if (i == 0) first = bytes;
    assert_true(bytes + kGrain >= first);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_gpu_that_is_not_there_names_those_that_are),
      cmocka_unit_test(auto_takes_the_gpu),
      cmocka_unit_test(too_much_memory_is_refused_and_the_device_goes_on),
      cmocka_unit_test(a_training_that_finds_no_memory_leaves_none_taken),
      cmocka_unit_test(an_evaluation_between_steps_needs_none_of_its_own),
      cmocka_unit_test(freed_memory_comes_back),
      cmocka_unit_test(a_device_that_is_gone_leaves_all_to_the_next),
  };
  if (!on_gpu()) {
    print_message("[  SKIPPED ] gpu/memory: the device is the CPU; see GF_TEST_DEVICE\n");
    return kSkipped;
  }
  return cmocka_run_group_tests_name("gpu/memory", tests, nullptr, nullptr);
}
