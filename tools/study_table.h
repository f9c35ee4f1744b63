#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace tools {

struct StudyRow {
  std::string name;
  std::string state;
  std::string epoch;
  std::string validation;
  std::string test;
  std::string time;
  std::string left;
  bool under_way = false;
};

// The table of a study while it goes: on a terminal redrawn in place, elsewhere a line for every
// change and, now and then, for those under way.
class StudyTable {
 public:
  StudyTable();

  bool due() const;  // whether it is time for another show()
  void show(const std::vector<StudyRow>& rows, const std::string& summary);
  void finish(const std::vector<StudyRow>& rows, const std::string& summary);

 private:
  using Clock = std::chrono::steady_clock;

  void draw(std::vector<std::string> lines);
  void print_changes(const std::vector<StudyRow>& rows, const std::string& summary);

  bool terminal_;
  size_t drawn_ = 0;  // lines that the cursor stands below
  std::map<std::string, std::string> states_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_show_ = start_;
  Clock::time_point last_summary_ = start_;
};

}  // namespace tools
