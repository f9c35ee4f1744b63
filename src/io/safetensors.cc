#include "io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"

namespace gf {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kLargestHeader = 100'000'000;  // the limit of the format's own library
// {tensor: {field: [...]}}
constexpr int kDeepestObject = 1;
constexpr int kDeepestArray = 2;
constexpr char kMetadataKey[] = "__metadata__";

struct ElementType {
  const char* dtype;
  uint64_t bytes;
};

constexpr ElementType kElementTypes[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
    {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
    {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8},
};

// Names in a damaged file may be of any length.
std::string tensor_at(const std::string& path, const std::string& name) {
  return format("%s: tensor \"%.96s\"", path.c_str(), name.c_str());
}

uint64_t byte_size(const std::string& dtype, const std::vector<int64_t>& shape,
                   const std::string& where) {
  const auto type = std::find_if(std::begin(kElementTypes), std::end(kElementTypes),
                                 [&](const ElementType& t) { return dtype == t.dtype; });
  if (type == std::end(kElementTypes)) {
    throw_error(GF_ERROR_FORMAT, "%s has dtype \"%.32s\", expected one such as F32", where.c_str(),
                dtype.c_str());
  }
  // Held below 2^63 so that sizes also fit an int64_t.
  int64_t bytes = static_cast<int64_t>(type->bytes);
  for (const int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) {
      throw_error(GF_ERROR_FORMAT, "%s has a shape of more than 2^63 bytes", where.c_str());
    }
  }
  return static_cast<uint64_t>(bytes);
}

// ---- Header ------------------------------------------------------------------------------------

std::string_view header_text(const MappedFile& file) {
  const std::string_view bytes = file.bytes();
  if (bytes.size() < kLengthBytes) {
    throw_error(GF_ERROR_FORMAT, "%s has %zu bytes, expected the 8 of a header's length first",
                file.path().c_str(), bytes.size());
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  const uint64_t most = std::min<uint64_t>(kLargestHeader, bytes.size() - kLengthBytes);
  if (length > most) {
    throw_error(GF_ERROR_FORMAT, "%s: header of %llu bytes, expected at most %llu",
                file.path().c_str(), static_cast<unsigned long long>(length),
                static_cast<unsigned long long>(most));
  }
  return bytes.substr(kLengthBytes, length);
}

// Refuses what the JSON parser would let pass: keys that stand twice, and any depth of nesting.
class HeaderRules {
 public:
  explicit HeaderRules(const std::string& path) : path_(path) {}

  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    const bool object = event == json::parse_event_t::object_start;
    const bool array = event == json::parse_event_t::array_start;
    if ((object && depth > kDeepestObject) || (array && depth > kDeepestArray)) {
      throw_error(GF_ERROR_FORMAT, "%s: header is nested deeper than expected", path_.c_str());
    }
    if (object) inner_.clear();
    if (event == json::parse_event_t::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!(depth == 1 ? outer_ : inner_).insert(name).second) {
        throw_error(GF_ERROR_FORMAT, "%s: header has \"%.96s\" twice", path_.c_str(), name.c_str());
      }
    }
    return true;
  }

 private:
  const std::string& path_;
  std::set<std::string> outer_;  // names of tensors
  std::set<std::string> inner_;  // fields of one
};

json parse_header(std::string_view text, const std::string& path) {
  json header;
  try {
    HeaderRules rules(path);
    header = json::parse(text.begin(), text.end(), std::ref(rules));
  } catch (const json::exception& error) {
    throw_error(GF_ERROR_FORMAT, "%s: header is not JSON: %.200s", path.c_str(), error.what());
  }
  if (!header.is_object()) {
    throw_error(GF_ERROR_FORMAT, "%s: header is no JSON object", path.c_str());
  }
  return header;
}

Metadata read_metadata(const json& texts, const std::string& path) {
  Metadata metadata;
  if (!texts.is_object()) {
    throw_error(GF_ERROR_FORMAT, "%s: __metadata__ is no JSON object", path.c_str());
  }
  for (const auto& [key, value] : texts.items()) {
    if (!value.is_string()) {
      throw_error(GF_ERROR_FORMAT, "%s: __metadata__ \"%.96s\" is no string", path.c_str(),
                  key.c_str());
    }
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

// ---- Tensors -----------------------------------------------------------------------------------

std::string read_dtype(const json& fields, const std::string& where) {
  const auto field = fields.find("dtype");
  if (field == fields.end() || !field->is_string()) {
    throw_error(GF_ERROR_FORMAT, "%s: dtype is missing or no string", where.c_str());
  }
  return field->get<std::string>();
}

std::vector<int64_t> read_sizes(const json& fields, const char* key, const std::string& where) {
  const auto field = fields.find(key);
  if (field == fields.end() || !field->is_array()) {
    throw_error(GF_ERROR_FORMAT, "%s: %s is missing or no list", where.c_str(), key);
  }
  std::vector<int64_t> sizes;
  for (const json& size : *field) {
    if (!size.is_number_unsigned() ||
        size.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      throw_error(GF_ERROR_FORMAT, "%s: %s holds something else than sizes", where.c_str(), key);
    }
    sizes.push_back(size.get<int64_t>());
  }
  return sizes;
}

TensorView read_tensor(const std::string& name, const json& fields, std::span<const std::byte> data,
                       const std::string& path) {
  const std::string where = tensor_at(path, name);
  if (!fields.is_object()) throw_error(GF_ERROR_FORMAT, "%s is no JSON object", where.c_str());
  TensorView tensor = {name, read_dtype(fields, where), read_sizes(fields, "shape", where), {}};
  const uint64_t bytes = byte_size(tensor.dtype, tensor.shape, where);

  const std::vector<int64_t> offsets = read_sizes(fields, "data_offsets", where);
  if (offsets.size() != 2) {
    throw_error(GF_ERROR_FORMAT, "%s has %zu data_offsets, expected 2", where.c_str(),
                offsets.size());
  }
  const auto begin = static_cast<uint64_t>(offsets[0]), end = static_cast<uint64_t>(offsets[1]);
  if (begin > end || end > data.size()) {
    throw_error(GF_ERROR_FORMAT, "%s lies at bytes %llu to %llu, expected within %zu",
                where.c_str(), static_cast<unsigned long long>(begin),
                static_cast<unsigned long long>(end), data.size());
  }
  if (end - begin != bytes) {
    throw_error(GF_ERROR_FORMAT, "%s has %llu bytes of data, expected %llu by shape and dtype",
                where.c_str(), static_cast<unsigned long long>(end - begin),
                static_cast<unsigned long long>(bytes));
  }
  tensor.bytes = data.subspan(begin, bytes);
  return tensor;
}

// The tensors, in the order of their data, must fill it without overlap or gap.
void check_layout(const std::vector<TensorView>& tensors, std::span<const std::byte> data,
                  const std::string& path) {
  const std::byte* expected = data.data();
  for (const TensorView& tensor : tensors) {
    if (tensor.bytes.data() != expected) {
      throw_error(GF_ERROR_FORMAT, "%s begins at byte %td, expected %td where the one before ends",
                  tensor_at(path, tensor.name).c_str(), tensor.bytes.data() - data.data(),
                  expected - data.data());
    }
    expected += tensor.bytes.size();
  }
  if (expected != data.data() + data.size()) {
    throw_error(GF_ERROR_FORMAT, "%s: %zu bytes of data, expected %td by its tensors", path.c_str(),
                data.size(), expected - data.data());
  }
}

// ---- Values ------------------------------------------------------------------------------------

float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float magnitude = std::ldexp(static_cast<float>(fraction), -24);  // subnormal
  if (exponent == 31) {
    magnitude = fraction == 0 ? std::numeric_limits<float>::infinity()
                              : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent > 0) {
    magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  }
  return bits >> 15 ? -magnitude : magnitude;
}

float from_bfloat(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

template <class Stored, class Convert>
void convert(std::span<const std::byte> bytes, std::span<float> values, const Convert& to_float) {
  for (size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof stored, sizeof stored);
    values[i] = to_float(stored);
  }
}

}  // namespace

// ---- Reading -----------------------------------------------------------------------------------

int64_t TensorView::size() const {
  int64_t product = 1;
  for (const int64_t extent : shape) product *= extent;
  return product;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  const std::string_view text = header_text(file_);
  const json header = parse_header(text, path);
  const auto data = std::as_bytes(std::span(file_.bytes())).subspan(kLengthBytes + text.size());
  for (const auto& [name, fields] : header.items()) {
    if (name == kMetadataKey) {
      metadata_ = read_metadata(fields, path);
    } else {
      tensors_.push_back(read_tensor(name, fields, data, path));
    }
  }
  // Of those at one place all but the last are empty.
  std::stable_sort(tensors_.begin(), tensors_.end(), [](const TensorView& a, const TensorView& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  check_layout(tensors_, data, path);
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto tensor = std::find_if(tensors_.begin(), tensors_.end(),
                                   [&](const TensorView& t) { return t.name == name; });
  return tensor == tensors_.end() ? nullptr : &*tensor;
}

void SafetensorsFile::read_floats(const TensorView& tensor, std::span<float> values) const {
  if (static_cast<size_t>(tensor.size()) != values.size()) {
    throw_error(GF_ERROR_MISMATCH, "%s has %lld values, expected %zu",
                tensor_at(path(), tensor.name).c_str(), static_cast<long long>(tensor.size()),
                values.size());
  }
  if (tensor.dtype == "F32") {
    convert<float>(tensor.bytes, values, [](float value) { return value; });
  } else if (tensor.dtype == "F64") {
    convert<double>(tensor.bytes, values, [](double value) { return static_cast<float>(value); });
  } else if (tensor.dtype == "F16") {
    convert<uint16_t>(tensor.bytes, values, from_half);
  } else if (tensor.dtype == "BF16") {
    convert<uint16_t>(tensor.bytes, values, from_bfloat);
  } else {
    throw_error(GF_ERROR_MISMATCH, "%s has dtype %s, expected F32, F64, F16 or BF16",
                tensor_at(path(), tensor.name).c_str(), tensor.dtype.c_str());
  }
}

// ---- Writing -----------------------------------------------------------------------------------

namespace {

json describe(const std::string& path, const Metadata& metadata,
              std::span<const TensorSource> tensors) {
  json header = json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  uint64_t offset = 0;
  for (const TensorSource& tensor : tensors) {
    const std::string where = tensor_at(path, tensor.name);
    if (tensor.name == kMetadataKey || header.contains(tensor.name)) {
      throw_error(GF_ERROR_INTERNAL, "%s: its name is taken", where.c_str());
    }
    const uint64_t end = offset + byte_size(tensor.dtype, tensor.shape, where);
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  return header;
}

// Padded with blanks so that the data behind it is aligned in a mapped file.
std::string padded_text(const json& header, const std::string& path) {
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception& error) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "%s: a name or metadata is not UTF-8: %.200s",
                path.c_str(), error.what());
  }
  text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  return text;
}

void write_tensor(const TensorSource& tensor, const std::string& path, const Sink& sink) {
  uint64_t written = 0;
  tensor.write([&](const void* bytes, size_t count) {
    written += count;
    sink(bytes, count);
  });
  const std::string where = tensor_at(path, tensor.name);
  const uint64_t expected = byte_size(tensor.dtype, tensor.shape, where);
  if (written != expected) {
    throw_error(GF_ERROR_INTERNAL, "%s: wrote %llu bytes, expected %llu", where.c_str(),
                static_cast<unsigned long long>(written),
                static_cast<unsigned long long>(expected));
  }
}

}  // namespace

void write_safetensors(const std::string& path, const Metadata& metadata,
                       std::span<const TensorSource> tensors) {
  const std::string header = padded_text(describe(path, metadata, tensors), path);
  const uint64_t length = header.size();
  replace_file(path, [&](const Sink& sink) {
    sink(&length, sizeof length);
    sink(header.data(), header.size());
    for (const TensorSource& tensor : tensors) write_tensor(tensor, path, sink);
  });
}

}  // namespace gf
