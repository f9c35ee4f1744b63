#pragma once

#include <span>
#include <string>
#include <string_view>

namespace gf_test {

// SHA-256 (FIPS 180-4) in lower-case hexadecimal.
std::string sha256(std::string_view bytes);

// Of ids as little-endian 16-bit words, as the expected figures of the data are given.
std::string sha256_of_ids(std::span<const int32_t> ids);

}  // namespace gf_test
