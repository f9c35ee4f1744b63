#include <algorithm>
#include <array>
#include <numeric>

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::TestDevice;

constexpr int64_t kChunks = 23;

// Rows of one id, of less than a vector, of whole vectors, and longer than a block of threads.
constexpr int64_t kLengths[] = {1, 3, 5, 17, 128, 256, 1000};

// Chunk c holds 1000 c .. 1000 c + length - 1.
std::vector<int32_t> chunks(int64_t length) {
  std::vector<int32_t> ids;
  for (int32_t c = 0; c < kChunks; ++c) {
    for (int32_t t = 0; t < length; ++t) ids.push_back(1000 * c + t);
  }
  return ids;
}

// All chunks in one bucket, whose batches are `size` long.
gf::EpochOrder order_of(int64_t size, bool shuffled) {
  return {size, (kChunks + size - 1) / size, shuffled, false};
}

std::vector<int32_t> gathered(TestDevice& device, const gf::StepState& state,
                              const gf::EpochOrder& order, int64_t sequences, int64_t length) {
  const auto size = static_cast<size_t>(sequences * length);
  int32_t* ids = device.array(std::vector<int32_t>(size + 1, -1));
  const gf::Bucket bucket{device.array(chunks(length)), nullptr, nullptr, kChunks, length, 0};
  device.ops().gather(bucket, order, device.state(state), {ids, sequences, length});
  std::vector<int32_t> found = device.read(ids, size + 1);
  assert_int_equal(found.back(), -1);  // nothing behind them is written
  found.pop_back();
  return found;
}

void batches_follow_the_keyed_permutation(void**) {
  TestDevice device(2);
  const gf::StepState state{.seed = 9, .step = 100, .epoch = 3, .cursor = 2};
  for (const int64_t length : kLengths) {
    const std::vector<int32_t> ids = gathered(device, state, order_of(4, true), 4, length);
    for (int64_t i = 0; i < 4 * length; ++i) {
      const uint64_t chunk = gf::permuted(9, 3, static_cast<uint64_t>(8 + i / length), kChunks);
      assert_int_equal(ids[static_cast<size_t>(i)], 1000 * chunk + i % length);
    }
  }
}

void an_epoch_visits_every_chunk_once_and_epochs_differ(void**) {
  constexpr int64_t kLength = 5;
  TestDevice device(2);
  std::vector<int32_t> first;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int32_t> seen;
    for (int64_t cursor = 0; cursor < 3; ++cursor) {
      const gf::StepState state{.seed = 1, .epoch = epoch, .cursor = cursor};
      const int64_t sequences = std::min<int64_t>(10, kChunks - 10 * cursor);
      for (const int32_t id : gathered(device, state, order_of(10, true), sequences, kLength)) {
        seen.push_back(id);
      }
    }
    if (epoch == 0) first = seen;
    if (epoch > 0) assert_true(seen != first);
    std::sort(seen.begin(), seen.end());
    assert_true(seen == chunks(kLength));
  }
}

void what_is_not_to_be_shuffled_comes_in_order(void**) {
  TestDevice device(2);
  for (const int64_t length : kLengths) {
    const std::vector<int32_t> all = chunks(length);
    for (const auto& [size, cursor, sequences] :
         {std::array{23, 0, 23}, {4, 2, 4}, {4, 5, 3}, {11, 2, 1}}) {
      const gf::StepState state{.seed = 9, .step = 100, .epoch = 3, .cursor = cursor};
      const auto first = all.begin() + cursor * size * length;
      assert_true(gathered(device, state, order_of(size, false), sequences, length) ==
                  std::vector<int32_t>(first, first + sequences * length));
    }
  }
}

// As a step does that follows a stopped one: any chunks will do, none of its results are kept.
void places_past_the_end_are_of_the_data_too(void**) {
  TestDevice device(2);
  const gf::StepState state{.seed = 9, .cursor = 5, .stopped = 1};
  for (const int32_t id : gathered(device, state, order_of(4, true), 60, 5)) {
    assert_in_range(id, 0, 1000 * kChunks);
  }
}

// ---- Several buckets ---------------------------------------------------------------------------

// Sequence i of the bucket with so many of one length: ids i, i, ..; its length is 100 + i, its
// label 200 + i.
gf::Bucket numbered_bucket(TestDevice& device, int64_t count, int64_t length, int64_t first_batch) {
  std::vector<int32_t> ids, lengths, labels;
  for (int32_t i = 0; i < count; ++i) {
    ids.insert(ids.end(), static_cast<size_t>(length), i);
    lengths.push_back(100 + i);
    labels.push_back(200 + i);
  }
  return {device.array(ids), device.array(lengths), device.array(labels), count, length,
          first_batch};
}

// Appends the numbers of the sequences that a batch is given, lengths and labels being theirs.
void gather_numbers(TestDevice& device, const gf::Bucket& bucket, const gf::EpochOrder& order,
                    const gf::StepState& state, int64_t sequences, std::vector<int32_t>& numbers) {
  const auto B = static_cast<size_t>(sequences);
  const gf::Batch batch{
      device.array(std::vector<int32_t>(B * static_cast<size_t>(bucket.length), -1)), sequences,
      bucket.length, device.array(std::vector<int32_t>(B + 1, -1)),
      device.array(std::vector<int32_t>(B + 1, -1))};
  device.ops().gather(bucket, order, device.state(state), batch);
  const auto ids = device.read(batch.ids, B * static_cast<size_t>(bucket.length));
  const auto lengths = device.read(batch.lengths, B + 1), labels = device.read(batch.labels, B + 1);
  assert_true(lengths[B] == -1 && labels[B] == -1);
  for (size_t b = 0; b < B; ++b) {
    const int32_t number = ids[b * static_cast<size_t>(bucket.length)];
    assert_int_equal(ids[(b + 1) * static_cast<size_t>(bucket.length) - 1], number);
    assert_int_equal(lengths[b], 100 + number);
    assert_int_equal(labels[b], 200 + number);
    numbers.push_back(number);
  }
}

// 3, 1 and 4 batches of at most 4, in a mixed order that differs between epochs.
void mixed_batches_visit_every_sequence_of_every_bucket_once(void**) {
  constexpr int64_t kCounts[] = {11, 2, 16}, kFirst[] = {0, 3, 4};
  constexpr int64_t kBucketLengths[] = {3, 7, 200};
  const gf::EpochOrder order{4, 8, true, true};
  TestDevice device(2);
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int32_t> seen[3];
    std::vector<int64_t> batches;
    for (int64_t cursor = 0; cursor < 8; ++cursor) {
      const gf::StepState state{.seed = 5, .epoch = epoch, .cursor = cursor};
      const int64_t number = order.batch_at(state);
      const int bucket = number < 3 ? 0 : number < 4 ? 1 : 2;
      const int64_t left = kCounts[bucket] - 4 * (number - kFirst[bucket]);
      gather_numbers(
          device, numbered_bucket(device, kCounts[bucket], kBucketLengths[bucket], kFirst[bucket]),
          order, state, std::min<int64_t>(4, left), seen[bucket]);
      batches.push_back(number);
    }
    for (int bucket = 0; bucket < 3; ++bucket) {
      std::vector<int32_t> all(static_cast<size_t>(kCounts[bucket]));
      std::iota(all.begin(), all.end(), 0);
      std::sort(seen[bucket].begin(), seen[bucket].end());
      assert_true(seen[bucket] == all);
    }
    assert_false(std::is_sorted(batches.begin(), batches.end()));
    orders.push_back(batches);
  }
  assert_true(orders[0] != orders[1] && orders[1] != orders[2]);
}

// Another bucket's turn, before or behind this one: any of its own sequences.
void a_batch_of_another_bucket_gives_some_sequences(void**) {
  TestDevice device(2);
  for (const int64_t cursor : {0, 1, 7}) {
    std::vector<int32_t> numbers;
    gather_numbers(device, numbered_bucket(device, 5, 6, 3), {4, 8, true, false},
                   {.seed = 2, .cursor = cursor, .stopped = 1}, 4, numbers);
    for (const int32_t number : numbers) assert_in_range(number, 0, 4);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(batches_follow_the_keyed_permutation),
      cmocka_unit_test(an_epoch_visits_every_chunk_once_and_epochs_differ),
      cmocka_unit_test(what_is_not_to_be_shuffled_comes_in_order),
      cmocka_unit_test(places_past_the_end_are_of_the_data_too),
      cmocka_unit_test(mixed_batches_visit_every_sequence_of_every_bucket_once),
      cmocka_unit_test(a_batch_of_another_bucket_gives_some_sequences),
  };
  return cmocka_run_group_tests_name("ops/gather", tests, nullptr, nullptr);
}
