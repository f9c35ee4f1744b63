#pragma once

#include <benchmark/benchmark.h>

#include <random>

#include "base/arena.h"
#include "device.h"

// The study's shape: N = 6, L = 128, batch 8, so M = 1024 rows.
constexpr int64_t kSequences = 8, kLength = 128, kRows = kSequences * kLength, kWidth = 256;
constexpr int64_t kVocabulary = 30522;

// A device of state.range(0) threads and random operands on it.
class Workbench {
 public:
  explicit Workbench(const benchmark::State& state)
      : device(gf::make_cpu_device({.threads = static_cast<int>(state.range(0))})),
        arena_(device, size_t{512} << 20, "operands") {}

  gf::Mat mat(int64_t rows, int64_t cols) {
    const gf::Mat m = arena_.mat(rows, cols);
    std::normal_distribution<float> normal(0.0f, 0.1f);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) m.row(i)[j] = normal(bits_);
    }
    return m;
  }
  gf::Act act(int64_t rows, int64_t cols) { return as_act(mat(rows, cols)); }
  gf::Param param(int64_t rows, int64_t cols) {
    const gf::Mat value = mat(rows, cols);
    return {value, as_act(value), arena_.mat(rows, cols)};
  }
  gf::Linear linear(int64_t in, int64_t out) { return {param(out, in), param(1, out)}; }
  gf::Norm norm() { return {param(1, kWidth), param(1, kWidth)}; }
  gf::Dropout dropout() { return {gf::dropout_threshold(0.1f), 1, array<gf::StepState>(1)}; }
  template <class T>
  T* array(int64_t count) {
    return arena_.array<T>(count);
  }
  gf::Ops& ops() { return device->ops(); }

  std::shared_ptr<gf::Device> device;

 private:
  static gf::Act as_act(const gf::Mat& m) {
    return {reinterpret_cast<std::byte*>(m.data), m.rows, m.cols, m.ld, sizeof(float)};
  }

  gf::Arena arena_;
  std::minstd_rand bits_{1};
};

inline void with_threads(benchmark::internal::Benchmark* b) {
  b->ArgName("threads")->Arg(1)->Arg(2);
  b->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMicrosecond);
}
