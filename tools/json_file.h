#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace tools {

using Json = nlohmann::ordered_json;  // keys stay in the order they were written

// Replaces a file in one step: a temporary file beside it, synced, renamed over it, the directory
// synced. An earlier file stays whole if anything fails.
void replace_file(const std::filesystem::path& path, const std::string& text);

void write_json(const std::filesystem::path& path, const Json& value);

// Throws Failure naming the path, and the place where it is no JSON.
Json read_json(const std::filesystem::path& path);

}  // namespace tools
