#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "grassflow.h"
#include "text/tokenizer.h"

namespace gf {

// A sequence of ids cut into chunks of equal length, one after the other; the rest that fills no
// chunk is dropped. Immutable and cheap to copy: copies and slices share the ids.
class Dataset {
 public:
  // Throws GF_ERROR_INVALID_ARGUMENT for a length below 2 and for fewer ids than one chunk; source
  // says in its text where they came from.
  Dataset(std::vector<int32_t> ids, int32_t length, const std::string& source);

  int64_t chunks() const { return chunks_; }
  int32_t length() const { return length_; }        // ids of one chunk
  int64_t total_ids() const { return total_ids_; }  // before the cut, the dropped rest included
  int32_t max_id() const { return max_id_; }

  const int32_t* data() const { return ids_.get(); }  // [chunks, length]
  const int32_t* chunk(int64_t i) const { return data() + i * length_; }

  // Chunks first .. first + count - 1. Throws GF_ERROR_INVALID_ARGUMENT where they are not all
  // here.
  Dataset slice(int64_t first, int64_t count) const;

 private:
  std::shared_ptr<const int32_t> ids_;  // first id of this dataset; keeps the whole sequence alive
  int32_t length_;
  int64_t chunks_;
  int64_t total_ids_;
  int32_t max_id_;
};

// A copy of ids. Throws GF_ERROR_INVALID_ARGUMENT as Dataset does and for a negative id.
Dataset dataset_from_ids(std::span<const int32_t> ids, int32_t length);

// The file at path encoded as one text, with special tokens. Throws as MappedFile does, and
// GF_ERROR_INVALID_ARGUMENT, naming the file, for an empty text and for one shorter than a chunk.
Dataset dataset_from_text_file(const Tokenizer& tokenizer, const std::string& path,
                               gf_text_format text_format, int32_t length);

}  // namespace gf
