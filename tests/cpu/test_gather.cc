#include <algorithm>
#include <numeric>

#include "support/op_test.h"
#include "support/support.h"

namespace {

using gf_test::TestDevice;

constexpr int64_t kChunks = 23, kLength = 5;

// Chunk c holds 100 c .. 100 c + kLength - 1.
std::vector<int32_t> chunks() {
  std::vector<int32_t> ids;
  for (int32_t c = 0; c < kChunks; ++c) {
    for (int32_t t = 0; t < kLength; ++t) ids.push_back(100 * c + t);
  }
  return ids;
}

std::vector<int32_t> gathered(TestDevice& device, const gf::StepState& state, int64_t sequences,
                              bool shuffled = true) {
  const auto size = static_cast<size_t>(sequences * kLength);
  int32_t* ids = device.array(std::vector<int32_t>(size, -1));
  device.ops().gather(device.array(chunks()), kChunks, sequences, kLength, shuffled,
                      device.state(state), ids);
  return device.read(ids, size);
}

void batches_follow_the_keyed_permutation(void**) {
  TestDevice device(2);
  const gf::StepState state{.seed = 9, .step = 100, .epoch = 3, .cursor = 6};
  const std::vector<int32_t> ids = gathered(device, state, 4);
  for (uint64_t b = 0; b < 4; ++b) {
    const auto chunk = static_cast<int32_t>(gf::permuted(9, 3, 6 + b, kChunks));
    for (int32_t t = 0; t < kLength; ++t) {
      assert_int_equal(ids[b * kLength + static_cast<size_t>(t)], 100 * chunk + t);
    }
  }
}

void an_epoch_visits_every_chunk_once_and_epochs_differ(void**) {
  TestDevice device(2);
  std::vector<int32_t> first;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int32_t> seen;
    for (int64_t cursor = 0; cursor < kChunks; cursor += 10) {
      const int64_t sequences = std::min<int64_t>(10, kChunks - cursor);
      const gf::StepState state{.seed = 1, .epoch = epoch, .cursor = cursor};
      for (const int32_t id : gathered(device, state, sequences)) seen.push_back(id);
    }
    if (epoch == 0) first = seen;
    if (epoch > 0) assert_true(seen != first);
    std::sort(seen.begin(), seen.end());
    assert_true(seen == chunks());
  }
}

void what_is_not_to_be_shuffled_comes_in_order(void**) {
  TestDevice device(2);
  const std::vector<int32_t> all = chunks();
  for (const auto& [cursor, sequences] : {std::pair{0, 23}, {6, 4}, {20, 3}, {22, 1}}) {
    const gf::StepState state{.seed = 9, .step = 100, .epoch = 3, .cursor = cursor};
    const auto first = all.begin() + cursor * kLength;
    assert_true(gathered(device, state, sequences, false) ==
                std::vector<int32_t>(first, first + sequences * kLength));
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(batches_follow_the_keyed_permutation),
      cmocka_unit_test(an_epoch_visits_every_chunk_once_and_epochs_differ),
      cmocka_unit_test(what_is_not_to_be_shuffled_comes_in_order),
  };
  return cmocka_run_group_tests_name("cpu/gather", tests, nullptr, nullptr);
}
