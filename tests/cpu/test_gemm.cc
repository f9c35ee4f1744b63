#include "cpu/gemm.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "support/support.h"

namespace {

// A matrix of ones to nines in the first `cols` of ld columns.
struct Numbers {
  std::vector<float> values;
  gf::Mat mat;

  Numbers(int64_t rows, int64_t cols, int64_t ld)
      : values(static_cast<size_t>(rows * ld)), mat{values.data(), rows, cols, ld} {
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(1 + i * 7 % 9);
  }
};

float at(const gf::Factor& f, int64_t i, int64_t j) {
  return f.is_transposed ? f.mat.row(j)[i] : f.mat.row(i)[j];
}

void every_form_multiplies(void**) {
  const Numbers a(5, 7, 9), a_t(7, 5, 5), b(7, 3, 4), b_t(3, 7, 8);
  for (const gf::Factor& left : {gf::Factor(a.mat), gf::transposed(a_t.mat)}) {
    for (const gf::Factor& right : {gf::Factor(b.mat), gf::transposed(b_t.mat)}) {
      Numbers c(5, 3, 6);
      const Numbers before = c;
      gf::gemm(0.5f, left, right, 2.0f, c.mat);
      for (int64_t i = 0; i < 5; ++i) {
        for (int64_t j = 0; j < 3; ++j) {
          float sum = 2.0f * before.values[static_cast<size_t>(i * 6 + j)];
          for (int64_t k = 0; k < 7; ++k) sum += 0.5f * at(left, i, k) * at(right, k, j);
          assert_true(c.mat.row(i)[j] == sum);
        }
      }
    }
  }
}

void tiles_cover_a_result_once(void**) {
  for (const int64_t rows : {1, 63, 64, 65, 256, 300, 2049}) {
    for (const int64_t cols : {1, 255, 256, 257, 1024}) {
      Numbers c(rows, cols, cols + 3);
      std::fill(c.values.begin(), c.values.end(), 0.0f);
      const gf::Tiling tiling(c.mat);
      for (int64_t n = 0; n < tiling.count(); ++n) {
        const gf::Tile tile = tiling.tile(n);
        assert_true(tile.mat.data == c.mat.row(tile.row) + tile.col);
        for (int64_t i = 0; i < tile.mat.rows; ++i) {
          for (int64_t j = 0; j < tile.mat.cols; ++j) tile.mat.row(i)[j] += 1.0f;
        }
      }
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < c.mat.ld; ++j) {
          assert_true(c.values[static_cast<size_t>(i * c.mat.ld + j)] == (j < cols ? 1.0f : 0.0f));
        }
      }
    }
  }
}

// A BLAS that is not safe to call from several threads errs once in thousands of calls.
void products_at_the_same_time_do_not_disturb_each_other(void**) {
  constexpr int64_t kSize = 128;
  const Numbers a(kSize, kSize, kSize), b(kSize, kSize, kSize);
  Numbers expected(kSize, kSize, kSize);
  gf::gemm(1.0f, a.mat, b.mat, 0.0f, expected.mat);
  gf::ThreadPool pool(5);
  std::atomic<int> wrong{0};
  pool.run(20000, [&](int64_t) {
    thread_local Numbers c(kSize, kSize, kSize);
    gf::gemm(1.0f, a.mat, b.mat, 0.0f, c.mat);
    wrong += c.values != expected.values;
  });
  assert_int_equal(wrong, 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(every_form_multiplies),
      cmocka_unit_test(tiles_cover_a_result_once),
      cmocka_unit_test(products_at_the_same_time_do_not_disturb_each_other),
  };
  return cmocka_run_group_tests_name("cpu/gemm", tests, nullptr, nullptr);
}
