#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace gf {

// The whole of a file, mapped read-only. Throws GF_ERROR_NOT_FOUND or GF_ERROR_IO naming the path.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Takes bytes in order; what replace_file hands to its writer.
using Sink = std::function<void(const void* bytes, size_t count)>;

// Replaces the file at path in one step: `write` fills a temporary file beside it, which is synced,
// renamed over path, and the directory synced. On any failure the temporary file is removed, the
// earlier file stays as it was, and GF_ERROR_IO names the path and the system's reason.
void replace_file(const std::string& path, const std::function<void(const Sink&)>& write);

}  // namespace gf
