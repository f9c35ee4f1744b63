#include "study_table.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "format.h"

namespace tools {
namespace {

constexpr std::chrono::milliseconds kPeriod{250};
constexpr std::chrono::seconds kSummaryPeriod{30};

struct Size {
  size_t columns = 80;
  size_t lines = 24;
};

Size terminal_size() {
  winsize size = {};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? Size{size.ws_col, size.ws_row} : Size{};
}

std::string text_of(const StudyRow& row, size_t name_width) {
  return format("%-*s  %-12s %6s %11s %9s %8s %8s", static_cast<int>(name_width), row.name.c_str(),
                row.state.c_str(), row.epoch.c_str(), row.validation.c_str(), row.test.c_str(),
                row.time.c_str(), row.left.c_str());
}

std::vector<std::string> lines_of(const std::vector<StudyRow>& rows) {
  size_t width = 3;
  for (const StudyRow& row : rows) width = std::max(width, row.name.size());
  std::vector<std::string> lines = {
      text_of({"run", "state", "epoch", "validation", "test", "time", "left"}, width)};
  for (const StudyRow& row : rows) lines.push_back(text_of(row, width));
  return lines;
}

}  // namespace

StudyTable::StudyTable() : terminal_(isatty(STDOUT_FILENO) != 0) {}

bool StudyTable::due() const {
  return Clock::now() - last_show_ >= kPeriod;
}

void StudyTable::show(const std::vector<StudyRow>& rows, const std::string& summary) {
  last_show_ = Clock::now();
  if (!terminal_) return print_changes(rows, summary);
  std::vector<std::string> lines = lines_of(rows);
  if (lines.size() + 2 > terminal_size().lines) {  // a smaller window shows those under way
    std::vector<StudyRow> shown;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(shown),
                 [](const StudyRow& row) { return row.under_way; });
    lines = lines_of(shown);
  }
  lines.push_back(summary);
  draw(std::move(lines));
}

void StudyTable::finish(const std::vector<StudyRow>& rows, const std::string& summary) {
  if (!terminal_) print_changes(rows, summary);
  if (terminal_ && drawn_ > 0) std::printf("\x1b[%zuA\x1b[J", drawn_);
  drawn_ = 0;
  std::string text = terminal_ ? "" : "\n";
  for (const std::string& line : lines_of(rows)) text += line + "\n";
  std::printf("%s%s\n", text.c_str(), summary.c_str());
  std::fflush(stdout);
}

void StudyTable::draw(std::vector<std::string> lines) {
  const size_t width = terminal_size().columns - 1;
  if (drawn_ > 0) std::printf("\x1b[%zuA", drawn_);
  for (const std::string& line : lines) std::printf("%s\x1b[K\n", line.substr(0, width).c_str());
  std::fputs("\x1b[J", stdout);
  std::fflush(stdout);
  drawn_ = lines.size();
}

void StudyTable::print_changes(const std::vector<StudyRow>& rows, const std::string& summary) {
  const auto now = Clock::now();
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const bool all = now - last_summary_ >= kSummaryPeriod;
  for (const StudyRow& row : rows) {
    std::string& known = states_.try_emplace(row.name, "waiting").first->second;
    if (known == row.state && !(all && row.under_way)) continue;
    known = row.state;
    std::string text = format("%8s  %s: %s", format_duration(elapsed).c_str(), row.name.c_str(),
                              row.state.c_str());
    if (!row.epoch.empty()) text += ", epoch " + row.epoch;
    if (!row.validation.empty()) text += ", validation " + row.validation;
    if (!row.test.empty()) text += ", test " + row.test;
    std::printf("%s\n", text.c_str());
  }
  if (all) {
    std::printf("%8s  %s\n", format_duration(elapsed).c_str(), summary.c_str());
    last_summary_ = now;
  }
  std::fflush(stdout);
}

}  // namespace tools
