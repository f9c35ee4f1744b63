#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace gf {
namespace {

// A file descriptor closed at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  bool close() {
    const int fd = fd_;
    fd_ = -1;
    return ::close(fd) == 0;
  }

 private:
  int fd_;
};

[[noreturn]] void fail_errno(const std::string& path, const char* action) {
  const int code = errno;
  throw_error(code == ENOENT ? GF_ERROR_NOT_FOUND : GF_ERROR_IO, "%s: cannot %s: %s", path.c_str(),
              action, std::strerror(code));
}

void write_all(int fd, const std::string& path, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t written = ::write(fd, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_errno(path, "write");
    bytes += written;
    count -= static_cast<size_t>(written);
  }
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void write_and_sync(const std::string& temporary, const std::string& path,
                    const std::function<void(const Sink&)>& write) {
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) fail_errno(path, "create a temporary file beside it");
  // Gathers small writes: a checkpoint is thousands of rows.
  std::vector<char> buffer;
  buffer.reserve(size_t{1} << 20);
  const auto flush = [&] {
    write_all(file.get(), path, buffer.data(), buffer.size());
    buffer.clear();
  };
  write([&](const void* bytes, size_t count) {
    if (buffer.size() + count > buffer.capacity()) flush();
    if (count > buffer.capacity()) {
      write_all(file.get(), path, static_cast<const char*>(bytes), count);
    } else {
      buffer.insert(buffer.end(), static_cast<const char*>(bytes),
                    static_cast<const char*>(bytes) + count);
    }
  });
  flush();
  if (::fsync(file.get()) != 0) fail_errno(path, "sync");
  if (!file.close()) fail_errno(path, "close");
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail_errno(path, "open");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_errno(path, "stat");
  if (!S_ISREG(status.st_mode)) throw_error(GF_ERROR_IO, "%s: not a regular file", path.c_str());
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;  // mmap refuses an empty range
  data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data_ == MAP_FAILED) {
    data_ = nullptr;
    fail_errno(path, "map");
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void replace_file(const std::string& path, const std::function<void(const Sink&)>& write) {
  const std::string temporary = path + format(".tmp.%ld", static_cast<long>(::getpid()));
  try {
    write_and_sync(temporary, path, write);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_errno(path, "rename onto");
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  Descriptor directory(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) fail_errno(path, "open the directory of");
  // Some file systems refuse to sync a directory; the rename itself has succeeded.
  if (::fsync(directory.get()) != 0 && errno != EINVAL) fail_errno(path, "sync the directory of");
}

}  // namespace gf
