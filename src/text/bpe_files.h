#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gf {

// What GPT-2's vocab.json and merges.txt say, their printable stand-ins for bytes undone.
struct BpeFiles {
  static constexpr size_t kMaxTokens = size_t{1} << 20;

  struct Merge {
    int32_t left;
    int32_t right;
    int32_t merged;
  };
  std::vector<std::string> tokens;  // by id
  std::vector<Merge> merges;        // by rank
  int32_t byte_ids[256];            // the tokens of one byte
  int32_t end_of_text;
};

// Throws GF_ERROR_NOT_FOUND, or GF_ERROR_FORMAT naming file and line. There is a token for every
// byte, one for every merge, <|endoftext|>, and no other.
BpeFiles read_bpe_files(const std::string& vocab_path, const std::string& merges_path);

}  // namespace gf
