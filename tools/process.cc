#include "process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "tool.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

int exit_status(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int wait_for(pid_t id) {
  int status = 0;
  while (waitpid(id, &status, 0) < 0 && errno == EINTR) {
  }
  return exit_status(status);
}

// Between fork and exec only calls that are safe in a signal handler: the library may have threads.
[[noreturn]] void become(char* const* arguments) {
  execvp(arguments[0], arguments);
  static constexpr char kText[] = ": cannot be started\n";
  const bool said = write(STDERR_FILENO, arguments[0], std::strlen(arguments[0])) > 0 &&
                    write(STDERR_FILENO, kText, sizeof kText - 1) > 0;
  _exit(said ? kNotStarted : 1);
}

std::vector<char*> arguments_of(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  return arguments;
}

}  // namespace

Process::Process(const std::vector<std::string>& command, const fs::path& log) {
  const std::vector<char*> arguments = arguments_of(command);
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (output < 0) throw Failure("cannot write " + log.string() + ": " + std::strerror(errno));
  const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t parent = getpid();
  id_ = fork();
  if (id_ == 0) {
    setpgid(0, 0);
#if defined(__linux__)
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(kNotStarted);
#endif
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    become(arguments.data());
  }
  const int reason = errno;
  close(output);
  close(input);
  if (id_ < 0) throw Failure("cannot start " + command[0] + ": " + std::strerror(reason));
}

Process::~Process() {
  if (id_ <= 0) return;
  kill(id_, SIGTERM);
  wait_for(id_);
}

std::optional<int> Process::poll() {
  int status = 0;
  if (waitpid(id_, &status, WNOHANG) != id_) return std::nullopt;
  id_ = 0;
  return exit_status(status);
}

void Process::interrupt() const {
  if (id_ > 0) kill(id_, SIGINT);
}

Finished run_to_end(const std::vector<std::string>& command, const fs::path& directory) {
  const std::vector<char*> arguments = arguments_of(command);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Failure(std::string("pipe: ") + std::strerror(errno));
  const pid_t id = fork();
  if (id == 0) {
    dup2(ends[1], STDOUT_FILENO);
    if (chdir(directory.c_str()) != 0) _exit(1);
    become(arguments.data());
  }
  const int reason = errno;
  close(ends[1]);
  Finished finished = {};
  char part[4096];
  for (ssize_t size = 0; id > 0 && (size = read(ends[0], part, sizeof part)) != 0;) {
    if (size > 0) finished.output.append(part, static_cast<size_t>(size));
    if (size < 0 && errno != EINTR) break;
  }
  close(ends[0]);
  if (id < 0) throw Failure("cannot start " + command[0] + ": " + std::strerror(reason));
  finished.status = wait_for(id);
  return finished;
}

std::string tool_path(const std::string& name) {
  std::error_code error;
  const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / name;
  return fs::exists(beside, error) ? beside.string() : name;
}

}  // namespace tools
