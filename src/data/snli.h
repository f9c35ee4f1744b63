#pragma once

#include <array>
#include <string>
#include <string_view>

#include "data/dataset.h"

namespace gf {

// What a file of pairs held; the fields are those of gf_pair_report.
struct PairReport {
  int64_t lines = 0;
  int64_t pairs = 0;
  int64_t unlabelled = 0;
  int64_t empty = 0;
  int64_t cut = 0;
  int32_t longest = 0;
  double mean_length = 0;
  std::array<int64_t, GF_MAX_CLASSES> label_counts = {};
};

// Pairs from SNLI's JSON lines, each encoded as one sequence of at most max_length ids. Throws
// GF_ERROR_FORMAT naming source and line, GF_ERROR_INVALID_ARGUMENT where no pair is left.
Dataset dataset_from_snli(const Tokenizer& tokenizer, std::string_view lines,
                          const std::string& source, int32_t max_length, PairReport& report);

// The same from a file. Throws as MappedFile does, too.
Dataset dataset_from_snli_file(const Tokenizer& tokenizer, const std::string& path,
                               int32_t max_length, PairReport& report);

}  // namespace gf
