#include <algorithm>
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

std::vector<int32_t> gathered(TestDevice& device, const gf::StepState& state, int64_t sequences,
                              int64_t length, bool shuffled = true) {
  const auto size = static_cast<size_t>(sequences * length);
  int32_t* ids = device.array(std::vector<int32_t>(size + 1, -1));
  device.ops().gather(device.array(chunks(length)), kChunks, sequences, length, shuffled,
                      device.state(state), ids);
  std::vector<int32_t> found = device.read(ids, size + 1);
  assert_int_equal(found.back(), -1);  // nothing behind them is written
  found.pop_back();
  return found;
}

void batches_follow_the_keyed_permutation(void**) {
  TestDevice device(2);
  const gf::StepState state{.seed = 9, .step = 100, .epoch = 3, .cursor = 6};
  for (const int64_t length : kLengths) {
    const std::vector<int32_t> ids = gathered(device, state, 4, length);
    for (int64_t i = 0; i < 4 * length; ++i) {
      const uint64_t chunk = gf::permuted(9, 3, static_cast<uint64_t>(6 + i / length), kChunks);
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
    for (int64_t cursor = 0; cursor < kChunks; cursor += 10) {
      const int64_t sequences = std::min<int64_t>(10, kChunks - cursor);
      const gf::StepState state{.seed = 1, .epoch = epoch, .cursor = cursor};
      for (const int32_t id : gathered(device, state, sequences, kLength)) seen.push_back(id);
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
    for (const auto& [cursor, sequences] : {std::pair{0, 23}, {6, 4}, {20, 3}, {22, 1}}) {
      const gf::StepState state{.seed = 9, .step = 100, .epoch = 3, .cursor = cursor};
      const auto first = all.begin() + cursor * length;
      assert_true(gathered(device, state, sequences, length, false) ==
                  std::vector<int32_t>(first, first + sequences * length));
    }
  }
}

// As a step does that follows a stopped one: any chunks will do, none of its results are kept.
void places_past_the_end_are_of_the_data_too(void**) {
  TestDevice device(2);
  const gf::StepState state{.seed = 9, .cursor = kChunks - 2, .stopped = 1};
  for (const int32_t id : gathered(device, state, 60, 5)) assert_in_range(id, 0, 1000 * kChunks);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(batches_follow_the_keyed_permutation),
      cmocka_unit_test(an_epoch_visits_every_chunk_once_and_epochs_differ),
      cmocka_unit_test(what_is_not_to_be_shuffled_comes_in_order),
      cmocka_unit_test(places_past_the_end_are_of_the_data_too),
  };
  return cmocka_run_group_tests_name("ops/gather", tests, nullptr, nullptr);
}
