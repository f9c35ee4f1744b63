// Every matrix product of a training step on the GPU at hand, in bf16: what Products::run takes for
// it, what else cuBLASLt proposes and how fast that is, and the product of cuda/hopper.h where
// there is one. For choose_algorithm in cuda/product_plan.cc, and for who calls which.
//
//   bench_products [--all] [--only TEXT]
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "algorithm_text.h"
#include "column_sums.h"
#include "hopper.h"
#include "kernel.cuh"
#include "operand_memory.cuh"
#include "product_plan.h"
#include "replay_timer.h"

namespace {

using namespace gf;
using namespace gf::cuda;
using bench::bf16_matrix;
using bench::fp32_matrix;
using bench::Memory;
using bench::ReplayTimer;

constexpr char kHelp[] =
    "Usage: bench_products [--all] [--only TEXT]\n\n"
    "  --all        a line for every algorithm too\n"
    "  --only TEXT  only products whose name holds TEXT, such as dw or \"4096 dx\"\n\n"
    "Times are microseconds of a call, the median of three replays of a graph of calls:\n"
    "  now     Products::run\n"
    "  first   cuBLASLt's first proposal\n"
    "  best    its fastest proposal, where K >= 1024 also of those cut into 2 to 32 parts\n"
    "  hopper  its twin in cuda/hopper.h; of dw with the sums of dy's columns\n"
    "  +sums   of dw: Products::run and column_sums, what hopper is to be compared with\n"
    "An algorithm is written rank/proposals, tile, stages, cluster, /parts, waves, workspace;\n"
    "tiles are columns x rows, as cuBLASLt sees the transpose.\n";

struct Options {
  bool all = false;
  std::string only;
};

struct Product {
  Operand a, b, c;
  bool accumulate = false;
  Param bias;  // data null: none
};

struct Case {
  std::string name;
  double operations = 0;
  std::optional<Product> product;          // what cuBLASLt could do
  std::function<void()> hopper = nullptr;  // what of cuda/hopper.h does the same
  std::function<void()> sums = nullptr;    // what else has to be done beside the product
};

// ---- The products ------------------------------------------------------------------------------

class Cases {
 public:
  Cases(Gpu& gpu, const Memory& memory) : gpu_(gpu), m_(memory) {
    for (const int64_t rows : {int64_t{4096}, int64_t{32768}}) {
      rows_ = rows;
      add_forward();
      add_backward();
      add_gradients();
      add_gelu();
    }
    for (const int64_t rows : {int64_t{1024}, int64_t{4096}}) {  // of a panel
      rows_ = rows;
      add_head();
    }
  }

  const std::vector<Case>& all() const { return cases_; }

 private:
  void add(const std::string& name, double outputs, int64_t inner, std::optional<Product> product,
           std::function<void()> hopper = nullptr, std::function<void()> sums = nullptr) {
    cases_.push_back({std::to_string(rows_) + " " + name, 2 * outputs * static_cast<double>(inner),
                      product, std::move(hopper), std::move(sums)});
  }
  static std::string sizes(int64_t from, int64_t to) {
    return std::to_string(from) + "->" + std::to_string(to);
  }
  double outputs(int64_t cols) const { return static_cast<double>(rows_ * cols); }

  struct Layer {
    int64_t in, out;
  };
  // y = x w^T + bias, y in the first columns of a matrix of ld.
  void forward(int64_t in, int64_t out, int64_t ld) {
    const Act x = bf16_matrix(m_.x, rows_, in), w = bf16_matrix(m_.w, out, in);
    const Act y = bf16_matrix(m_.y, rows_, out, ld);
    const float* bias = m_.bias.value.data;
    add("y " + sizes(in, out) + (ld > out ? " of " + std::to_string(ld) : ""), outputs(out), in,
        Product{x, transposed(w), y, false, m_.bias},
        [this, x, w, bias, y] { hopper::linear(gpu_, x, w, bias, y); });
  }
  void add_forward() {
    for (const auto& [in, out] : kLayers) forward(in, out, out);
    forward(256, 256, 512);
    forward(512, 256, 512);
  }

  // dx = dy w, of a layer from `in` to `out`.
  void backward(int64_t out, int64_t in, bool accumulate) {
    const Act dy = bf16_matrix(m_.x, rows_, out), w = bf16_matrix(m_.w, out, in);
    const Act dx = bf16_matrix(m_.y, rows_, in);
    add("dx " + sizes(out, in) + (accumulate ? " added" : ""), outputs(in), out,
        Product{dy, w, dx, accumulate, {}});
  }
  void add_backward() {
    for (const auto& [in, out] : kLayers) backward(out, in, false);
    backward(256, 512, true);
    backward(32, 256, true);
  }

  // dw = dy^T x and db = the sums of dy's columns.
  void gradient(int64_t out, int64_t in) {
    const Act dy = bf16_matrix(m_.x, rows_, out), x = bf16_matrix(m_.w, rows_, in);
    const Mat dw = fp32_matrix(m_.y, out, in);
    float* db = reinterpret_cast<float*>(m_.z);
    add(
        "dw " + std::to_string(out) + "x" + std::to_string(in), static_cast<double>(out * in),
        rows_, Product{transposed(dy), x, dw, false, {}},
        [this, dy, x, dw, db] {
          const hopper::WeightGradient gradients[] = {{dy, x, dw, db}};
          hopper::weight_gradients(gpu_, gradients);
        },
        [this, dy, db] { column_sums(gpu_, dy, db); });
  }
  void add_gradients() {
    for (const auto& [in, out] : kLayers) gradient(out, in);
    gradient(256, 496);
    add_gradients_of("dw of a feed-forward part", {{256, 1024}, {1024, 256}});
    add_gradients_of("dw of attention", {{256, 768}, {256, 256}});
    add_gradients_of("dw of Grassmann mixing", {{256, 32}, {496, 256}, {512, 256}});
    for (const int64_t width : {768, 256, 1024, 32}) {
      const Act dy = bf16_matrix(m_.x, rows_, width);
      float* db = reinterpret_cast<float*>(m_.z);
      add("column sums " + std::to_string(width), 0, 0, std::nullopt, nullptr,
          [this, dy, db] { column_sums(gpu_, dy, db); });
    }
  }

  // Those of a sublayer by one launch, as they are made.
  void add_gradients_of(const char* name, const std::vector<Layer>& layers) {
    std::vector<hopper::WeightGradient> gradients;
    double weights = 0;
    for (const Layer& l : layers) {
      gradients.push_back({bf16_matrix(m_.x, rows_, l.out), bf16_matrix(m_.w, rows_, l.in),
                           fp32_matrix(m_.y, l.out, l.in), reinterpret_cast<float*>(m_.z)});
      weights += static_cast<double>(l.in * l.out);
    }
    add(name, weights, rows_, std::nullopt,
        [this, gradients] { hopper::weight_gradients(gpu_, gradients); });
  }

  void add_gelu() {
    const int64_t dim = 256, ff = 1024;
    const Act x = bf16_matrix(m_.x, rows_, dim), a = bf16_matrix(m_.z, rows_, ff);
    const Act w1 = bf16_matrix(m_.w, ff, dim), w2 = bf16_matrix(m_.w, dim, ff);
    const Act u = bf16_matrix(m_.y, rows_, ff), u_in = bf16_matrix(m_.x, rows_, ff);
    const float* bias = m_.bias.value.data;
    add("linear_gelu 256->1024", outputs(ff), dim, std::nullopt,
        [this, x, w1, bias, u, a] { hopper::linear_gelu(gpu_, x, w1, bias, m_.dropout, u, a); });
    add("gelu_backward 256->1024", outputs(ff), dim, std::nullopt,
        [this, x, w2, u_in, a, u] { hopper::gelu_backward(gpu_, x, w2, u_in, m_.dropout, a, u); });
  }

  // The language-model head's sums of exponentials, and both products of its gradient.
  void add_head() {
    const int64_t vocabulary = 30522, dim = 256;
    const Act h = bf16_matrix(m_.w, rows_, dim), tokens = bf16_matrix(m_.x, vocabulary, dim);
    const Mat dtokens = fp32_matrix(m_.y, vocabulary, dim);
    auto* shift = reinterpret_cast<float*>(m_.bias.value.data);
    auto* target = reinterpret_cast<const int32_t*>(m_.bias.value.data);
    auto *weighted = reinterpret_cast<float*>(m_.y), *sums = reinterpret_cast<float*>(m_.z);
    add("head sums", outputs(vocabulary), dim, std::nullopt,
        [this, h, tokens, shift, sums] { hopper::exp_sums(gpu_, h, tokens, shift, sums); });
    const int64_t splits = hopper::weighted_tokens_splits(gpu_, rows_, vocabulary);
    add("head weighted tokens", 2 * outputs(vocabulary), dim, std::nullopt,
        [this, h, tokens, shift, splits, weighted, sums] {
          hopper::weighted_tokens(gpu_, h, tokens, shift, splits, weighted, sums);
        });
    const hopper::HiddenSizes sizes = hopper::weighted_hidden_sizes(gpu_, rows_, vocabulary);
    auto* parts = gpu_.scratch<float>(sizes.parts + sizes.ready);
    auto* ready = reinterpret_cast<int*>(parts + sizes.parts);
    const size_t ready_bytes = static_cast<size_t>(sizes.ready) * sizeof(int);
    add("head weighted hidden", 2 * outputs(vocabulary), dim, std::nullopt,
        [this, h, tokens, memory = hopper::HiddenMemory{shift, target, parts, ready}, ready_bytes,
         dtokens] {
          check(cudaMemsetAsync(memory.ready, 0, ready_bytes, gpu_.stream()), "cudaMemsetAsync");
          hopper::weighted_hidden(gpu_, tokens, h, memory, 1e-3f, dtokens);
        });
  }

  static constexpr Layer kLayers[] = {{256, 768},  {256, 256}, {256, 1024},
                                      {1024, 256}, {512, 256}, {256, 32}};

  Gpu& gpu_;
  const Memory& m_;
  int64_t rows_ = 0;
  std::vector<Case> cases_;
};

// ---- Measuring ---------------------------------------------------------------------------------

struct Timed {
  ProductAlgorithm algorithm;
  double us = 0;
};

struct Measured {
  double now = 0, first = 0, hopper = 0, sums = 0;  // us; 0: there is none
  std::optional<ProductAlgorithm> chosen;
  std::vector<Timed> algorithms;
  std::optional<Timed> best;
  size_t proposals = 0;
};

bool same(const ProductAlgorithm& a, const ProductAlgorithm& b) {
  return a.rank == b.rank && a.parts == b.parts;
}

void measure_algorithms(Gpu& gpu, ReplayTimer& timer, const Product& p, Measured& m) {
  const void* bias =
      p.c.element == sizeof(float) ? static_cast<const void*>(p.bias.value.data) : p.bias.act.data;
  ProductPlan plan(gpu, p.a, p.b, p.c, bias);
  m.chosen = plan.chosen();
  double fastest = std::numeric_limits<double>::infinity();
  const auto time = [&](const ProductAlgorithm& algorithm) {
    try {
      const double us = timer.time([&] { plan.run(algorithm, p.a, p.b, p.c, p.accumulate, bias); },
                                   3 * fastest + 40);
      fastest = std::min(fastest, us);
      m.algorithms.push_back({algorithm, us});
    } catch (const Error& e) {  // a cut that was accepted and is refused all the same
      std::fprintf(stderr, "%s: %s\n", bench::text(algorithm, m.proposals).c_str(), e.what());
    }
  };
  const std::vector<ProductAlgorithm> proposals = plan.proposals();
  m.proposals = proposals.size();
  for (const ProductAlgorithm& algorithm : proposals) time(algorithm);
  const int64_t inner = p.a.transposed ? p.a.rows : p.a.cols;
  for (const ProductAlgorithm& algorithm : proposals) {
    for (int32_t parts = 2; inner >= 1024 && parts <= 32; parts *= 2) {
      if (const auto cut = plan.cut(algorithm, parts)) time(*cut);
    }
  }
  if (m.algorithms.empty()) return;
  m.first = m.algorithms.front().us;
  const Timed& best = *std::min_element(m.algorithms.begin(), m.algorithms.end(),
                                        [](const Timed& a, const Timed& b) { return a.us < b.us; });
  // Once more: the least of a hundred times is partly luck.
  m.best = {best.algorithm,
            timer.time([&] { plan.run(best.algorithm, p.a, p.b, p.c, p.accumulate, bias); })};
}

Measured measure(Gpu& gpu, Products& products, ReplayTimer& timer, const Case& c) {
  Measured m;
  const auto run = [&] {
    if (!c.product) return;
    const Product& p = *c.product;
    if (p.bias.value.data != nullptr) {
      products.run(p.a, p.b, p.c, p.bias);
    } else {
      products.run(p.a, p.b, p.c, p.accumulate);
    }
  };
  if (c.product) {
    measure_algorithms(gpu, timer, *c.product, m);
    m.now = timer.time(run);
  }
  if (c.sums) {
    m.sums = timer.time([&] {
      run();
      c.sums();
    });
  }
  if (c.hopper && gpu.architecture() == 90) m.hopper = timer.time(c.hopper);
  return m;
}

// ---- Printing ----------------------------------------------------------------------------------

void print_time(double us, double operations) {
  if (us <= 0) {
    std::printf(" %8s %5s", "-", "");
  } else if (operations <= 0) {
    std::printf(" %8.2f %5s", us, "");
  } else {
    std::printf(" %8.2f %5.0f", us, operations / us * 1e-6);
  }
}

void print(const Case& c, const Measured& m, bool all) {
  std::printf("%-32s", c.name.c_str());
  print_time(m.now, c.operations);
  print_time(m.first, c.operations);
  print_time(m.best ? m.best->us : 0, c.operations);
  print_time(m.hopper, c.operations);
  print_time(m.sums, 0);
  if (m.chosen) std::printf("  %-44s", bench::text(*m.chosen, m.proposals).c_str());
  if (m.best) {
    const bool is_chosen = m.chosen && same(*m.chosen, m.best->algorithm);
    std::printf("%s", is_chosen ? "the same" : bench::text(m.best->algorithm, m.proposals).c_str());
  }
  std::printf("\n");
  for (const Timed& t : m.algorithms) {
    if (!all) break;
    std::printf("    %c %8.2f %s\n", m.chosen && same(t.algorithm, *m.chosen) ? '*' : ' ', t.us,
                bench::text(t.algorithm, m.proposals).c_str());
  }
  std::fflush(stdout);
}

void print_heading(const Gpu& gpu) {
  std::printf("%s, cuBLASLt %zu; us and TFLOP/s; bench_products --help explains the columns\n",
              gpu.properties().name, cublasLtGetVersion());
  std::printf("%-32s %8s %5s %8s %5s %8s %5s %8s %5s %8s %5s  %-44s%s\n", "rows, product", "now",
              "", "first", "", "best", "", "hopper", "", "+sums", "", "now", "best");
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--all")) {
      o.all = true;
    } else if (!std::strcmp(argv[i], "--only") && i + 1 < argc) {
      o.only = argv[++i];
    } else {
      throw_error(GF_ERROR_INVALID_ARGUMENT, "unknown option %s\n%s", argv[i], kHelp);
    }
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && !std::strcmp(argv[1], "--help")) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  try {
    const Options options = parse(argc, argv);
    Gpu gpu(0);
    Products products(gpu);
    const Memory memory(gpu);
    ReplayTimer timer(gpu);
    const Cases cases(gpu, memory);
    print_heading(gpu);
    for (const Case& c : cases.all()) {
      if (c.name.find(options.only) == std::string::npos) continue;
      print(c, measure(gpu, products, timer, c), options.all);
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_products: %s\n", e.what());
    return 1;
  }
}
