#include "train/evaluate.h"

#include <algorithm>
#include <chrono>

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
  Arena measured;
  measured.array<LossSum>(1);
  Arena arena(model.device(), measured.bytes(), "loss");
  LossSum* sum = arena.array<LossSum>(1);  // zero, as all fresh device memory

  for (int64_t first = 0; first < chunks; first += most) {
    const int64_t sequences = std::min(most, chunks - first);
    Network& network = workspace.network(sequences);
    device.upload(network.ids(), dataset.chunk(first),
                  static_cast<size_t>(sequences * length) * sizeof(int32_t));
    network.forward(device, nullptr);
    network.loss(device, sum);
  }
  LossSum total;
  device.download(&total, sum, sizeof total);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return {total.sum / static_cast<double>(total.count), chunks, total.count, elapsed.count()};
}

}  // namespace gf
