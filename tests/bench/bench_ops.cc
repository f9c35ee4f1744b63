// Products, attention, head and optimizer. Products stand beside a bare sgemm of the same shape on
// panels of rows, which is what they could reach.
#include "workbench.h"

#include <cblas.h>

#include "base/thread_pool.h"

namespace {

constexpr int64_t kPanelRows = 256, kHeads = 4, kParameters = 12585472;

struct Shape {
  const char* name;
  int64_t in, out;
};
constexpr Shape kShapes[] = {{"qkv", 256, 768},   {"out", 256, 256},  {"ff1", 256, 1024},
                             {"ff2", 1024, 256},  {"W_red", 256, 32}, {"W_plu", 496, 256},
                             {"W_gate", 512, 256}};

void report(benchmark::State& state, double operations, double bytes) {
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  if (operations > 0) state.counters["GFLOP/s"] = benchmark::Counter(operations * 1e-9, rate);
  if (bytes > 0) state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, rate);
}

double product(const Shape& s) {
  return 2.0 * kRows * static_cast<double>(s.in) * static_cast<double>(s.out);
}

void bare_sgemm(benchmark::State& state, Shape s) {
  Workbench w(state);
  gf::ThreadPool pool(static_cast<int>(state.range(0)));
  const gf::Mat x = w.mat(kRows, s.in), weight = w.mat(s.out, s.in), y = w.mat(kRows, s.out);
  const int64_t panel = kRows / pool.size();
  for (auto _ : state) {
    pool.run(pool.size(), [&](int64_t part) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(panel),
                  static_cast<int>(s.out), static_cast<int>(s.in), 1.0f, x.row(part * panel),
                  static_cast<int>(x.ld), weight.data, static_cast<int>(weight.ld), 0.0f,
                  y.row(part * panel), static_cast<int>(y.ld));
    });
  }
  report(state, product(s), 0);
}

void linear(benchmark::State& state, Shape s) {
  Workbench w(state);
  const gf::Act x = w.act(kRows, s.in), y = w.act(kRows, s.out);
  const gf::Linear layer = w.linear(s.in, s.out);
  for (auto _ : state) w.ops().linear(x, layer, y);
  report(state, product(s), 0);
}

void linear_backward(benchmark::State& state, Shape s) {
  Workbench w(state);
  const gf::Act x = w.act(kRows, s.in), dy = w.act(kRows, s.out), dx = w.act(kRows, s.in);
  const gf::Linear layer = w.linear(s.in, s.out);
  for (auto _ : state) w.ops().linear_backward(dy, x, layer, dx, false);
  report(state, 2 * product(s), 0);
}

void linear_gelu(benchmark::State& state) {
  Workbench w(state);
  const Shape s{"ff1", 256, 1024};
  const gf::Act x = w.act(kRows, s.in), u = w.act(kRows, s.out), a = w.act(kRows, s.out);
  const gf::Linear layer = w.linear(s.in, s.out);
  const gf::Dropout drop = w.dropout();
  for (auto _ : state) w.ops().linear_gelu(x, layer, drop, u, a);
  report(state, product(s), 0);
}

void gelu_linear_backward(benchmark::State& state) {
  Workbench w(state);
  const Shape s{"ff2", 1024, 256};
  const gf::Act dy = w.act(kRows, s.out), u = w.act(kRows, s.in), du = w.act(kRows, s.in);
  // gelu(0) is 0: anything else would go from run to run towards numbers too small to be normal.
  w.device->zero(u.data, static_cast<size_t>(u.size()) * sizeof(float));
  const gf::Linear layer = w.linear(s.in, s.out);
  const gf::Dropout drop = w.dropout();
  for (auto _ : state) w.ops().gelu_linear_backward(dy, u, drop, layer, du);
  report(state, 2 * product(s), 0);
}

// Operations of the causal half.
double attention_products(int count) {
  return count * static_cast<double>(kSequences * kLength * (kLength + 1) * kWidth);
}

void attention(benchmark::State& state) {
  Workbench w(state);
  const gf::Act qkv = w.act(kRows, 3 * kWidth), out = w.act(kRows, kWidth);
  const gf::Mat lse = w.mat(kRows, kHeads);
  for (auto _ : state) w.ops().attention(qkv, kSequences, kLength, kHeads, out, lse);
  report(state, attention_products(2), 0);
}

void attention_backward(benchmark::State& state) {
  Workbench w(state);
  const gf::Act qkv = w.act(kRows, 3 * kWidth), out = w.act(kRows, kWidth);
  const gf::Act dout = w.act(kRows, kWidth), dqkv = w.act(kRows, 3 * kWidth);
  const gf::Mat lse = w.mat(kRows, kHeads);
  w.ops().attention(qkv, kSequences, kLength, kHeads, out, lse);
  for (auto _ : state) {
    w.ops().attention_backward(dout, qkv, out, lse, kSequences, kLength, kHeads, dqkv);
  }
  report(state, attention_products(5), 0);
}

void lm_loss_backward(benchmark::State& state) {
  Workbench w(state);
  const gf::Act h = w.act(kRows, kWidth), dh = w.act(kRows, kWidth);
  const gf::Param tokens = w.param(kVocabulary, kWidth);
  const gf::Act panel = w.act(kPanelRows, kVocabulary);
  const gf::Batch batch{w.array<int32_t>(kRows), kSequences, kLength};
  auto* loss = w.array<gf::LossSum>(1);
  for (auto _ : state) w.ops().lm_loss_backward(h, tokens, batch, panel, loss, dh);
  report(state, 3 * product({"", kWidth, kVocabulary}), 0);
}

void squared_norm(benchmark::State& state) {
  Workbench w(state);
  const gf::Mat grad = w.mat(1, kParameters);
  auto* out = w.array<double>(1);
  for (auto _ : state) w.ops().squared_norm(grad, out);
  report(state, 0, 4.0 * kParameters);
}

void adamw(benchmark::State& state) {
  Workbench w(state);
  const gf::Param value = w.param(1, kParameters);
  const gf::Parameters parameters{value.value, value.act, value.grad, w.mat(1, kParameters),
                                  w.mat(1, kParameters)};
  std::fill_n(parameters.moment2.data, kParameters, 1.0f);
  auto* norm = w.array<double>(1);
  *norm = 4.0;
  auto* step = w.array<gf::StepState>(1);
  auto* loss = w.array<gf::LossSum>(1);
  for (auto _ : state) w.ops().adamw(parameters, {}, step, norm, loss);
  report(state, 0, 7 * 4.0 * kParameters);
}

}  // namespace

int main(int argc, char** argv) {
  for (const Shape& s : kShapes) {
    const std::string name = s.name;
    with_threads(benchmark::RegisterBenchmark(("sgemm/" + name).c_str(), bare_sgemm, s));
    with_threads(benchmark::RegisterBenchmark(("linear/" + name).c_str(), linear, s));
    with_threads(
        benchmark::RegisterBenchmark(("linear_backward/" + name).c_str(), linear_backward, s));
  }
  with_threads(benchmark::RegisterBenchmark("linear_gelu", linear_gelu));
  with_threads(benchmark::RegisterBenchmark("gelu_linear_backward", gelu_linear_backward));
  with_threads(benchmark::RegisterBenchmark("attention", attention));
  with_threads(benchmark::RegisterBenchmark("attention_backward", attention_backward));
  with_threads(benchmark::RegisterBenchmark("lm_loss_backward", lm_loss_backward));
  with_threads(benchmark::RegisterBenchmark("squared_norm", squared_norm));
  with_threads(benchmark::RegisterBenchmark("adamw", adamw));
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
