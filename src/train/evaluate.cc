#include "train/evaluate.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "base/error.h"

namespace gf {

Evaluation evaluate(const Model& model, const Dataset& dataset, int64_t batch_size) {
  const auto begin = std::chrono::steady_clock::now();
  const int64_t chunks = dataset.chunks(), length = dataset.length();
  if (model.config().classes() > 0) {
    throw_error(GF_ERROR_UNSUPPORTED,
                "num_classes is %lld: evaluating a pair classifier is not built",
                static_cast<long long>(model.config().classes()));
  }
  model.check_length(length, 2);
  model.check_ids({dataset.data(), static_cast<size_t>(chunks * length)}, "dataset");

  Device& device = *model.device();
  const int64_t most = std::min(batch_size, chunks);
  Workspace workspace(model, model.parameters(), {most, length, device.product_bytes(), false});
  int32_t* ids = nullptr;
  StepState* state = nullptr;
  LossSum* sum = nullptr;  // zero, as all fresh device memory
  const auto lay_out = [&](Arena& arena) {
    ids = arena.array<int32_t>(chunks * length);
    state = arena.array<StepState>(1);
    sum = arena.array<LossSum>(1);
  };
  Arena measured;
  lay_out(measured);
  Arena arena(model.device(), measured.bytes(), "evaluation data");
  lay_out(arena);
  device.upload(ids, dataset.data(), static_cast<size_t>(chunks * length) * sizeof(int32_t));

  std::map<int64_t, std::unique_ptr<Recording>> recordings;  // of a batch, by sequences
  for (StepState place; place.cursor < chunks; place.cursor += most) {
    const int64_t sequences = std::min(most, chunks - place.cursor);
    std::unique_ptr<Recording>& recording = recordings[sequences];
    if (!recording) {
      recording = device.record([&, sequences] {
        Network& network = workspace.network(sequences);
        device.ops().gather(ids, chunks, sequences, length, false, state, network.ids());
        network.forward(device, nullptr);
        network.loss(device, sum);
      });
    }
    device.upload(state, &place, sizeof place);
    recording->run();
  }
  LossSum total;
  device.download(&total, sum, sizeof total);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return {total.sum / static_cast<double>(total.count), chunks, total.count, elapsed.count()};
}

}  // namespace gf
