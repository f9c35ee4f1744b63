#include "model/params.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "math.h"

namespace gf {
namespace {

// In floats. Every tensor begins where the widest vector loads want it, at either precision.
constexpr int64_t kAlignment = Arena::kAlignment / 2;
// Rows of the token embedding that follow the vocabulary, so that a product over it may run to the
// next multiple: matrix units run at a quarter of their speed at 30,522 columns (multiple of 2) of
// what they reach at 30,528. The extra rows are padding like any other: zero, never shown.
constexpr int64_t kVocabMultiple = 128;

constexpr double kPi = 3.14159265358979323846;
constexpr float kInitDeviation = 0.02f;

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

ParamTable::ParamTable(const ModelConfig& config) {
  const int64_t D = config.dim();
  add("token_embedding.weight", 2, config.vocab_size(), D, Init::kNormal);
  flat_size_ = round_up(round_up(config.vocab_size(), kVocabMultiple) * D, kAlignment);
  add("position_embedding.weight", 2, config.max_seq_len(), D, Init::kNormal);
  for (int64_t layer = 0; layer < config.layers(); ++layer) {
    const std::string block = format("blocks.%lld.", static_cast<long long>(layer));
    add_norm(block + "ln1", D);
    add_norm(block + "ln2", D);
    add_linear(block + "ffn.0", config.ff(), D);
    add_linear(block + "ffn.3", D, config.ff());
    if (config.grassmann()) {
      add_linear(block + "grassmann.W_red", config.z_dim(), D);
      add_linear(block + "grassmann.W_plu", D, config.plucker_dim());
      add_linear(block + "grassmann.W_gate", D, 2 * D);
      add_norm(block + "grassmann.layer_norm", D);
      if (config.learns_windows()) {
        add(block + "grassmann.offset_weight", 2, config.grassmann_heads(),
            std::ssize(config.windows(layer)), Init::kMean);
      }
    } else {
      add_linear(block + "qkv_proj", 3 * D, D);
      add_linear(block + "out_proj", D, D);
    }
  }
  add_norm("ln_f", D);
  if (config.classes() > 0) add_linear("classifier", config.classes(), D);
}

const ParamSpec* ParamTable::find(std::string_view name) const {
  const auto spec = std::find_if(specs_.begin(), specs_.end(),
                                 [&](const ParamSpec& s) { return s.name == name; });
  return spec == specs_.end() ? nullptr : &*spec;
}

const ParamSpec& ParamTable::operator[](std::string_view name) const {
  const ParamSpec* spec = find(name);
  if (!spec) {
    throw_error(GF_ERROR_NOT_FOUND, "no parameter is named \"%.*s\"", static_cast<int>(name.size()),
                name.data());
  }
  return *spec;
}

int64_t ParamTable::parameters() const {
  int64_t sum = 0;
  for (const ParamSpec& spec : specs_) sum += spec.size();
  return sum;
}

Param ParamTable::view(const Parameters& flat, std::string_view name) const {
  const ParamSpec& spec = (*this)[name];
  const auto mat = [&](const Mat& whole) {
    return Mat{whole.data ? whole.data + spec.offset : nullptr, spec.rows, spec.cols, spec.cols};
  };
  Act act = flat.act;
  if (act.data) act.data += spec.offset * act.element;
  act.rows = spec.rows;
  act.cols = act.ld = spec.cols;
  return {mat(flat.value), act, mat(flat.grad)};
}

void ParamTable::add(std::string name, int32_t dims, int64_t rows, int64_t cols, Init init) {
  specs_.push_back({std::move(name), dims, rows, cols, init, flat_size_});
  flat_size_ += round_up(rows * cols, kAlignment);
}

void ParamTable::add_linear(const std::string& name, int64_t out, int64_t in) {
  add(name + ".weight", 2, out, in, Init::kNormal);
  add(name + ".bias", 1, 1, out, Init::kZero);
}

void ParamTable::add_norm(const std::string& name, int64_t dim) {
  add(name + ".weight", 1, 1, dim, Init::kOne);
  add(name + ".bias", 1, 1, dim, Init::kZero);
}

Parameters lay_out_parameters(Arena& arena, const ParamTable& table, int32_t product_bytes) {
  Parameters flat;
  flat.value = arena.mat(1, table.flat_size());
  if (product_bytes == sizeof(float)) {
    const Mat& v = flat.value;
    flat.act = {reinterpret_cast<std::byte*>(v.data), v.rows, v.cols, v.ld, product_bytes};
  } else {
    flat.act = arena.act(1, table.flat_size(), product_bytes);
  }
  return flat;
}

void initialise(const ParamSpec& spec, uint64_t seed, float* values) {
  if (spec.init != Init::kNormal) {
    std::fill(values, values + spec.size(),
              spec.init == Init::kZero  ? 0.0f
              : spec.init == Init::kOne ? 1.0f
                                        : 1.0f / static_cast<float>(spec.cols));
    return;
  }
  // Box & Muller, two of each four words of a block a pair. Offsets are multiples of four, so no
  // two tensors share a block.
  for (int64_t i = 0; i < spec.size(); i += 4) {
    const Bits4 bits =
        random_bits(seed, 0, kStreamInit, static_cast<uint64_t>(spec.offset + i) / 4);
    for (int64_t pair = 0; pair < 2; ++pair) {
      const double radius = std::sqrt(-2.0 * std::log(double{uniform(bits.v[2 * pair])}));
      const double angle = 2.0 * kPi * double{uniform(bits.v[2 * pair + 1])};
      const double normal[2] = {radius * std::cos(angle), radius * std::sin(angle)};
      for (int64_t k = 0; k < 2 && i + 2 * pair + k < spec.size(); ++k) {
        values[i + 2 * pair + k] = kInitDeviation * static_cast<float>(normal[k]);
      }
    }
  }
}

}  // namespace gf
