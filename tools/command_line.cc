#include "command_line.h"

#include <grassflow.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

#include "tool.h"

namespace tools {
namespace {

constexpr size_t kIndent = 30;
constexpr size_t kWidth = 80;
constexpr const char* kLastGroup = "Other";

// Two columns, the second wrapped at blanks.
class HelpLayout : public CLI::Formatter {
 public:
  // Groups stand in the order they were made, but for the one of --help, which comes last.
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    std::vector<std::string> groups = app->get_groups();
    std::rotate(groups.begin(), std::find(groups.begin(), groups.end(), kLastGroup) + 1,
                groups.end());
    std::string text = app->get_description() + "\n\nUsage: " + app->get_name() + " [options]";
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_positional()) text += " " + option->get_name(true) + " ...";
    }
    text += "\n";
    for (const std::string& group : groups) {
      const auto options =
          app->get_options([&](const CLI::Option* option) { return option->get_group() == group; });
      if (!options.empty()) text += make_group(group, false, options);
    }
    return text + "\n" + app->get_footer() + "\n";
  }

  std::string make_option(const CLI::Option* option, bool) const override {
    std::string text = option->get_name(false, true);
    text = "  " + (text == "-h,--help" ? "-h, --help" : text);
    const std::string value = option->get_type_name();
    if (!value.empty()) text += " " + value;
    std::string help = option->get_description();
    const std::string standard = option->get_default_str();
    if (!standard.empty()) help += " [" + standard + "]";
    return pad(text) + wrap(help) + "\n";
  }

 private:
  static std::string pad(const std::string& text) {
    return text.size() + 2 > kIndent ? text + "\n" + std::string(kIndent, ' ')
                                     : text + std::string(kIndent - text.size(), ' ');
  }

  static std::string wrap(const std::string& text) {
    std::string wrapped;
    size_t column = kIndent;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find(' ', begin), text.size());
      if (column > kIndent && column + 1 + end - begin > kWidth) {
        wrapped += "\n" + std::string(kIndent, ' ');
        column = kIndent;
      } else if (column > kIndent) {
        wrapped += ' ';
        ++column;
      }
      wrapped += text.substr(begin, end - begin);
      column += end - begin;
      begin = end + 1;
    }
    return wrapped;
  }
};

// Number of insertions, deletions and replacements between two words.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

[[noreturn]] void reject(const std::string& flag, const std::string& expected,
                         const std::string& found) {
  throw UsageError(flag + ": expected " + expected + ", not '" + found + "'");
}

template <class Number>
bool parse_whole(const std::string& text, Number& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && !text.empty();
}

}  // namespace

bool Option::given() const {
  return option_->count() > 0;
}

CommandLine::CommandLine(const char* name, const char* summary,
                         const std::vector<std::string>& examples)
    : app_(std::make_unique<CLI::App>(summary, name)) {
  app_->formatter(std::make_shared<HelpLayout>());
  app_->get_help_ptr()->description("print this help")->group(kLastGroup);
  app_->set_version_flag("--version", std::string(name) + " " + gf_version_string())
      ->description("print the version")
      ->group(kLastGroup);
  std::string footer = examples.size() == 1 ? "Example:" : "Examples:";
  for (const std::string& example : examples) footer += "\n  " + example;
  app_->footer(footer);
}

CommandLine::~CommandLine() = default;

Option CommandLine::option(const std::string& flag, const char* value_name, const std::string& help,
                           std::string& value, const std::string& standard) {
  return Option(add(flag, value_name, help, value)->default_str(standard)->take_last());
}

Option CommandLine::option(const std::string& flag, const std::string& help, bool& value) {
  return Option(app_->add_flag(flag, value, help)->group(group_));
}

Option CommandLine::option_or_flag(const std::string& flag, const char* value_name,
                                   const std::string& help, std::string& value) {
  return Option(add(flag, value_name, help, value)->take_last()->expected(0, 1));
}

CLI::Option* CommandLine::add(const std::string& flag, const char* value_name,
                              const std::string& help, std::string& value) {
  return app_->add_option(flag, value, help)->type_name(value_name)->group(group_);
}

void CommandLine::positional(const char* value_name, const std::string& help,
                             std::vector<std::string>& values) {
  app_->add_option(value_name, values, help)->type_name("...")->group("Arguments");
}

bool CommandLine::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
    return true;
  } catch (const CLI::CallForHelp&) {
    std::fputs(app_->help().c_str(), stdout);
    return false;
  } catch (const CLI::CallForVersion& version) {
    std::printf("%s\n", version.what());
    return false;
  } catch (const CLI::ExtrasError&) {
    explain_extra(app_->remaining().front());
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string text = error.what();
    throw UsageError(text.substr(0, text.find(':')) + ": expected a value after it");
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
}

void CommandLine::explain_extra(const std::string& argument) const {
  if (argument.rfind("-", 0) != 0) throw UsageError("unexpected argument '" + argument + "'");
  const std::string flag = argument.substr(0, argument.find('='));
  std::string nearest;
  size_t distance = std::max<size_t>(flag.size() / 3, 1) + 1;
  for (const CLI::Option* option : app_->get_options()) {
    const std::string name = "--" + option->get_single_name();
    if (edit_distance(flag, name) < distance) {
      distance = edit_distance(flag, name);
      nearest = name;
    }
  }
  throw UsageError("unknown option " + flag +
                   (nearest.empty() ? "" : " (did you mean " + nearest + "?)"));
}

int64_t parse_integer(const std::string& flag, const std::string& text, int64_t least,
                      int64_t greatest) {
  int64_t value = 0;
  if (!parse_whole(text, value) || value < least || value > greatest) {
    const bool open = greatest >= std::numeric_limits<int32_t>::max();
    reject(flag,
           open
               ? "a whole number, at least " + std::to_string(least)
               : "a whole number from " + std::to_string(least) + " to " + std::to_string(greatest),
           text);
  }
  return value;
}

double parse_number(const std::string& flag, const std::string& text, double least, double greatest,
                    const char* expected) {
  double value = 0;
  if (!parse_whole(text, value) || !(value >= least && value <= greatest)) {
    reject(flag, expected, text);
  }
  return value;
}

const std::string& parse_choice(const std::string& flag, const std::string& text,
                                const std::vector<std::string>& choices) {
  for (const std::string& choice : choices) {
    if (choice == text) return choice;
  }
  reject(flag, one_of(choices), text);
}

std::vector<int32_t> parse_integers(const std::string& flag, const std::string& text, int32_t least,
                                    size_t longest) {
  std::vector<int32_t> values;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int32_t value = 0;
    if (!parse_whole(text.substr(begin, end - begin), value) || value < least) {
      reject(flag,
             "whole numbers, each at least " + std::to_string(least) + ", with commas between them",
             text);
    }
    values.push_back(value);
    begin = end + 1;
  }
  if (values.size() > longest)
    reject(flag, "at most " + std::to_string(longest) + " numbers", text);
  return values;
}

std::string one_of(const std::vector<std::string>& choices) {
  std::string text;
  for (size_t i = 0; i < choices.size(); ++i) {
    text += (i == 0 ? "" : i + 1 < choices.size() ? ", " : " or ") + choices[i];
  }
  return text;
}

void DeviceFlags::add_to(CommandLine& line) {
  line.option("--device", "NAME", "auto (a GPU if there is one), cpu, cuda or cuda:N", device,
              device);
  line.option("--threads", "N", "CPU threads; 0: one per core", threads, threads);
  line.option("--attention", "NAME", "kernels of a GPU in bf16: own or cudnn", attention,
              attention);
}

int32_t DeviceFlags::thread_count() const {
  return static_cast<int32_t>(parse_integer("--threads", threads, 0, 4096));
}

}  // namespace tools
