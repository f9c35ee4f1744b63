#pragma once

#include <compare>
#include <memory>

#include "base/arena.h"
#include "data/dataset.h"
#include "model/model.h"

namespace gf {

// What decides on the work for a batch: batches of one kind differ in what memory holds alone.
struct BatchKind {
  size_t group;  // of the dataset
  int64_t sequences;
  int64_t length;

  auto operator<=>(const BatchKind&) const = default;
};

// A dataset on a device, and the batches that an epoch makes of it. Host and device both know from
// a StepState which batch is next: the host what kind it is of, the device what it holds.
class Batches {
 public:
  enum class Order { kGiven, kShuffled };

  // Uploads the data. The dataset must outlive it.
  Batches(std::shared_ptr<Device> device, const Dataset& dataset, int64_t batch_size, Order order);

  int64_t per_epoch() const { return order_.batches; }
  // Of the batch at the state's cursor.
  BatchKind kind(const StepState& state) const;
  int64_t tokens(const StepState& state) const;  // without padding

  // `state` is the device's.
  void gather(const BatchKind& kind, const StepState* state, const Batch& batch) const;

 private:
  void lay_out(Arena& arena);

  std::shared_ptr<Device> device_;
  const Dataset& dataset_;
  EpochOrder order_;
  std::unique_ptr<Arena> arena_;
  std::vector<Bucket> buckets_;  // by group
  int32_t* ids_ = nullptr;
  int32_t* lengths_ = nullptr;
  int32_t* labels_ = nullptr;
};

// Throws GF_ERROR_INVALID_ARGUMENT unless the dataset is of the model's kind and all its lengths,
// ids and labels are the model's.
void check_dataset(const Model& model, const Dataset& dataset);

// Sequences of a whole batch: fewer than wanted where the dataset has no more.
int64_t batch_size_of(const Dataset& dataset, int64_t wanted);

}  // namespace gf
