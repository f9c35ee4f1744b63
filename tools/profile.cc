#include "profile.h"

#include <algorithm>
#include <vector>

#include "format.h"

namespace tools {
namespace {

constexpr int kWarmUpSteps = 3;
constexpr int kProfiledSteps = 20;

void step(const Context& context, const Trainer& trainer, int count) {
  for (int i = 0; i < count; ++i) check(context, gf_train_step(trainer.get(), nullptr));
}

std::vector<gf_profile_entry> entries_of(const Context& context) {
  size_t count = 0;
  check(context, gf_context_profile(context.get(), nullptr, 0, &count));
  std::vector<gf_profile_entry> entries(std::max<size_t>(count, 1));
  entries[0].struct_size = sizeof entries[0];
  check(context, gf_context_profile(context.get(), entries.data(), count, &count));
  entries.resize(count);
  return entries;
}

}  // namespace

void print_profile(const Context& context, const Model& model, const Dataset& train,
                   const TrainOptions& options, Display& display) {
  const gf_train_options optimizer = optimizer_options(options);
  const Trainer trainer = make<Trainer>(context, [&](gf_trainer** out) {
    return gf_trainer_create(model.get(), train.get(), &optimizer, out);
  });
  step(context, trainer, kWarmUpSteps);
  check(context, gf_context_set_profiling(context.get(), 1));
  step(context, trainer, kProfiledSteps);
  const std::vector<gf_profile_entry> entries = entries_of(context);
  check(context, gf_context_set_profiling(context.get(), 0));

  double total = 0;
  for (const gf_profile_entry& entry : entries) total += entry.seconds;
  const double steps = kProfiledSteps;
  Json list = Json::array();
  display.line(
      format("%-26s %8s %12s %12s %8s", "operation", "calls", "us a call", "us a step", "share"));
  for (const gf_profile_entry& entry : entries) {
    const auto calls = static_cast<double>(entry.calls);
    display.line(format("%-26s %8.0f %12.1f %12.1f %7.1f%%", entry.name, calls / steps,
                        1e6 * entry.seconds / calls, 1e6 * entry.seconds / steps,
                        100 * entry.seconds / total));
    list.push_back({{"name", entry.name},
                    {"calls", calls / steps},
                    {"microseconds", 1e6 * entry.seconds / steps}});
  }
  display.line(format("%-26s %8s %12s %12.1f", "a step", "", "", 1e6 * total / steps));
  display.event({{"event", "profile"},
                 {"device", gf_context_description(context.get())},
                 {"steps", kProfiledSteps},
                 {"operations", list}});
}

}  // namespace tools
