// A whole training step of the study's configuration at batch 8, beside the products it is made of,
// run alone as bare sgemm on panels of rows: what their ratio leaves is all that is no product.
#include <cblas.h>

#include <vector>

#include "base/thread_pool.h"
#include "train/trainer.h"
#include "workbench.h"

namespace {

constexpr int64_t kLayers = 6, kHeadRows = 256;

struct Shape {
  int64_t in, out;
};

// The linear layers of one block.
std::vector<Shape> block_shapes(gf_mixer mixer) {
  std::vector<Shape> shapes = {{256, 1024}, {1024, 256}};
  if (mixer == GF_MIXER_TRANSFORMER) {
    shapes.insert(shapes.end(), {{256, 768}, {256, 256}});
  } else {
    shapes.insert(shapes.end(), {{256, 32}, {496, 256}, {512, 256}});
  }
  return shapes;
}

// Forward, weight gradient and input gradient, at two operations a product.
double step_operations(gf_mixer mixer) {
  double weights = static_cast<double>(kWidth * kVocabulary);
  for (const Shape& s : block_shapes(mixer)) weights += static_cast<double>(kLayers * s.in * s.out);
  return 6.0 * static_cast<double>(kRows) * weights;
}

void report(benchmark::State& state, gf_mixer mixer) {
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["GFLOP/s"] = benchmark::Counter(step_operations(mixer) * 1e-9, rate);
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(kRows), rate);
}

void step(benchmark::State& state, gf_mixer mixer) {
  gf_model_config config = gf::default_config(mixer);
  config.vocab_size = kVocabulary;
  config.max_seq_len = kLength;
  auto device = gf::make_cpu_device({.threads = static_cast<int>(state.range(0))});
  auto model = std::make_shared<gf::Model>(device, gf::ModelConfig(config));
  model->initialise(1);
  std::minstd_rand bits(1);
  std::vector<int32_t> ids(static_cast<size_t>(64 * kRows));
  for (int32_t& id : ids) id = static_cast<int32_t>(bits() % kVocabulary);
  gf::TrainOptions options;
  options.batch_size = kSequences;
  options.epochs = 1000;
  gf::Trainer trainer(model, std::make_shared<gf::Dataset>(gf::dataset_from_ids(ids, kLength)),
                      options);
  for (auto _ : state) trainer.step();
  report(state, mixer);
}

// c[rows, cols] = op(a) op(b) with the rows of c shared among the threads.
void sgemm(gf::ThreadPool& pool, bool transpose_a, const gf::Mat& a, bool transpose_b,
           const gf::Mat& b, const gf::Mat& c) {
  const int64_t inner = transpose_a ? a.rows : a.cols, parts = pool.size();
  pool.run(parts, [&](int64_t part) {
    const int64_t first = c.rows * part / parts, count = c.rows * (part + 1) / parts - first;
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, static_cast<int>(count),
                static_cast<int>(c.cols), static_cast<int>(inner), 1.0f,
                transpose_a ? a.data + first : a.row(first), static_cast<int>(a.ld), b.data,
                static_cast<int>(b.ld), 0.0f, c.row(first), static_cast<int>(c.ld));
  });
}

// The three products of a linear layer.
struct Products {
  gf::Mat x, weight, y, dx, dweight;

  Products(Workbench& w, int64_t rows, Shape s)
      : x(w.mat(rows, s.in)),
        weight(w.mat(s.out, s.in)),
        y(w.mat(rows, s.out)),
        dx(w.mat(rows, s.in)),
        dweight(w.mat(s.out, s.in)) {}

  void run(gf::ThreadPool& pool) const {
    sgemm(pool, false, x, true, weight, y);
    sgemm(pool, true, y, false, x, dweight);
    sgemm(pool, false, y, false, weight, dx);
  }
};

void products_alone(benchmark::State& state, gf_mixer mixer) {
  Workbench w(state);
  gf::ThreadPool pool(static_cast<int>(state.range(0)));
  std::vector<Products> block;
  for (const Shape& s : block_shapes(mixer)) block.emplace_back(w, kRows, s);
  const Products head(w, kHeadRows, {kWidth, kVocabulary});
  for (auto _ : state) {
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      for (const Products& p : block) p.run(pool);
    }
    for (int64_t rows = 0; rows < kRows; rows += kHeadRows) head.run(pool);
  }
  report(state, mixer);
}

// Several times, to be run with --benchmark_enable_random_interleaving: the machine's speed drifts.
void repeated(benchmark::internal::Benchmark* b) {
  b->ArgName("threads")->Arg(1)->Arg(2);
  b->UseRealTime()->Unit(benchmark::kMillisecond)->Iterations(5)->Repetitions(5);
}

BENCHMARK_CAPTURE(step, transformer, GF_MIXER_TRANSFORMER)->Apply(repeated);
BENCHMARK_CAPTURE(products_alone, transformer, GF_MIXER_TRANSFORMER)->Apply(repeated);
BENCHMARK_CAPTURE(step, grassmann, GF_MIXER_GRASSMANN)->Apply(repeated);
BENCHMARK_CAPTURE(products_alone, grassmann, GF_MIXER_GRASSMANN)->Apply(repeated);

}  // namespace

BENCHMARK_MAIN();
