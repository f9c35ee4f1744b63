#include "support/op_test.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "support/support.h"

namespace gf_test {
namespace {

uint16_t to_bf16(double value) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  if (std::isnan(value)) return 0x7FC0;
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

double from_bf16(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

// Making one costs more than most tests; what they leave in it is one more thing that must not
// matter.
const std::shared_ptr<gf::Device>& shared_gpu() {
  static const std::shared_ptr<gf::Device> device = make_test_device(1);
  return device;
}

}  // namespace

bool is_wanted(int when) {
  static const char* const small = std::getenv("GF_TEST_SMALL");
  static const bool is_small = small && std::string(small) == "1";
  return !(when & kGpuOnly && !on_gpu()) && !(when & kLarge && is_small);
}

Matrix as_held(Matrix values) {
  if (in_bf16()) {
    for (double& value : values.values) value = from_bf16(to_bf16(value));
  }
  return values;
}

TestDevice::TestDevice(int threads)
    : device_(on_gpu() ? shared_gpu() : make_test_device(threads)) {}

TestDevice::~TestDevice() {
  for (void* buffer : buffers_) device_->release(buffer);
}

void* TestDevice::allocate(size_t bytes) {
  buffers_.push_back(device_->allocate(bytes, "a test's operand"));
  return buffers_.back();
}

gf::Act TestDevice::act(const Matrix& values, int64_t padding) {
  const int32_t element = device_->product_bytes();
  const int64_t ld = values.cols + padding;
  std::vector<std::byte> bytes(static_cast<size_t>(values.rows * ld * element));
  for (int64_t i = 0; i < values.rows; ++i) {
    for (int64_t j = 0; j < ld; ++j) {
      const double value = j < values.cols ? values(i, j) : std::nan("");
      std::byte* to = bytes.data() + (i * ld + j) * element;
      const auto single = static_cast<float>(value);
      const uint16_t half = to_bf16(value);
      std::memcpy(to, element == 4 ? static_cast<const void*>(&single) : &half,
                  static_cast<size_t>(element));
    }
  }
  return {array(bytes), values.rows, values.cols, ld, element};
}

gf::Mat TestDevice::mat(const Matrix& values, int64_t padding) {
  const int64_t ld = values.cols + padding;
  std::vector<float> floats(static_cast<size_t>(values.rows * ld), std::nanf(""));
  for (int64_t i = 0; i < values.rows; ++i) {
    for (int64_t j = 0; j < values.cols; ++j) {
      floats[static_cast<size_t>(i * ld + j)] = static_cast<float>(values(i, j));
    }
  }
  return {array(floats), values.rows, values.cols, ld};
}

gf::Mat TestDevice::result_mat(int64_t rows, int64_t cols, int64_t padding) {
  return mat(Matrix(rows, cols, std::nan("")), padding);
}

gf::Act TestDevice::result_act(int64_t rows, int64_t cols, int64_t padding) {
  return act(Matrix(rows, cols, std::nan("")), padding);
}

gf::Param TestDevice::param(const Matrix& values) {
  gf::Param param{mat(values), {}, result_mat(values.rows, values.cols)};
  if (device_->product_bytes() == sizeof(float)) {
    param.act.data = reinterpret_cast<std::byte*>(param.value.data);
    param.act = {param.act.data, values.rows, values.cols, values.cols, sizeof(float)};
  } else {
    param.act = act(values);
  }
  return param;
}

Matrix TestDevice::read(const gf::Mat& mat) {
  return read(
      gf::Act{reinterpret_cast<std::byte*>(mat.data), mat.rows, mat.cols, mat.ld, sizeof(float)});
}

Matrix TestDevice::read(const gf::Act& act) {
  const std::vector<std::byte> bytes =
      read(act.data, static_cast<size_t>(((act.rows - 1) * act.ld + act.cols) * act.element));
  Matrix values(act.rows, act.cols);
  for (int64_t i = 0; i < act.rows; ++i) {
    for (int64_t j = 0; j < (i + 1 < act.rows ? act.ld : act.cols); ++j) {
      const std::byte* from = bytes.data() + (i * act.ld + j) * act.element;
      float single = 0;
      uint16_t half = 0;
      std::memcpy(act.element == 4 ? static_cast<void*>(&single) : &half, from,
                  static_cast<size_t>(act.element));
      const double value = act.element == 4 ? single : from_bf16(half);
      if (j < act.cols) {
        values(i, j) = value;
      } else if (!std::isnan(value)) {
        fail_msg("row %d: padding at column %d was written to", static_cast<int>(i),
                 static_cast<int>(j));
      }
    }
  }
  return values;
}

void assert_results(const std::string& test_case, const std::vector<Expected>& expected,
                    const std::function<std::vector<Matrix>(TestDevice&)>& body) {
  const std::vector<int> runs = on_gpu() ? std::vector{1, 1} : std::vector{1, 2, 3, 5};
  std::vector<Matrix> first;
  for (int threads : runs) {
    TestDevice device(threads);
    const std::vector<Matrix> results = body(device);
    assert_int_equal(results.size(), expected.size());
    if (first.empty()) first = results;
    for (size_t i = 0; i < results.size(); ++i) {
      const double error = reference::relative_error(results[i], expected[i].value);
      if (!(error <= (in_bf16() ? expected[i].bf16 : kFp32))) {
        fail_msg("%s, %d threads: %s has relative error %.2e", test_case.c_str(), threads,
                 expected[i].name, error);
      }
      if (std::memcmp(results[i].values.data(), first[i].values.data(),
                      first[i].values.size() * sizeof(double)) != 0) {
        fail_msg("%s: %s differs between runs, the second on %d threads", test_case.c_str(),
                 expected[i].name, threads);
      }
    }
  }
}

}  // namespace gf_test
