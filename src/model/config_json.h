#pragma once

#include <string>

#include "model/config.h"

namespace gf {

// A configuration as the JSON text that checkpoints carry.
std::string config_to_json(const ModelConfig& config);

// Throws GF_ERROR_FORMAT naming `where` and the missing or malformed field.
ModelConfig config_from_json(const std::string& text, const std::string& where);

}  // namespace gf
