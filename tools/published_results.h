#pragma once

namespace tools {

// The text of published_results.json, which the build puts into the program.
extern const char kPublishedResults[];

}  // namespace tools
