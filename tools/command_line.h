#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tools {

// The command line of one tool: CLI11 with a help text of our own layout and errors that name the
// flag and what is expected of it. Options take texts; the parse_ functions below make values of
// them.
class CommandLine {
 public:
  // Examples stand at the end of the help text, one per line.
  CommandLine(const char* name, const char* summary, const std::vector<std::string>& examples);

  // Options added from here on stand under this heading.
  void group(const char* heading) { group_ = heading; }

  // An option with a value, the last one given counting; `standard` is shown as its default.
  CLI::Option* option(const std::string& flag, const char* value_name, const std::string& help,
                      std::string& value, const std::string& standard = "");
  CLI::Option* option(const std::string& flag, const std::string& help, bool& value);

  // What stands without a flag.
  void positional(const char* value_name, const std::string& help,
                  std::vector<std::string>& values);

  // False when --help or --version was asked for and has been answered.
  bool parse(int argc, char** argv);

 private:
  [[noreturn]] void explain_extra(const std::string& argument) const;

  CLI::App app_;
  const char* group_ = "Options";
};

// Each throws UsageError naming the flag, what was expected and what was found.
int64_t parse_integer(const std::string& flag, const std::string& text, int64_t least,
                      int64_t greatest);
double parse_number(const std::string& flag, const std::string& text, double least, double greatest,
                    const char* expected);
const std::string& parse_choice(const std::string& flag, const std::string& text,
                                const std::vector<std::string>& choices);
std::vector<int32_t> parse_integers(const std::string& flag, const std::string& text, int32_t least,
                                    size_t longest);  // "1,2,4"

// "a, b or c"
std::string one_of(const std::vector<std::string>& choices);

// What the tools have in common.
struct DeviceFlags {
  std::string device = "auto";
  std::string threads = "0";
  std::string attention = "own";

  void add_to(CommandLine& line);
  int32_t thread_count() const;
};

}  // namespace tools
