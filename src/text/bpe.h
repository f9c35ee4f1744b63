#pragma once

#include "text/bpe_files.h"
#include "text/splitter.h"
#include "text/tokenizer.h"
#include "text/trie.h"

namespace gf {

// Merges neighbouring tokens of a piece, the pair of the lowest rank first and of equal ones the
// leftmost, until no pair is left that has a rank. n log n in the bytes of the piece.
class BpeMerger {
 public:
  explicit BpeMerger(const BpeFiles& files, const std::string& merges_path);

  // What one call of encode needs, reused from piece to piece.
  struct Scratch {
    struct Symbol {
      int32_t id;
      uint32_t rank;  // of the merge with the next symbol; kNoRank: none, or merged away itself
      size_t previous;
      size_t next;
    };
    std::vector<Symbol> symbols;
    std::vector<uint64_t> queue;  // rank, then position: a heap
  };

  // Appends the ids of a piece that is not empty.
  void merge(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  static constexpr uint32_t kNoRank = UINT32_MAX;

  static constexpr size_t kShortPiece = 32;

  void merge_short(std::string_view piece, std::vector<int32_t>& ids) const;
  void merge_long(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const;
  uint32_t rank_of(int32_t left, int32_t right) const;
  void link(size_t position, Scratch& scratch) const;

  std::vector<int32_t> byte_ids_;
  std::vector<int32_t> merged_;  // id by rank
  // Hash table with linear probing. A slot packs left, right and rank: half the cache lines.
  std::vector<uint64_t> pairs_;
};

// GPT-2's byte-level BPE. Its ids stand for bytes, so any bytes survive encode and decode.
// <|endoftext|> in a text is text.
class Gpt2Tokenizer final : public Tokenizer {
 public:
  // directory holds vocab.json and merges.txt.
  explicit Gpt2Tokenizer(const std::string& directory);

  const char* name() const override { return "gpt2"; }
  int32_t vocab_size() const override { return static_cast<int32_t>(files_.tokens.size()); }
  SpecialIds special() const override { return {.end = files_.end_of_text}; }
  void encode(std::string_view text, bool with_special, std::vector<int32_t>& ids) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;

 private:
  BpeFiles files_;
  BpeMerger merger_;
  Gpt2Splitter splitter_;
  Trie whole_;  // tokens that their own bytes merge to
};

}  // namespace gf
