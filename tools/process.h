#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tools {

// A program that runs beside this one, in a process group of its own: Ctrl-C reaches this program,
// which decides what becomes of the others. Should this program die, they are told to end.
class Process {
 public:
  // What it prints goes to the end of the log. Throws Failure when it cannot be started.
  Process(const std::vector<std::string>& command, const std::filesystem::path& log);
  Process(Process&& other) noexcept : id_(other.id_) { other.id_ = 0; }
  Process& operator=(Process&&) = delete;
  ~Process();  // ends it and waits

  // Its exit status once it has ended: 128 and the signal's number if a signal ended it.
  std::optional<int> poll();

  void interrupt() const;  // as Ctrl-C would

 private:
  pid_t id_;
};

// The exit status and the standard output of a program that is run to its end.
struct Finished {
  int status;
  std::string output;
};
Finished run_to_end(const std::vector<std::string>& command,
                    const std::filesystem::path& directory = ".");
inline constexpr int kNotStarted = 127;  // exit status where there is no such program

// The path of another of these programs: beside this one, else its plain name, found by the shell's
// rule.
std::string tool_path(const std::string& name);

}  // namespace tools
