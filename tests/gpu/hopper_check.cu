// Checks one product of cuda/hopper.h against a naive kernel and times it.
//
//   hopper_check CASE ROWS COLS INNER [DROPOUT [PADDING]]
//
// CASE: exp_sums, linear, linear_wide, gelu, gelu_backward or gradient. The result
// of the product is [ROWS, COLS]. Prints one line; status 0 where all relative errors are small and
// nothing was written beside the result. PADDING, 8 by default, is the number of elements between
// rows: with 0 rows begin as in the models, on whole sectors of memory, and the time is the
// models'. See hopper_check.sh.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "gpu.h"
#include "hopper.h"
#include "kernel.cuh"

namespace {

using gf::Act;
using gf::Dropout;
using gf::StepState;
using gf::cuda::bf16;
using gf::cuda::check;
using gf::cuda::Gpu;

uint64_t g_random = 88172645463325252u;
float random_value() {  // uniform in [-1, 1)
  g_random ^= g_random << 13;
  g_random ^= g_random >> 7;
  g_random ^= g_random << 17;
  return static_cast<float>(g_random >> 40) * 0x1p-23f - 1.0f;
}

template <class T>
T* device_array(size_t count) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, std::max<size_t>(count, 1) * sizeof(T)), "cudaMalloc");
  check(cudaMemset(memory, 0xFF, count * sizeof(T)), "cudaMemset");  // NaN in both precisions
  return static_cast<T*>(memory);
}
template <class T>
T* upload(const std::vector<T>& from) {
  T* memory = device_array<T>(from.size());
  check(cudaMemcpy(memory, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice), "copy");
  return memory;
}
template <class T>
std::vector<T> download(const T* from, size_t count) {
  std::vector<T> to(count);
  check(cudaMemcpy(to.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost), "copy");
  return to;
}

int64_t g_padding = 8;  // a multiple of 8

Act matrix(int64_t rows, int64_t cols, int64_t ld) {
  return {reinterpret_cast<std::byte*>(device_array<bf16>(rows * ld)), rows, cols, ld, 2};
}
// Padding between rows stays NaN: whoever uses it shows.
Act random_matrix(int64_t rows, int64_t cols, float scale) {
  const int64_t ld = (cols + 7) / 8 * 8 + g_padding;
  std::vector<bf16> values(rows * ld, __ushort_as_bfloat16(0xFFFF));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j)
      values[i * ld + j] = __float2bfloat16(scale * random_value());
  }
  return {reinterpret_cast<std::byte*>(upload(values)), rows, cols, ld, 2};
}
std::vector<float> random_vector(int64_t count) {
  std::vector<float> values(count);
  for (float& v : values) v = random_value();
  return values;
}

// out[i, j] = sum over k of a[i * ai + k * ak] b[j * bj + k * bk].
__global__ void naive(const bf16* a, int64_t ai, int64_t ak, const bf16* b, int64_t bj, int64_t bk,
                      int64_t rows, int64_t cols, int64_t inner, float* out) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (n >= rows * cols) return;
  const bf16 *x = a + n / cols * ai, *y = b + n % cols * bj;
  float sum = 0;
  for (int64_t k = 0; k < inner; ++k) {
    sum += __bfloat162float(x[k * ak]) * __bfloat162float(y[k * bk]);
  }
  out[n] = sum;
}
std::vector<float> product(const Act& a, bool ta, const Act& b, bool tb, int64_t rows, int64_t cols,
                           int64_t inner) {
  float* out = device_array<float>(rows * cols);
  const auto* x = reinterpret_cast<const bf16*>(a.data);
  const auto* y = reinterpret_cast<const bf16*>(b.data);
  naive<<<static_cast<unsigned>((rows * cols + 255) / 256), 256>>>(
      x, ta ? 1 : a.ld, ta ? a.ld : 1, y, tb ? 1 : b.ld, tb ? b.ld : 1, rows, cols, inner, out);
  check(cudaDeviceSynchronize(), "naive");
  auto result = download(out, rows * cols);
  check(cudaFree(out), "cudaFree");
  return result;
}

float value(bf16 x) {
  return __bfloat162float(x);
}
float value(float x) {
  return x;
}
bool untouched(bf16 x) {
  return __bfloat16_as_ushort(x) == 0xFFFF;
}
bool untouched(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits == 0xFFFFFFFFu;
}

struct Verdict {
  double worst = 0;
  std::string text;
  bool failed = false;

  // got [rows, cols] with rows `ld` apart against expected [rows, cols] without padding.
  template <class T>
  void compare(const char* what, const T* device, int64_t rows, int64_t cols, int64_t ld,
               const std::vector<float>& expected, double allowed) {
    const auto got = download(device, rows * ld);
    double error = 0, norm = 0;
    int64_t spoilt = 0, wrong = 0, first = -1;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < ld; ++j) {
        const T g = got[i * ld + j];
        if (j >= cols) {
          spoilt += !untouched(g);
          continue;
        }
        const double e = expected[i * cols + j], d = value(g) - e;
        error += d * d, norm += e * e;
        if (!(std::fabs(d) <= 0.05 * std::fabs(e) + 0.05)) {
          ++wrong;
          if (first < 0) first = i * cols + j;
        }
      }
    }
    const double relative = std::sqrt(error / std::max(norm, 1e-300));
    char line[200];
    std::snprintf(line, sizeof line, "  %s %.1e", what, relative);
    text += line;
    if (!(relative <= allowed) || spoilt > 0) {
      failed = true;
      std::snprintf(
          line, sizeof line, " (WRONG: %lld elements, first [%lld, %lld]; %lld spoilt)",
          static_cast<long long>(wrong), static_cast<long long>(first < 0 ? -1 : first / cols),
          static_cast<long long>(first < 0 ? -1 : first % cols), static_cast<long long>(spoilt));
      text += line;
    }
  }
  void compare(const char* what, const Act& got, const std::vector<float>& expected) {
    compare(what, reinterpret_cast<const bf16*>(got.data), got.rows, got.cols, got.ld, expected,
            1e-2);
  }
};

// Microseconds of one run of body, of many in a graph.
template <class Body>
double time_of(Gpu& gpu, const Body& body) {
  constexpr int kRuns = 20, kReplays = 10;
  cudaGraph_t graph;
  cudaGraphExec_t ready;
  check(cudaStreamBeginCapture(gpu.stream(), cudaStreamCaptureModeThreadLocal), "capture");
  for (int i = 0; i < kRuns; ++i) body();
  check(cudaStreamEndCapture(gpu.stream(), &graph), "capture");
  check(cudaGraphInstantiate(&ready, graph, 0), "cudaGraphInstantiate");
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  for (int i = 0; i < 3; ++i) check(cudaGraphLaunch(ready, gpu.stream()), "cudaGraphLaunch");
  check(cudaEventRecord(begin, gpu.stream()), "cudaEventRecord");
  for (int i = 0; i < kReplays; ++i) check(cudaGraphLaunch(ready, gpu.stream()), "cudaGraphLaunch");
  check(cudaEventRecord(end, gpu.stream()), "cudaEventRecord");
  check(cudaEventSynchronize(end), "replay");
  float ms = 0;
  check(cudaEventElapsedTime(&ms, begin, end), "cudaEventElapsedTime");
  return ms * 1000.0 / (kRuns * kReplays);
}

float dropout_factor(const Dropout& dropout, const StepState& state, int64_t index) {
  if (dropout.threshold == 0) return 1.0f;
  const gf::Bits4 bits = gf::random_bits(state.seed, static_cast<uint64_t>(state.step),
                                         dropout.site, static_cast<uint64_t>(index / 8));
  const uint32_t word = bits.v[index % 8 / 2] >> (index % 2 * 16) & 0xFFFFu;
  return word < dropout.threshold ? 0.0f : gf::dropout_scale(dropout.threshold);
}
double phi(double x) {
  return 0.5 * std::erfc(-x * std::sqrt(0.5));
}

struct Case {
  Gpu gpu{0};
  std::string name;
  int64_t rows, cols, inner;
  StepState state;
  Dropout dropout;
  Verdict verdict;
  double microseconds = 0;

  template <class Body>
  void run(const Body& body) {
    body();
    check(cudaStreamSynchronize(gpu.stream()), name.c_str());
  }

  void exp_sums() {
    const Act h = random_matrix(rows, inner, 1.0f), tokens = random_matrix(cols, inner, 0.2f);
    const std::vector<float> shifts = random_vector(rows);
    const float* shift = upload(shifts);
    const int64_t tiles = gf::cuda::hopper::exp_sums_tiles(cols);
    float* sums = device_array<float>(tiles * rows);
    const auto body = [&] { gf::cuda::hopper::exp_sums(gpu, h, tokens, shift, sums); };
    run(body);
    const auto logits = product(h, false, tokens, false, rows, cols, inner);
    std::vector<float> total(rows), got(rows);
    const auto parts = download(sums, tiles * rows);
    for (int64_t i = 0; i < rows; ++i) {
      double sum = 0, parts_sum = 0;
      for (int64_t j = 0; j < cols; ++j) {
        sum += std::exp(static_cast<double>(logits[i * cols + j]) - shifts[i]);
      }
      for (int64_t tile = 0; tile < tiles; ++tile) parts_sum += parts[tile * rows + i];
      total[i] = static_cast<float>(sum), got[i] = static_cast<float>(parts_sum);
    }
    verdict.compare("sums", upload(got), rows, 1, 1, total, 1e-5);
    microseconds = time_of(gpu, body);
  }

  void linear(bool wide) {
    const Act x = random_matrix(rows, inner, 1.0f), weight = random_matrix(cols, inner, 0.2f);
    const std::vector<float> bias = random_vector(cols);
    const float* b = upload(bias);
    const int64_t ld = (cols + 7) / 8 * 8 * (wide ? 2 : 1) + g_padding;
    const Act y = matrix(rows, cols, ld);
    const auto body = [&] { gf::cuda::hopper::linear(gpu, x, weight, b, y); };
    run(body);
    auto expected = product(x, false, weight, false, rows, cols, inner);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += bias[i % cols];
    verdict.compare("y", y, expected);
    microseconds = time_of(gpu, body);
  }

  void gelu() {
    const Act x = random_matrix(rows, inner, 1.0f), weight = random_matrix(cols, inner, 0.2f);
    const std::vector<float> bias = random_vector(cols);
    const float* b = upload(bias);
    const Act u = matrix(rows, cols, cols + g_padding), a = matrix(rows, cols, cols);
    const auto body = [&] { gf::cuda::hopper::linear_gelu(gpu, x, weight, b, dropout, u, a); };
    run(body);
    auto expected_u = product(x, false, weight, false, rows, cols, inner);
    std::vector<float> expected_a(expected_u.size());
    for (size_t i = 0; i < expected_u.size(); ++i) {
      const double v = expected_u[i] += bias[i % cols];
      expected_a[i] = static_cast<float>(v * phi(v)) * dropout_factor(dropout, state, i);
    }
    verdict.compare("u", u, expected_u);
    verdict.compare("a", a, expected_a);
    microseconds = time_of(gpu, body);
  }

  void gelu_backward() {
    const Act dy = random_matrix(rows, inner, 1.0f), weight = random_matrix(inner, cols, 0.2f);
    const Act u = random_matrix(rows, cols, 3.0f);
    const Act a = matrix(rows, cols, cols), du = matrix(rows, cols, cols + 2 * g_padding);
    const auto body = [&] { gf::cuda::hopper::gelu_backward(gpu, dy, weight, u, dropout, a, du); };
    run(body);
    auto expected = product(dy, false, weight, true, rows, cols, inner);
    std::vector<float> expected_a(expected.size());
    const auto us = download(reinterpret_cast<const bf16*>(u.data), rows * u.ld);
    for (size_t i = 0; i < expected.size(); ++i) {
      const double v = value(us[i / cols * u.ld + i % cols]);
      const double density = std::exp(-0.5 * v * v) * 0.3989422804014327;
      const float factor = dropout_factor(dropout, state, i);
      expected[i] *= static_cast<float>(phi(v) + v * density) * factor;
      expected_a[i] = static_cast<float>(v * phi(v)) * factor;
    }
    verdict.compare("du", du, expected);
    verdict.compare("a", a, expected_a);
    microseconds = time_of(gpu, body);
  }

  void gradient() {
    const Act dy = random_matrix(inner, rows, 1.0f), x = random_matrix(inner, cols, 1.0f);
    const gf::Mat dw = {device_array<float>(rows * cols), rows, cols, cols};
    float* db = device_array<float>(rows);
    const auto expected = product(dy, true, x, true, rows, cols, inner);
    std::vector<float> sums(rows);
    const auto dys = download(reinterpret_cast<const bf16*>(dy.data), inner * dy.ld);
    for (int64_t k = 0; k < inner; ++k) {
      for (int64_t i = 0; i < rows; ++i) sums[i] += value(dys[k * dy.ld + i]);
    }
    const gf::cuda::hopper::WeightGradient gradients[] = {{dy, x, dw, db}};
    const auto body = [&] { gf::cuda::hopper::weight_gradients(gpu, gradients); };
    run(body);
    verdict.compare("dw", dw.data, rows, cols, cols, expected, 1e-4);
    verdict.compare("db", db, rows, 1, 1, sums, 1e-4);
    microseconds = time_of(gpu, body);
  }

  void all() {
    if (name == "exp_sums") exp_sums();
    if (name == "linear") linear(false);
    if (name == "linear_wide") linear(true);
    if (name == "gelu") gelu();
    if (name == "gelu_backward") gelu_backward();
    if (name == "gradient") gradient();
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const auto number = [&](int i) { return std::strtoll(argv[i], nullptr, 10); };
  std::printf("%-14s %6s %6s %5s", argv[1], argv[2], argv[3], argv[4]);
  std::fflush(stdout);
  if (argc > 6) g_padding = number(6);
  try {
    Case c;
    c.name = argv[1], c.rows = number(2), c.cols = number(3), c.inner = number(4);
    c.state.seed = 1234, c.state.step = 56;
    c.dropout = {gf::dropout_threshold(argc > 5 ? std::strtof(argv[5], nullptr) : 0.0f), 3,
                 upload(std::vector<StepState>{c.state})};
    c.all();
    const double flop = 2.0 * c.rows * c.cols * c.inner;
    std::printf("  %8.2f us %6.1f TFLOP/s %s\n", c.microseconds, flop / c.microseconds * 1e-6,
                c.verdict.text.c_str());
    return c.verdict.failed ? 1 : 0;
  } catch (const gf::Error& error) {
    std::printf("  FAILED: %s\n", error.what());
    return 1;
  }
}
