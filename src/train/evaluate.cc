#include "train/evaluate.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "train/batches.h"

namespace gf {

Evaluation evaluate(const Model& model, const Dataset& dataset, int64_t batch_size) {
  std::atomic<bool> never = false;
  return *evaluate(model, dataset, batch_size, never);
}

std::optional<Evaluation> evaluate(const Model& model, const Dataset& dataset, int64_t batch_size,
                                   std::atomic<bool>& cancel) {
  const auto begin = std::chrono::steady_clock::now();
  check_dataset(model, dataset);
  if (cancel.exchange(false)) return std::nullopt;

  Device& device = *model.device();
  const int64_t most = batch_size_of(dataset, batch_size);
  const Batches batches(model.device(), dataset, most, Batches::Order::kGiven);
  Workspace workspace(model, model.parameters(),
                      {most, dataset.length(), device.product_bytes(), false});
  StepState* state = nullptr;
  Score* score = nullptr;  // zero, as all fresh device memory
  const auto lay_out = [&](Arena& arena) {
    state = arena.array<StepState>(1);
    score = arena.array<Score>(1);
  };
  Arena measured;
  lay_out(measured);
  Arena arena(model.device(), measured.bytes(), "the score of an evaluation");
  lay_out(arena);

  std::map<BatchKind, std::unique_ptr<Recording>> recordings;  // of a batch
  for (StepState place; place.cursor < batches.per_epoch(); ++place.cursor) {
    if (cancel.exchange(false)) {
      device.synchronize();  // batches that were begun still use what ends here
      return std::nullopt;
    }
    const BatchKind kind = batches.kind(place);
    std::unique_ptr<Recording>& recording = recordings[kind];
    if (!recording) {
      recording = device.record([&, kind] {
        Network& network = workspace.network(kind.sequences, kind.length);
        batches.gather(kind, state, network.batch());
        network.forward(device, nullptr);
        network.loss(device, score);
      });
    }
    device.upload(state, &place, sizeof place);
    recording->run();
  }
  Score total;
  device.download(&total, score, sizeof total);
  if (cancel.exchange(false)) return std::nullopt;  // not left over for the next evaluation
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  const int64_t C = model.config().classes();
  return Evaluation{total.loss.sum / static_cast<double>(total.loss.count),
                    dataset.chunks(),
                    C > 0 ? dataset.tokens() : total.loss.count,
                    elapsed.count(),
                    {total.confusion, total.confusion + C * C}};
}

}  // namespace gf
