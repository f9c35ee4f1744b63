#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "handle.h"

namespace tools {

// Data are looked for in --data, then $GF_DATA_DIR, then ./data.

std::vector<std::string> task_names();  // of --task

// Whether a task's data are labelled pairs, and its model a classifier of them.
bool has_pairs(const std::string& task);

// A tokenizer whose files are found by the rule above; `data` is the value of --data or "".
Tokenizer load_tokenizer(const Context& context, const std::string& name, const std::string& data);

// Number of ids of a tokenizer's published vocabulary, for those who have no files at hand.
int32_t published_vocab_size(const std::string& tokenizer);

enum class Split { kTrain, kValidation, kTest };

// The data of a task and its three splits. A text without published splits holds out the last 5 %
// of its chunks for the test and the 5 % before them for validation.
class Corpus {
 public:
  // `recorded` is where a checkpoint's corpus lay when it was trained; used when nothing else has
  // it. Throws Failure or UsageError naming what is missing and how to get it.
  static Corpus find(const std::string& task, const std::string& data,
                     const std::string& recorded = "");

  // The directory or file, absolute; "" for a corpus that needs none.
  const std::string& location() const { return location_; }

  // "WikiText-2", "SNLI", "book.txt", "the sample corpus"
  std::string name() const;

  // Whether the splits are cut from one text.
  bool holds_out() const;

  // Chunks of `length` ids, or pairs of at most so many.
  Dataset load(const Context& context, const Tokenizer& tokenizer, Split split, int32_t length);

  // What the pairs of a split that has been loaded were like.
  const gf_pair_report& pairs(Split split) const { return pairs_.at(split); }

 private:
  Corpus(std::string task, std::string location)
      : task_(std::move(task)), location_(std::move(location)) {}

  Dataset load_pairs(const Context& context, const Tokenizer& tokenizer, Split split,
                     int32_t length);
  Dataset load_whole(const Context& context, const Tokenizer& tokenizer, int32_t length) const;
  Dataset held_out(const Context& context, Split split) const;

  std::string task_;
  std::string location_;
  Dataset whole_;  // of a text without published splits, once it has been read
  std::map<Split, gf_pair_report> pairs_;
};

}  // namespace tools
