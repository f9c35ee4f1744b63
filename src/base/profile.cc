#include "base/profile.h"

#include <algorithm>

namespace gf {

std::vector<ProfileEntry> by_time(const std::map<std::string, ProfileEntry>& entries) {
  std::vector<ProfileEntry> list;
  list.reserve(entries.size());
  for (const auto& [name, entry] : entries) list.push_back(entry);
  std::stable_sort(list.begin(), list.end(),
                   [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return list;
}

}  // namespace gf
