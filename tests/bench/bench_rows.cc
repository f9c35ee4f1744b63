// The operations that work row by row. GB/s counts every operand read and every result written
// once; "copy" moves such bytes and does nothing else.
#include "workbench.h"

#include <cmath>
#include <cstring>

namespace {

constexpr int64_t kPositions = 256, kReduced = 32, kCoordinates = kReduced * (kReduced - 1) / 2;
const gf::Windows kWindows = {{1, 2, 4, 8, 12, 16}};

// `matrices` of [M, D] floats.
void report(benchmark::State& state, int64_t matrices) {
  const auto bytes = static_cast<double>(matrices * kRows * kWidth) * sizeof(float);
  state.counters["MB"] = bytes * 1e-6;
  state.counters["GB/s"] =
      benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// As in text: the k-th word of a vocabulary occurs about 1 / k times as often as the first.
gf::Batch batch(Workbench& w) {
  std::minstd_rand bits(1);
  std::uniform_real_distribution<double> uniform;
  auto* ids = w.array<int32_t>(kRows);
  for (int64_t i = 0; i < kRows; ++i) {
    ids[i] = static_cast<int32_t>(std::pow(double{kVocabulary}, uniform(bits))) - 1;
  }
  return {ids, kSequences, kLength};
}

void copy(benchmark::State& state) {
  Workbench w(state);
  const gf::Mat from = w.mat(4 * kRows, kWidth), to = w.mat(4 * kRows, kWidth);
  for (auto _ : state) {
    std::memcpy(to.data, from.data, static_cast<size_t>(to.size()) * sizeof(float));
    benchmark::ClobberMemory();
  }
  report(state, 8);
}

void embed(benchmark::State& state) {
  Workbench w(state);
  const gf::Param tokens = w.param(kVocabulary, kWidth), positions = w.param(kPositions, kWidth);
  const gf::Batch ids = batch(w);
  const gf::Dropout dropout = w.dropout();
  const gf::Mat x = w.mat(kRows, kWidth);
  for (auto _ : state) w.ops().embed(ids, tokens, positions, dropout, x);
  report(state, 2);
}

void embed_backward(benchmark::State& state) {
  Workbench w(state);
  const gf::Param tokens = w.param(kVocabulary, kWidth), positions = w.param(kPositions, kWidth);
  const gf::Batch ids = batch(w);
  const gf::Dropout dropout = w.dropout();
  const gf::Mat dx = w.mat(kRows, kWidth);
  for (auto _ : state) w.ops().embed_backward(ids, dx, dropout, tokens, positions);
  report(state, 3);
}

void add_norm(benchmark::State& state) {
  Workbench w(state);
  const gf::Norm norm = w.norm();
  const gf::Dropout dropout = w.dropout();
  const gf::Mat x = w.mat(kRows, kWidth), x_out = w.mat(kRows, kWidth), stats = w.mat(kRows, 2);
  const gf::Act y = w.act(kRows, kWidth), h = w.act(kRows, kWidth);
  for (auto _ : state) w.ops().add_norm(x, y, dropout, norm, x_out, stats, h);
  report(state, 4);
}

void add_norm_backward(benchmark::State& state) {
  Workbench w(state);
  const gf::Norm norm = w.norm();
  const gf::Dropout dropout = w.dropout();
  const gf::Mat x_out = w.mat(kRows, kWidth), dx = w.mat(kRows, kWidth), stats = w.mat(kRows, 2);
  const gf::Act dh = w.act(kRows, kWidth), dy = w.act(kRows, kWidth);
  for (auto _ : state) w.ops().add_norm_backward(dh, x_out, stats, dropout, norm, dx, dy);
  report(state, 5);
}

void gate_add_norm(benchmark::State& state) {
  Workbench w(state);
  const gf::Norm inner = w.norm(), outer = w.norm();
  const gf::Dropout dropout = w.dropout();
  const gf::Mat x = w.mat(kRows, kWidth), x_out = w.mat(kRows, kWidth);
  const gf::Mat inner_stats = w.mat(kRows, 2), outer_stats = w.mat(kRows, 2);
  const gf::Act hg = w.act(kRows, 2 * kWidth), gate = w.act(kRows, kWidth);
  const gf::Act h_out = w.act(kRows, kWidth);
  for (auto _ : state) {
    w.ops().gate_add_norm(x, hg, gate, inner, dropout, outer, x_out, inner_stats, outer_stats,
                          h_out);
  }
  report(state, 6);
}

void gate_add_norm_backward(benchmark::State& state) {
  Workbench w(state);
  const gf::Norm inner = w.norm(), outer = w.norm();
  const gf::Dropout dropout = w.dropout();
  const gf::Mat x_out = w.mat(kRows, kWidth), dx = w.mat(kRows, kWidth);
  const gf::Mat inner_stats = w.mat(kRows, 2), outer_stats = w.mat(kRows, 2);
  const gf::Act hg = w.act(kRows, 2 * kWidth), gate = w.act(kRows, kWidth);
  const gf::Act dh_out = w.act(kRows, kWidth), dhg = w.act(kRows, 2 * kWidth);
  const gf::Act dgate = w.act(kRows, kWidth);
  for (auto _ : state) {
    w.ops().gate_add_norm_backward(dh_out, x_out, hg, gate, inner_stats, outer_stats, inner,
                                   dropout, outer, dx, dhg, dgate);
  }
  report(state, 10);
}

// At D = 256 the products dominate, 0.26 Gflop forward and twice that backward; at D = 1 what is
// left is the wedge itself.
void plucker(benchmark::State& state, int64_t width) {
  Workbench w(state);
  const gf::Linear layer = w.linear(kCoordinates, width);
  const gf::Act z = w.act(kRows, kReduced), p = w.act(kRows, kCoordinates);
  const gf::Act g = w.act(kRows, width);
  for (auto _ : state) w.ops().plucker(z, kSequences, kLength, kWindows, layer, p, g);
}

void plucker_backward(benchmark::State& state, int64_t width) {
  Workbench w(state);
  const gf::Linear layer = w.linear(kCoordinates, width);
  const gf::Act z = w.act(kRows, kReduced), dz = w.act(kRows, kReduced);
  const gf::Act p = w.act(kRows, kCoordinates), dp = w.act(kRows, kCoordinates);
  const gf::Act dg = w.act(kRows, width);
  for (auto _ : state) {
    w.ops().plucker_backward(dg, z, kSequences, kLength, kWindows, layer, p, dp, dz);
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::RegisterBenchmark("copy", copy)->Arg(1)->Unit(benchmark::kMicrosecond);
  with_threads(benchmark::RegisterBenchmark("embed", embed));
  with_threads(benchmark::RegisterBenchmark("embed_backward", embed_backward));
  with_threads(benchmark::RegisterBenchmark("add_norm", add_norm));
  with_threads(benchmark::RegisterBenchmark("add_norm_backward", add_norm_backward));
  with_threads(benchmark::RegisterBenchmark("gate_add_norm", gate_add_norm));
  with_threads(benchmark::RegisterBenchmark("gate_add_norm_backward", gate_add_norm_backward));
  for (const int64_t width : {kWidth, int64_t{1}}) {
    const std::string suffix = "/D=" + std::to_string(width);
    with_threads(benchmark::RegisterBenchmark(("plucker" + suffix).c_str(), plucker, width));
    with_threads(benchmark::RegisterBenchmark(("plucker_backward" + suffix).c_str(),
                                              plucker_backward, width));
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
