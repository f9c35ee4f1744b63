// The operations that work row by row, at the study's shape: 8 sequences of 128 tokens, D = 256,
// r = 32, six offsets, dropout 0.1, the BERT vocabulary. "floor" is the time that reading every
// operand and writing every result once takes at the speed of a plain copy of the same bytes; an
// operand that fits the cache may beat it.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <random>

#include "device.h"

namespace {

constexpr int64_t kSequences = 8, kLength = 128, kRows = kSequences * kLength, kWidth = 256;
constexpr int64_t kReduced = 32, kCoordinates = kReduced * (kReduced - 1) / 2;
constexpr int64_t kVocabulary = 30522, kPositions = 256;
constexpr int32_t kWindows[] = {1, 2, 4, 8, 12, 16};

// A device and the operands of one operation; counts their bytes.
class Bench {
 public:
  Bench() : device_(gf::make_cpu_device({})) {}

  gf::Ops& ops() { return device_->ops(); }
  int64_t bytes() const { return bytes_; }

  gf::Mat mat(int64_t rows, int64_t cols) {
    const auto size = static_cast<size_t>(rows * cols) * sizeof(float);
    bytes_ += static_cast<int64_t>(size);
    gf::Mat m{static_cast<float*>(device_->allocate(size, "operand")), rows, cols, cols};
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < m.size(); ++i) m.data[i] = normal(bits_);
    return m;
  }
  gf::Act act(int64_t rows, int64_t cols) {
    const gf::Mat m = mat(rows, cols);
    return {reinterpret_cast<std::byte*>(m.data), rows, cols, cols, sizeof(float)};
  }
  gf::Param param(int64_t rows, int64_t cols) {
    const gf::Mat value = mat(rows, cols);
    return {value,
            {reinterpret_cast<std::byte*>(value.data), rows, cols, cols, sizeof(float)},
            mat(rows, cols)};
  }
  gf::Norm norm() { return {param(1, kWidth), param(1, kWidth)}; }
  gf::Dropout dropout() { return {gf::dropout_threshold(0.1f), 1, &state_}; }
  gf::Batch batch() {
    // As in text: the k-th word occurs about 1 / k times as often as the first.
    std::uniform_real_distribution<double> uniform;
    for (int64_t i = 0; i < kRows; ++i) {
      ids_.push_back(static_cast<int32_t>(std::pow(double{kVocabulary}, uniform(bits_)) - 1));
    }
    return {ids_.data(), kSequences, kLength};
  }
  // Rows of a table that an operation does not touch.
  void spare(int64_t rows) { bytes_ -= rows * kWidth * int64_t{sizeof(float)}; }

 private:
  std::shared_ptr<gf::Device> device_;
  std::mt19937_64 bits_{1};
  gf::StepState state_;
  std::vector<int32_t> ids_;
  int64_t bytes_ = 0;
};

double copy_seconds(int64_t bytes) {
  std::vector<char> from(static_cast<size_t>(bytes / 2), 1), to(from.size());
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    std::memcpy(to.data(), from.data(), from.size());
    benchmark::DoNotOptimize(to.data());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

void measure(benchmark::State& state, const Bench& bench, const std::function<void()>& body) {
  for (auto _ : state) body();
  state.counters["MB"] = static_cast<double>(bench.bytes()) * 1e-6;
  state.counters["floor_ms"] = copy_seconds(bench.bytes()) * 1e3;
}

void embed(benchmark::State& state) {
  Bench b;
  const gf::Param tokens = b.param(kVocabulary, kWidth), positions = b.param(kPositions, kWidth);
  const gf::Batch batch = b.batch();
  const gf::Mat x = b.mat(kRows, kWidth);
  b.spare(2 * kVocabulary - kRows + 2 * kPositions - kLength);
  measure(state, b, [&] { b.ops().embed(batch, tokens, positions, b.dropout(), x); });
}

void embed_backward(benchmark::State& state) {
  Bench b;
  const gf::Param tokens = b.param(kVocabulary, kWidth), positions = b.param(kPositions, kWidth);
  const gf::Batch batch = b.batch();
  const gf::Mat dx = b.mat(kRows, kWidth);
  b.spare(2 * kVocabulary - 2 * kRows + kPositions);
  measure(state, b, [&] { b.ops().embed_backward(batch, dx, b.dropout(), tokens, positions); });
}

void add_norm(benchmark::State& state) {
  Bench b;
  const gf::Norm norm = b.norm();
  const gf::Mat x = b.mat(kRows, kWidth), x_out = b.mat(kRows, kWidth), stats = b.mat(kRows, 2);
  const gf::Act y = b.act(kRows, kWidth), h = b.act(kRows, kWidth);
  measure(state, b, [&] { b.ops().add_norm(x, y, b.dropout(), norm, x_out, stats, h); });
}

void add_norm_backward(benchmark::State& state) {
  Bench b;
  const gf::Norm norm = b.norm();
  const gf::Mat x_out = b.mat(kRows, kWidth), dx = b.mat(kRows, kWidth), stats = b.mat(kRows, 2);
  const gf::Act dh = b.act(kRows, kWidth), dy = b.act(kRows, kWidth);
  measure(state, b,
          [&] { b.ops().add_norm_backward(dh, x_out, stats, b.dropout(), norm, dx, dy); });
}

void gate_add_norm(benchmark::State& state) {
  Bench b;
  const gf::Norm inner = b.norm(), outer = b.norm();
  const gf::Mat x = b.mat(kRows, kWidth), x_out = b.mat(kRows, kWidth);
  const gf::Mat inner_stats = b.mat(kRows, 2), outer_stats = b.mat(kRows, 2);
  const gf::Act hg = b.act(kRows, 2 * kWidth), gate = b.act(kRows, kWidth);
  const gf::Act h_out = b.act(kRows, kWidth);
  measure(state, b, [&] {
    b.ops().gate_add_norm(x, hg, gate, inner, b.dropout(), outer, x_out, inner_stats, outer_stats,
                          h_out);
  });
}

void gate_add_norm_backward(benchmark::State& state) {
  Bench b;
  const gf::Norm inner = b.norm(), outer = b.norm();
  const gf::Mat x_out = b.mat(kRows, kWidth), dx = b.mat(kRows, kWidth);
  const gf::Mat inner_stats = b.mat(kRows, 2), outer_stats = b.mat(kRows, 2);
  const gf::Act hg = b.act(kRows, 2 * kWidth), gate = b.act(kRows, kWidth);
  const gf::Act dh_out = b.act(kRows, kWidth), dhg = b.act(kRows, 2 * kWidth);
  const gf::Act dgate = b.act(kRows, kWidth);
  measure(state, b, [&] {
    b.ops().gate_add_norm_backward(dh_out, x_out, hg, gate, inner_stats, outer_stats, inner,
                                   b.dropout(), outer, dx, dhg, dgate);
  });
}

// With the width D given: at 256 the products dominate, 1.0 Gflop forward and twice that backward;
// at 1 what is left is the wedge itself.
void plucker(benchmark::State& state) {
  Bench b;
  const int64_t width = state.range(0);
  const gf::Linear layer{b.param(width, kCoordinates), b.param(1, width)};
  const gf::Act z = b.act(kRows, kReduced), p = b.act(kRows, kCoordinates);
  const gf::Act g = b.act(kRows, width);
  measure(state, b, [&] { b.ops().plucker(z, kSequences, kLength, kWindows, layer, p, g); });
}

void plucker_backward(benchmark::State& state) {
  Bench b;
  const int64_t width = state.range(0);
  const gf::Linear layer{b.param(width, kCoordinates), b.param(1, width)};
  const gf::Act z = b.act(kRows, kReduced), dz = b.act(kRows, kReduced);
  const gf::Act p = b.act(kRows, kCoordinates), dp = b.act(kRows, kCoordinates);
  const gf::Act dg = b.act(kRows, width);
  measure(state, b, [&] {
    b.ops().plucker_backward(dg, z, kSequences, kLength, kWindows, layer, p, dp, dz);
  });
}

#define GF_BENCHMARK(name) BENCHMARK(name)->Unit(benchmark::kMillisecond)->UseRealTime()
GF_BENCHMARK(embed);
GF_BENCHMARK(embed_backward);
GF_BENCHMARK(add_norm);
GF_BENCHMARK(add_norm_backward);
GF_BENCHMARK(gate_add_norm);
GF_BENCHMARK(gate_add_norm_backward);
GF_BENCHMARK(plucker)->Arg(256)->Arg(1);
GF_BENCHMARK(plucker_backward)->Arg(256)->Arg(1);

}  // namespace

BENCHMARK_MAIN();
