#pragma once

#include <string>
#include <vector>

#include "report_summary.h"

namespace tools {

// report.md; `pictures` are the names of those that were drawn.
std::string report_markdown(const ReportInput& input, const Groups& groups,
                            const std::vector<std::string>& pictures);

// The comparison and what is missing, for a terminal.
std::string report_text(const ReportInput& input, const Groups& groups);

}  // namespace tools
