#include "data/length_groups.h"

#include <algorithm>
#include <limits>

namespace gf {
namespace {

// Sequences of one length.
struct Step {
  int64_t first;
  int64_t end;
  int32_t length;
};

std::vector<Step> steps_of(std::span<const int32_t> lengths) {
  std::vector<Step> steps;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    if (steps.empty() || steps.back().length != lengths[i]) steps.push_back({at, at, lengths[i]});
    steps.back().end = at + 1;
  }
  return steps;
}

}  // namespace

// By dynamic programming: the best division of the first j lengths into k groups ends with a group
// from some length i on, and before that is the best division of those into k - 1.
std::vector<LengthGroup> group_by_length(std::span<const int32_t> lengths) {
  const std::vector<Step> steps = steps_of(lengths);
  const size_t count = steps.size();
  const size_t most = std::min(count, static_cast<size_t>(kMostLengthGroups));
  const auto padded = [&](size_t i, size_t j) {
    return (steps[j - 1].end - steps[i].first) * steps[j - 1].length;
  };
  std::vector<int64_t> best(count + 1, std::numeric_limits<int64_t>::max()), longer = best;
  std::vector<std::vector<size_t>> begins(most, std::vector<size_t>(count + 1, 0));
  for (size_t j = 1; j <= count; ++j) best[j] = padded(0, j);
  for (size_t k = 1; k < most; ++k) {
    longer.assign(count + 1, std::numeric_limits<int64_t>::max());
    for (size_t j = k + 1; j <= count; ++j) {
      for (size_t i = k; i < j; ++i) {
        const int64_t total = best[i] + padded(i, j);
        if (total >= longer[j]) continue;
        longer[j] = total;
        begins[k][j] = i;
      }
    }
    best.swap(longer);
  }

  std::vector<LengthGroup> groups(most);
  size_t end = count;
  for (size_t k = most; k-- > 0;) {
    const size_t begin = begins[k][end];
    groups[k] = {steps[begin].first, steps[end - 1].end - steps[begin].first,
                 steps[end - 1].length};
    end = begin;
  }
  return groups;
}

}  // namespace gf
