#include "json_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "tool.h"

namespace tools {
namespace {

[[noreturn]] void fail(const std::string& what, const std::filesystem::path& path) {
  throw Failure(what + " " + path.string() + ": " + std::strerror(errno));
}

// A file descriptor that is closed in the end, whatever happens.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags) : fd_(open(path.c_str(), flags, 0666)) {
    if (fd_ < 0) fail("cannot write", path);
  }
  ~Descriptor() { close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool write_all(const std::string& text) const {
    for (size_t done = 0; done < text.size();) {
      const ssize_t written = write(fd_, text.data() + done, text.size() - done);
      if (written < 0 && errno != EINTR) return false;
      if (written > 0) done += static_cast<size_t>(written);
    }
    return true;
  }
  bool sync() const { return fsync(fd_) == 0; }

 private:
  int fd_;
};

}  // namespace

void replace_file(const std::filesystem::path& path, const std::string& text) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  bool written = false;
  {
    const Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
    written = file.write_all(text) && file.sync();
  }
  if (!written || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    unlink(temporary.c_str());
    errno = reason;
    fail("cannot write", path);
  }
  const auto parent = path.parent_path();
  const Descriptor directory(parent.empty() ? "." : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  directory.sync();  // some file systems cannot sync a directory: the rename stands all the same
}

void write_json(const std::filesystem::path& path, const Json& value) {
  replace_file(path, value.dump(2) + "\n");
}

Json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) fail("cannot read", path);
  try {
    return Json::parse(file);
  } catch (const Json::exception& error) {
    throw Failure(path.string() + " is damaged: " + error.what());
  }
}

}  // namespace tools
