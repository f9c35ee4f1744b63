#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "model/config.h"
#include "ops.h"

namespace gf {

enum class Init {
  kZero,
  kOne,
  kMean,    // one over the number of columns
  kNormal,  // N(0, 0.02)
};

struct ParamSpec {
  std::string name;  // as in the state_dict of the PyTorch model
  int32_t dims;      // 1: a vector, rows = 1
  int64_t rows;
  int64_t cols;
  Init init;
  int64_t offset;  // of the first scalar in the flat arrays

  int64_t size() const { return rows * cols; }
};

// Every parameter of a configuration, once: allocation, initialisation, counting, gradients, the
// optimizer and checkpoints all read this table.
class ParamTable {
 public:
  explicit ParamTable(const ModelConfig& config);

  const std::vector<ParamSpec>& specs() const { return specs_; }
  const ParamSpec* find(std::string_view name) const;  // null when there is none
  const ParamSpec& operator[](std::string_view name) const;
  int64_t parameters() const;                       // scalars, without padding
  int64_t flat_size() const { return flat_size_; }  // scalars with padding

  // The view of one parameter in flat arrays of flat_size(); those absent from `flat` stay empty.
  Param view(const Parameters& flat, std::string_view name) const;

 private:
  void add(std::string name, int32_t dims, int64_t rows, int64_t cols, Init init);
  void add_linear(const std::string& name, int64_t out, int64_t in);
  void add_norm(const std::string& name, int64_t dim);

  std::vector<ParamSpec> specs_;
  int64_t flat_size_ = 0;
};

// Flat arrays for values and, where products are not in fp32, their copy; the rest stays empty.
Parameters lay_out_parameters(Arena& arena, const ParamTable& table, int32_t product_bytes);

// Fresh values of one parameter; a function of (seed, its offset) alone, the same on every device.
void initialise(const ParamSpec& spec, uint64_t seed, float* values);

}  // namespace gf
