#include "base/thread_pool.h"

#include <atomic>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "support/support.h"

namespace {

void every_part_runs_once_whatever_the_threads(void**) {
  for (int threads : {1, 2, 3, 8}) {
    gf::ThreadPool pool(threads);
    assert_int_equal(pool.size(), threads);
    for (int64_t parts : {0, 1, 2, 7, 1000}) {
      std::vector<int> runs(static_cast<size_t>(parts), 0);
      pool.run(parts, [&](int64_t part) { ++runs[static_cast<size_t>(part)]; });
      for (int count : runs) assert_int_equal(count, 1);
    }
  }
}

void loops_follow_each_other_in_order(void**) {
  gf::ThreadPool pool(4);
  std::vector<int64_t> values(64, 0);
  for (int round = 0; round < 2000; ++round) {
    pool.run(64, [&](int64_t part) { values[static_cast<size_t>(part)] += round; });
  }
  for (int64_t value : values) assert_int_equal(value, 2000 * 1999 / 2);
}

void the_first_exception_reaches_the_caller_and_the_pool_survives(void**) {
  gf::ThreadPool pool(3);
  std::atomic<int> others{0};
  gf_test::assert_fails(GF_ERROR_FORMAT, "part 5", [&] {
    pool.run(20, [&](int64_t part) {
      if (part == 5) gf::throw_error(GF_ERROR_FORMAT, "part 5");
      ++others;
    });
  });
  assert_int_equal(others, 19);
  std::atomic<int> after{0};
  pool.run(20, [&](int64_t) { ++after; });
  assert_int_equal(after, 20);
}

void no_threads_named_means_the_cores_of_this_process(void**) {
  assert_true(gf::ThreadPool(0).size() >= 1);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(every_part_runs_once_whatever_the_threads),
      cmocka_unit_test(loops_follow_each_other_in_order),
      cmocka_unit_test(the_first_exception_reaches_the_caller_and_the_pool_survives),
      cmocka_unit_test(no_threads_named_means_the_cores_of_this_process),
  };
  return cmocka_run_group_tests_name("base/thread_pool", tests, nullptr, nullptr);
}
