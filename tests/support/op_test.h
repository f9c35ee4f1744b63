#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "reference/matrix.h"
#include "support/device_under_test.h"

namespace gf_test {

using reference::Matrix;

// Operands of one test on a device. What is uploaded with padding has NaN between its rows, and
// results begin as NaN, so that reading or leaving out the wrong element shows.
class TestDevice {
 public:
  explicit TestDevice(int threads) : device_(make_test_device(threads)) {}
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
    const size_t bytes = values.size() * sizeof(T);
    buffers_.push_back(device_->allocate_shared(bytes, "a test's results"));
    device_->upload(buffers_.back(), values.data(), bytes);
    return static_cast<T*>(buffers_.back());
  }
  const gf::StepState* state(const gf::StepState& values) { return array<gf::StepState>({values}); }

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

struct Expected {
  const char* name;
  Matrix value;
};

// Runs `body`, which returns the results in the order of `expected`, on 1, 2, 3 and 5 threads:
// results must be near what is expected (relative error in the 2-norm) and the same, bit by bit,
// every time.
void assert_results(const std::string& test_case, const std::vector<Expected>& expected,
                    const std::function<std::vector<Matrix>(TestDevice&)>& body);

}  // namespace gf_test
