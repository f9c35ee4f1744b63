#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gf {

// The library's own corpus, drawn from small grammars: what there is to train on without any file.
// Integer arithmetic alone, so that a seed gives the same bytes on every machine.

// Exactly `bytes` bytes of ASCII: English-like paragraphs with dependencies from the next word
// (agreement, determiners) to the length of a paragraph (names, places, topics, counts). A shorter
// text is the beginning of a longer one.
std::string sample_text(uint64_t seed, size_t bytes);

// Lines of JSON with gold_label (entailment, neutral, contradiction in equal shares), sentence1 and
// sentence2, true by construction if both tell of one scene, as SNLI's do. Either sentence alone is
// independent of the label. Throws GF_ERROR_INVALID_ARGUMENT for fewer than 0 pairs.
std::string sample_pairs(uint64_t seed, int64_t pairs);

}  // namespace gf
