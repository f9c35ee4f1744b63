#include "train/batches.h"

#include <algorithm>

#include "base/error.h"

namespace gf {
namespace {

int64_t batches_of(const LengthGroup& group, int64_t batch_size) {
  return (group.count + batch_size - 1) / batch_size;
}

// Sequence and place of the first id from `most` on.
[[noreturn]] void report_id(const Dataset& dataset, int64_t vocab_size) {
  const int32_t* ids = dataset.data();
  for (const LengthGroup& group : dataset.groups()) {
    for (int64_t i = 0; i < group.count; ++i, ids += group.length) {
      const int32_t* bad =
          std::find_if(ids, ids + group.length, [&](int32_t id) { return id >= vocab_size; });
      if (bad == ids + group.length) continue;
      throw_error(GF_ERROR_INVALID_ARGUMENT,
                  "id %lld of sequence %lld of the dataset is %d, expected 0 to %lld (vocabulary)",
                  static_cast<long long>(bad - ids),
                  static_cast<long long>(dataset.number(group.first + i)), *bad,
                  static_cast<long long>(vocab_size - 1));
    }
  }
  throw_error(GF_ERROR_INTERNAL, "no id of the dataset is %d", dataset.max_id());
}

void check_labels(const Dataset& dataset, int64_t classes) {
  for (size_t i = 0; i < dataset.labels().size(); ++i) {
    if (dataset.labels()[i] < classes) continue;
    throw_error(GF_ERROR_INVALID_ARGUMENT,
                "the label of sequence %lld of the dataset is %d, expected 0 to %lld (num_classes)",
                static_cast<long long>(dataset.number(static_cast<int64_t>(i))),
                dataset.labels()[i], static_cast<long long>(classes - 1));
  }
}

}  // namespace

Batches::Batches(std::shared_ptr<Device> device, const Dataset& dataset, int64_t batch_size,
                 Order order)
    : device_(std::move(device)), dataset_(dataset) {
  const bool shuffled = order == Order::kShuffled;
  order_ = {batch_size, 0, shuffled, shuffled && dataset.groups().size() > 1};
  for (const LengthGroup& group : dataset.groups()) {
    buckets_.push_back({nullptr, nullptr, nullptr, group.count, group.length, order_.batches});
    order_.batches += batches_of(group, batch_size);
  }
  Arena measured;
  lay_out(measured);
  arena_ = std::make_unique<Arena>(device_, measured.bytes(), "the dataset");
  lay_out(*arena_);
  const auto upload = [&](int32_t* to, const int32_t* from, int64_t count) {
    device_->upload(to, from, static_cast<size_t>(count) * sizeof(int32_t));
  };
  upload(ids_, dataset.data(), dataset.padded_tokens());
  if (!dataset.is_labelled()) return;
  upload(lengths_, dataset.lengths().data(), dataset.chunks());
  upload(labels_, dataset.labels().data(), dataset.chunks());
}

void Batches::lay_out(Arena& arena) {
  ids_ = arena.array<int32_t>(dataset_.padded_tokens());
  lengths_ = dataset_.is_labelled() ? arena.array<int32_t>(dataset_.chunks()) : nullptr;
  labels_ = dataset_.is_labelled() ? arena.array<int32_t>(dataset_.chunks()) : nullptr;
  const int32_t* ids = ids_;
  for (size_t k = 0; k < buckets_.size(); ++k) {
    const int64_t first = dataset_.groups()[k].first;
    buckets_[k].ids = ids;
    ids += buckets_[k].count * buckets_[k].length;
    if (!dataset_.is_labelled()) continue;
    buckets_[k].lengths = lengths_ + first;
    buckets_[k].labels = labels_ + first;
  }
}

BatchKind Batches::kind(const StepState& state) const {
  const int64_t number = order_.batch_at(state);
  const auto next = std::find_if(buckets_.begin() + 1, buckets_.end(),
                                 [&](const Bucket& b) { return b.first_batch > number; });
  const Bucket& bucket = *(next - 1);
  const int64_t place = (number - bucket.first_batch) * order_.batch_size;
  return {static_cast<size_t>(&bucket - buckets_.data()),
          std::min(order_.batch_size, bucket.count - place), bucket.length};
}

int64_t Batches::tokens(const StepState& state) const {
  const auto [group, sequences, length] = kind(state);
  if (!dataset_.is_labelled()) return sequences * length;
  const int64_t first = dataset_.groups()[group].first;
  int64_t sum = 0;
  for (int64_t b = 0; b < sequences; ++b) {
    const Bucket& bucket = buckets_[group];
    const int64_t i = order_.sequence_at(state, bucket.first_batch, bucket.count, b);
    sum += dataset_.lengths()[static_cast<size_t>(first + i)];
  }
  return sum;
}

void Batches::gather(const BatchKind& kind, const StepState* state, const Batch& batch) const {
  device_->ops().gather(buckets_[kind.group], order_, state, batch);
}

void check_dataset(const Model& model, const Dataset& dataset) {
  const int64_t classes = model.config().classes(), V = model.config().vocab_size();
  if (classes > 0 && !dataset.is_labelled()) {
    throw_error(GF_ERROR_INVALID_ARGUMENT,
                "the model is a pair classifier, but the dataset has chunks of a text: expected "
                "pairs (gf_dataset_from_snli_file)");
  }
  if (classes == 0 && dataset.is_labelled()) {
    throw_error(GF_ERROR_INVALID_ARGUMENT,
                "the model is a language model (num_classes is 0), but the dataset has pairs: "
                "expected chunks of a text (gf_dataset_from_text_file)");
  }
  model.check_length(dataset.length(), classes > 0 ? 1 : 2);
  if (dataset.max_id() >= V) report_id(dataset, V);
  if (classes > 0) check_labels(dataset, classes);
}

int64_t batch_size_of(const Dataset& dataset, int64_t wanted) {
  int64_t most = 0;
  for (const LengthGroup& group : dataset.groups()) most = std::max(most, group.count);
  return std::min(wanted, most);
}

}  // namespace gf
