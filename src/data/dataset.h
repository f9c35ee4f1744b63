#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "grassflow.h"
#include "text/tokenizer.h"

namespace gf {

// Sequences of any length, each with a label: pairs of sentences, in their first order.
struct LabelledSequences {
  std::vector<int32_t> ids;  // one sequence after the other
  std::vector<int32_t> lengths;
  std::vector<int32_t> labels;
};

// A run of sequences that are padded to one length.
struct LengthGroup {
  int64_t first;  // of its sequences
  int64_t count;
  int32_t length;
};

// What to train on or to evaluate. Either a sequence of ids cut into chunks of equal length, one
// after the other, of which the rest that fills no chunk is dropped; or labelled sequences, ordered
// and padded by length group. Immutable and cheap to copy: copies and slices share the ids.
class Dataset {
 public:
  // Throws GF_ERROR_INVALID_ARGUMENT for a length below 2 and for fewer ids than one chunk; source
  // says in its text where they came from.
  Dataset(std::vector<int32_t> ids, int32_t length, const std::string& source);

  // At least one sequence, none of them empty.
  explicit Dataset(const LabelledSequences& sequences);

  int64_t chunks() const { return chunks_; }        // or sequences
  int32_t length() const { return length_; }        // ids of one chunk, of the longest sequence
  int64_t total_ids() const { return total_ids_; }  // before the cut, the dropped rest included
  int64_t tokens() const { return tokens_; }        // of all chunks, without padding
  int64_t padded_tokens() const { return padded_tokens_; }
  int32_t max_id() const { return max_id_; }

  const std::vector<LengthGroup>& groups() const { return groups_; }
  const int32_t* data() const { return ids_.get(); }  // group by group [count, length]
  const int32_t* chunk(int64_t i) const {
    return data() + i * length_;
  }  // where there is one group

  bool is_labelled() const { return labelled_ != nullptr; }
  // Of sequence i in the order of data(); of labelled ones alone.
  const std::vector<int32_t>& lengths() const { return labelled_->lengths; }
  const std::vector<int32_t>& labels() const { return labelled_->labels; }
  // Number that sequence i in the order of data() had at first.
  int64_t number(int64_t i) const {
    return labelled_ ? labelled_->numbers[static_cast<size_t>(i)] : i;
  }

  // Chunks or sequences first .. first + count - 1 of the first order. Throws
  // GF_ERROR_INVALID_ARGUMENT where they are not all here.
  Dataset slice(int64_t first, int64_t count) const;

 private:
  // By sequence in the order of the ids.
  struct Labelled {
    std::vector<int32_t> lengths;
    std::vector<int32_t> labels;
    std::vector<int64_t> numbers;
  };

  LabelledSequences unpadded(int64_t first, int64_t count) const;

  std::shared_ptr<const int32_t> ids_;  // first id of this dataset; keeps the whole sequence alive
  std::shared_ptr<const Labelled> labelled_;
  std::vector<LengthGroup> groups_;
  int32_t length_;
  int64_t chunks_;
  int64_t total_ids_;
  int64_t tokens_;
  int64_t padded_tokens_;
  int32_t max_id_;
};

// A copy of ids. Throws GF_ERROR_INVALID_ARGUMENT as Dataset does and for a negative id.
Dataset dataset_from_ids(std::span<const int32_t> ids, int32_t length);

// A copy of `count` labelled sequences. Throws GF_ERROR_INVALID_ARGUMENT naming the sequence whose
// length, label or id is not one.
Dataset dataset_from_pairs(const int32_t* ids, const int32_t* lengths, const int32_t* labels,
                           size_t count);

// The file at path encoded as one text, with special tokens. Throws as MappedFile does, and
// GF_ERROR_INVALID_ARGUMENT, naming the file, for an empty text and for one shorter than a chunk.
Dataset dataset_from_text_file(const Tokenizer& tokenizer, const std::string& path,
                               gf_text_format text_format, int32_t length);

}  // namespace gf
