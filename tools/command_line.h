#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// CLI11 is headers alone, seconds of compilation; command_line.cc alone includes it.
namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace tools {

// An option of a command line.
class Option {
 public:
  explicit Option(const CLI::Option* option) : option_(option) {}
  bool given() const;  // once the line is parsed

 private:
  const CLI::Option* option_;
};

// The command line of one tool: CLI11 with a help text of our own layout and errors that name the
// flag and what is expected of it. Options take texts; the parse_ functions below make values of
// them.
class CommandLine {
 public:
  // Examples stand at the end of the help text, one per line.
  CommandLine(const char* name, const char* summary, const std::vector<std::string>& examples);
  ~CommandLine();

  // Options added from here on stand under this heading.
  void group(const char* heading) { group_ = heading; }

  // An option with a value, the last one given counting; `standard` is shown as its default.
  Option option(const std::string& flag, const char* value_name, const std::string& help,
                std::string& value, const std::string& standard = "");
  Option option(const std::string& flag, const std::string& help, bool& value);
  // One that may also be given without its value.
  Option option_or_flag(const std::string& flag, const char* value_name, const std::string& help,
                        std::string& value);

  // What stands without a flag.
  void positional(const char* value_name, const std::string& help,
                  std::vector<std::string>& values);

  // False when --help or --version was asked for and has been answered.
  bool parse(int argc, char** argv);

 private:
  [[noreturn]] void explain_extra(const std::string& argument) const;

  CLI::Option* add(const std::string& flag, const char* value_name, const std::string& help,
                   std::string& value);

  std::unique_ptr<CLI::App> app_;
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
