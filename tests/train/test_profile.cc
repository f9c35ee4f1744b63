// A device's profile: what ran under which name, how often, and that watching changes nothing.

#include "base/profile.h"

#include <algorithm>
#include <map>
#include <vector>

#include "support/support.h"
#include "train/train_test.h"

namespace {

using namespace gf_test;

std::map<std::string, int64_t> calls_of(gf::Device& device) {
  std::map<std::string, int64_t> calls;
  for (const gf::ProfileEntry& entry : device.profile()) {
    assert_true(entry.seconds >= 0);
    assert_int_equal(calls.count(entry.name), 0);
    calls[entry.name] = entry.calls;
  }
  return calls;
}

void a_training_is_profiled_by_operation_and_by_part(void**) {
  constexpr int64_t kSteps = 3, kLayers = 2;
  auto model = make_model(GF_MIXER_GRASSMANN);
  gf::Device& device = *model->device();
  gf::Trainer trainer(model, make_data(30), quick_options());
  trainer.step();
  assert_true(device.profile().empty());
  device.set_profiling(true);
  for (int64_t i = 0; i < kSteps; ++i) trainer.step();
  const std::map<std::string, int64_t> once = {
      {"gather", 1},           {"embed", 1},         {"norm", 1},
      {"lm_loss_backward", 1}, {"norm_backward", 1}, {"embed_backward", 1},
      {"squared_norm", 1},     {"adamw", 1},         {"finish_step", 1}};
  // Forward and backward: reduction, gate and the second half of the feed-forward part; backward
  // its first half too.
  const std::map<std::string, int64_t> by_layer = {
      {"linear", 3},   {"linear_backward", 3},  {"linear_gelu", 1},   {"gelu_linear_backward", 1},
      {"plucker", 1},  {"plucker_backward", 1}, {"gate_add_norm", 1}, {"gate_add_norm_backward", 1},
      {"add_norm", 1}, {"add_norm_backward", 1}};
  std::map<std::string, int64_t> expected;
  for (const auto& [name, calls] : once) expected[name] = calls * kSteps;
  for (const auto& [name, calls] : by_layer) expected[name] = calls * kSteps * kLayers;
  auto found = calls_of(device);
  // A GPU may make them together, as an operation of their own.
  found.erase("weight_gradients");
  for (const auto& [name, calls] : expected) {
    const auto entry = found.find(name);
    if (entry == found.end()) fail_msg("%s is missing", name.c_str());
    if (entry->second != calls) {
      fail_msg("%s: %d calls, expected %d", name.c_str(), static_cast<int>(entry->second),
               static_cast<int>(calls));
    }
  }
  assert_int_equal(found.size(), expected.size());
}

void the_largest_comes_first(void**) {
  auto model = make_model(GF_MIXER_TRANSFORMER);
  gf::Device& device = *model->device();
  gf::Trainer trainer(model, make_data(30), quick_options());
  device.set_profiling(true);
  for (int i = 0; i < 4; ++i) trainer.step();
  const std::vector<gf::ProfileEntry> entries = device.profile();
  assert_true(entries.size() > 10 && entries.front().seconds > 0);
  assert_true(std::is_sorted(entries.begin(), entries.end(),
                             [](const auto& a, const auto& b) { return a.seconds > b.seconds; }));
}

// A part of the model stands around operations, whose time would count twice.
void only_what_stands_around_nothing_is_counted(void**) {
  const auto device = make_test_device(1);
  device->set_profiling(true);
  {
    const gf::Range part(*device, "part");
    for (int i = 0; i < 3; ++i) {
      const gf::Range inner(*device, "inner part");
      const gf::Range operation(*device, "operation");
    }
  }
  const gf::Range open(*device, "not left");
  assert_true(calls_of(*device) == (std::map<std::string, int64_t>{{"operation", 3}}));
}

void a_profile_begins_anew_each_time_it_is_set_on(void**) {
  auto model = make_model(GF_MIXER_TRANSFORMER);
  gf::Device& device = *model->device();
  gf::Trainer trainer(model, make_data(30), quick_options());
  device.set_profiling(true);
  trainer.step();
  trainer.step();
  device.set_profiling(false);
  trainer.step();
  assert_int_equal(calls_of(device).at("adamw"), 2);
  device.set_profiling(true);
  trainer.step();
  assert_int_equal(calls_of(device).at("adamw"), 1);
}

// Set on and off while training, so that recorded steps run in both ways.
void watching_changes_no_bit(void**) {
  for (gf_mixer mixer : {GF_MIXER_GRASSMANN, GF_MIXER_TRANSFORMER}) {
    auto alone = make_model(mixer), watched = make_model(mixer);
    gf::Trainer a(alone, make_data(30), quick_options()),
        b(watched, make_data(30), quick_options());
    while (!a.done()) a.step_without_waiting();
    a.finish();
    for (int64_t i = 0; !b.done(); ++i) {
      watched->device()->set_profiling(i % 5 == 1 || i % 5 == 2);
      b.step_without_waiting();
    }
    b.finish();
    assert_true(values(*alone) == values(*watched));
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_training_is_profiled_by_operation_and_by_part),
      cmocka_unit_test(the_largest_comes_first),
      cmocka_unit_test(only_what_stands_around_nothing_is_counted),
      cmocka_unit_test(a_profile_begins_anew_each_time_it_is_set_on),
      cmocka_unit_test(watching_changes_no_bit),
  };
  return cmocka_run_group_tests_name("train/profile", tests, nullptr, nullptr);
}
