#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "reference/matrix.h"
#include "support/device_under_test.h"

namespace gf_test {

using reference::Matrix;

// ---- Cases
// ---------------------------------------------------------------------------------------

// Marks of a case that not every run takes.
enum When : int {
  kAlways = 0,
  kGpuOnly = 1,  // its twin takes longer than the CPU's tests may
  kLarge = 2,    // not where all is a hundred times slower: with GF_TEST_SMALL set to 1
};
bool is_wanted(int when);

// Those of a table that this run takes. A case says so in its member `when`.
template <class Table>
auto cases_of(const Table& table) {
  std::vector<std::decay_t<decltype(*std::begin(table))>> cases;
  for (const auto& entry : table) {
    if (is_wanted(entry.when)) cases.push_back(entry);
  }
  return cases;
}

// ---- Operands
// ------------------------------------------------------------------------------------

// Values as the device under test holds them in an Act: in bf16 the nearest ones. Where they decide
// on the case, the twin is to be given these.
Matrix as_held(Matrix values);

// Operands of one test on a device. What is uploaded with padding has NaN between its rows, and
// results begin as NaN, so that reading or leaving out the wrong element shows.
class TestDevice {
 public:
  explicit TestDevice(int threads);  // one for all on a GPU
  ~TestDevice();
  TestDevice(const TestDevice&) = delete;
  TestDevice& operator=(const TestDevice&) = delete;

  gf::Device& device() { return *device_; }
  gf::Ops& ops() { return device_->ops(); }

  gf::Mat mat(const Matrix& values, int64_t padding = 0);
  gf::Act act(const Matrix& values, int64_t padding = 0);
  gf::Mat result_mat(int64_t rows, int64_t cols, int64_t padding = 0);
  gf::Act result_act(int64_t rows, int64_t cols, int64_t padding = 0);
  gf::Param param(const Matrix& values);  // its gradient is NaN

  template <class T>
  T* array(const std::vector<T>& values) {
    const size_t bytes = values.size() * sizeof(T);
    void* memory = allocate(bytes);
    device_->upload(memory, values.data(), bytes);
    return static_cast<T*>(memory);
  }
  // The same where the host reads it too, once the device has been waited for.
  template <class T>
  T* shared_array(const std::vector<T>& values) {
    buffers_.push_back(device_->allocate_shared(values.size() * sizeof(T), "a test's results"));
    T* memory = static_cast<T*>(buffers_.back());
    std::copy(values.begin(), values.end(), memory);
    return memory;
  }
  gf::StepState* state(const gf::StepState& values) { return array<gf::StepState>({values}); }

  // Fails the test where padding has been written to.
  Matrix read(const gf::Mat& mat);
  Matrix read(const gf::Act& act);
  template <class T>
  std::vector<T> read(const T* memory, size_t count) {
    std::vector<T> values(count);
    device_->download(values.data(), memory, count * sizeof(T));
    return values;
  }

 private:
  void* allocate(size_t bytes);

  std::shared_ptr<gf::Device> device_;
  std::vector<void*> buffers_;
};

// ---- Results
// -------------------------------------------------------------------------------------

// Bounds of the relative error in the 2-norm: with products in fp32, and in bf16, whose rounding of
// every Act alone is 1.7e-3.
inline constexpr double kFp32 = 1e-5;
inline constexpr double kBf16 = 1e-2;

// What a test says of a result: `bf16` is its bound on a device in bf16, kFp32 where nothing of
// that enters it, or one of its own, with its reason.
struct Expected {
  const char* name;
  Matrix value;
  double bf16 = kBf16;
};

// Runs `body`, which returns the results in the order of `expected`, on 1, 2, 3 and 5 threads, or
// twice on a GPU: results must be near what is expected and the same, bit by bit, every time.
void assert_results(const std::string& test_case, const std::vector<Expected>& expected,
                    const std::function<std::vector<Matrix>(TestDevice&)>& body);

}  // namespace gf_test
