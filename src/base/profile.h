#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gf {

// Time by the name of what took it.
struct ProfileEntry {
  std::string name;
  int64_t calls = 0;
  double seconds = 0;
};

// The largest first.
std::vector<ProfileEntry> by_time(const std::map<std::string, ProfileEntry>& entries);

}  // namespace gf
