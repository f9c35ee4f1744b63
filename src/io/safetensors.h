#pragma once

// The safetensors format: 8 bytes little-endian with the length of a JSON header; the header, which
// maps every tensor's name to its element type, shape and place in the data, and `__metadata__` to
// texts; then the data, without gaps.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace gf {

using Metadata = std::map<std::string, std::string>;

// A tensor of a file. The bytes are the file's: little-endian, of any alignment.
struct TensorView {
  std::string name;
  std::string dtype;           // as the format spells it: "F32", "BF16", "I64", ...
  std::vector<int64_t> shape;  // outermost first; empty: a scalar
  std::span<const std::byte> bytes;

  int64_t size() const;  // elements
};

// A file whose header has been checked in full: every view lies within it.
class SafetensorsFile {
 public:
  // Throws GF_ERROR_NOT_FOUND or GF_ERROR_IO; GF_ERROR_FORMAT for any damage, naming the path, the
  // tensor and what was expected.
  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const Metadata& metadata() const { return metadata_; }
  const std::vector<TensorView>& tensors() const { return tensors_; }  // in the order of their data
  const TensorView* find(std::string_view name) const;                 // null when there is none

  // The values of one of tensors() as floats, rounded or widened from F64, F32, F16 or BF16. Throws
  // GF_ERROR_MISMATCH for another element type or another number of values.
  void read_floats(const TensorView& tensor, std::span<float> values) const;

 private:
  MappedFile file_;
  Metadata metadata_;
  std::vector<TensorView> tensors_;
};

// A tensor to be written. Its data comes from a callback, so that weights on a device need no
// second copy in host memory.
struct TensorSource {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::function<void(const Sink&)> write;  // hands over exactly the tensor's bytes
};

// Replaces the file at path, or leaves the earlier one whole on any failure; see replace_file().
// Equal arguments give equal bytes.
void write_safetensors(const std::string& path, const Metadata& metadata,
                       std::span<const TensorSource> tensors);

}  // namespace gf
