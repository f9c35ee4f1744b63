#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "report_summary.h"

namespace tools {

// Draws what there is to draw of: <task>_results, gap_by_schedule, windows_ablation and
// learning_curves, each as PNG, SVG and the script of gnuplot that makes them. Adds their names.
// Throws Failure when gnuplot is missing or fails.
void draw_pictures(const Groups& groups, const std::filesystem::path& directory,
                   std::vector<std::string>& names);

// Validation by epoch, a panel for every task, length and depth. Nothing when no run tells it.
std::optional<std::string> draw_curves(const std::vector<Group>& groups,
                                       const std::filesystem::path& directory);

}  // namespace tools
