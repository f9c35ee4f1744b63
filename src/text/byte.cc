#include "text/byte.h"

namespace gf {

void ByteTokenizer::encode(std::string_view text, bool, std::vector<int32_t>& ids) const {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  ids.insert(ids.end(), bytes, bytes + text.size());
}

std::string ByteTokenizer::decode(std::span<const int32_t> ids, bool) const {
  check_ids(ids);
  return {ids.begin(), ids.end()};
}

}  // namespace gf
