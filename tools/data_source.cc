#include "data_source.h"

#include <algorithm>
#include <cstdlib>

#include "format.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

// A task whose splits are published as files DIRECTORY/wiki.{train,valid,test}.EXTENSION.
struct Wikitext {
  const char* task;
  const char* name;
  const char* directory;
  const char* extension;

  fs::path file(const fs::path& parent, const char* split) const {
    return parent / (std::string("wiki.") + split + "." + extension);
  }
};

constexpr Wikitext kWikitexts[] = {
    {"wikitext", "WikiText-2", "wikitext-2", "tokens"},
    {"wikitext-raw", "WikiText-2 (raw)", "wikitext-2-raw", "raw"},
};

// Files of SNLI by split; the first that is there. The subset stands in for the train split where
// that has not been fetched.
constexpr const char* kSnliDirectory = "snli_1.0";
const std::vector<const char*> kSnliFiles[] = {
    {"snli_1.0_train.jsonl", "snli_1.0_train_subset_20k.jsonl"},
    {"snli_1.0_dev.jsonl"},
    {"snli_1.0_test.jsonl"},
};

constexpr uint64_t kSampleSeed = 1;
constexpr size_t kSampleBytes = 600'000;
constexpr int64_t kSamplePairs[] = {20'000, 1'000, 1'000};  // by split

constexpr int64_t kHeldOut = 20;  // one chunk in so many is held out for each of the two splits

const Wikitext* find_wikitext(const std::string& task) {
  for (const Wikitext& wikitext : kWikitexts) {
    if (wikitext.task == task) return &wikitext;
  }
  return nullptr;
}

// $GF_DATA_DIR where it is set, and ./data.
std::vector<fs::path> standard_directories() {
  std::vector<fs::path> directories;
  if (const char* directory = std::getenv("GF_DATA_DIR"); directory && *directory) {
    directories.emplace_back(directory);
  }
  directories.emplace_back("data");
  return directories;
}

std::string list(const std::vector<fs::path>& paths) {
  std::string text;
  for (const fs::path& path : paths) text += (text.empty() ? "" : ", ") + path.string();
  return text;
}

std::string absolute_path(const fs::path& path) {
  return fs::absolute(path).lexically_normal().string();
}

// The directory with the corpus's files: one of `roots`, or the directory `name` in one of them.
// That it is the one, `file` tells.
std::string find_directory(const std::vector<fs::path>& roots, const fs::path& name,
                           const fs::path& file) {
  for (const fs::path& root : roots) {
    for (const fs::path& directory : {root / name, root}) {
      if (fs::exists(directory / file)) return absolute_path(directory);
    }
  }
  throw Failure((name / file).string() + " is in none of " + list(roots) +
                ": tools/fetch-data.sh gets it; --data says where it lies");
}

fs::path snli_file(const fs::path& directory, Split split) {
  const std::vector<const char*>& files = kSnliFiles[static_cast<int>(split)];
  for (const char* file : files) {
    if (fs::exists(directory / file)) return directory / file;
  }
  return directory / files.front();
}

}  // namespace

std::vector<std::string> task_names() {
  return {"wikitext", "wikitext-raw", "text", "sample", "snli", "sample-pairs"};
}

bool has_pairs(const std::string& task) {
  return task == "snli" || task == "sample-pairs";
}

Tokenizer load_tokenizer(const Context& context, const std::string& name, const std::string& data) {
  const bool bert = name == "bert";
  const fs::path own = bert ? "bert-base-uncased" : "gpt2";
  const fs::path file = bert ? "vocab.txt" : "vocab.json";
  std::vector<fs::path> roots = standard_directories();
  if (fs::is_directory(data)) roots.insert(roots.begin(), {data, fs::path(data) / ".."});
  fs::path found;
  for (const fs::path& root : roots) {
    if (!found.empty() || name == "byte") break;
    if (fs::exists(root / own / file) || fs::exists(root / file)) found = root;
  }
  if (found.empty() && name != "byte") {
    throw Failure((own / file).string() + ", which the tokenizer " + name +
                  " needs, is in none of " + list(roots) +
                  ": tools/fetch-data.sh gets it; --tokenizer byte needs no files");
  }
  return make<Tokenizer>(context, [&](gf_tokenizer** out) {
    return gf_tokenizer_load(context.get(), name.c_str(), found.c_str(), out);
  });
}

int32_t published_vocab_size(const std::string& tokenizer) {
  if (tokenizer == "bert") return 30522;
  return tokenizer == "gpt2" ? 50257 : 256;
}

Corpus Corpus::find(const std::string& task, const std::string& data, const std::string& recorded) {
  std::vector<fs::path> roots = {data};
  if (data.empty()) {
    roots = standard_directories();
    if (!recorded.empty()) roots.emplace_back(recorded);
  }
  if (const Wikitext* wikitext = find_wikitext(task)) {
    return Corpus(task, find_directory(roots, wikitext->directory, wikitext->file("", "test")));
  }
  if (task == "snli") {
    return Corpus(task, find_directory(roots, kSnliDirectory, snli_file("", Split::kTest)));
  }
  if (task == "sample" || task == "sample-pairs") return Corpus(task, "");
  const std::string file = data.empty() ? recorded : data;
  if (file.empty()) throw UsageError("--task text needs --data FILE, the text to train on");
  if (fs::is_directory(file)) throw UsageError("--data: " + file + " is a directory, not a text");
  return Corpus(task, absolute_path(file));
}

std::string Corpus::name() const {
  if (const Wikitext* wikitext = find_wikitext(task_)) return wikitext->name;
  if (task_ == "snli") return "SNLI";
  if (task_ == "sample-pairs") return "the sample pairs";
  return task_ == "sample" ? "the sample corpus" : fs::path(location_).filename().string();
}

bool Corpus::holds_out() const {
  return find_wikitext(task_) == nullptr && !has_pairs(task_);
}

Dataset Corpus::load(const Context& context, const Tokenizer& tokenizer, Split split,
                     int32_t length) {
  if (has_pairs(task_)) return load_pairs(context, tokenizer, split, length);
  if (const Wikitext* wikitext = find_wikitext(task_)) {
    static const char* const kNames[] = {"train", "valid", "test"};
    const fs::path file = wikitext->file(location_, kNames[static_cast<int>(split)]);
    return make<Dataset>(context, [&](gf_dataset** out) {
      return gf_dataset_from_text_file(context.get(), tokenizer.get(), file.c_str(),
                                       GF_TEXT_WIKITEXT, length, out);
    });
  }
  if (!whole_) whole_ = load_whole(context, tokenizer, length);
  return held_out(context, split);
}

Dataset Corpus::load_pairs(const Context& context, const Tokenizer& tokenizer, Split split,
                           int32_t length) {
  gf_pair_report& report = pairs_[split];
  report.struct_size = sizeof report;
  if (task_ == "snli") {
    return make<Dataset>(context, [&](gf_dataset** out) {
      return gf_dataset_from_snli_file(context.get(), tokenizer.get(),
                                       snli_file(location_, split).c_str(), length, &report, out);
    });
  }
  const auto part = static_cast<size_t>(split);
  size_t size = 0;
  std::string text;
  for (int pass = 0; pass < 2; ++pass) {
    text.resize(size);
    check(context, gf_sample_pairs(context.get(), kSampleSeed + part, kSamplePairs[part],
                                   text.data(), text.size(), &size));
  }
  return make<Dataset>(context, [&](gf_dataset** out) {
    return gf_dataset_from_snli_text(context.get(), tokenizer.get(), text.data(), text.size(),
                                     length, &report, out);
  });
}

Dataset Corpus::load_whole(const Context& context, const Tokenizer& tokenizer,
                           int32_t length) const {
  if (task_ == "text") {
    return make<Dataset>(context, [&](gf_dataset** out) {
      return gf_dataset_from_text_file(context.get(), tokenizer.get(), location_.c_str(),
                                       GF_TEXT_PLAIN, length, out);
    });
  }
  std::string text(kSampleBytes, '\0');
  check(context, gf_sample_text(context.get(), kSampleSeed, text.data(), text.size()));
  std::vector<int32_t> ids(text.size() + 2);
  size_t count = 0;
  check(context, gf_tokenizer_encode(tokenizer.get(), text.data(), text.size(), 0, ids.data(),
                                     ids.size(), &count));
  return make<Dataset>(context, [&](gf_dataset** out) {
    return gf_dataset_from_ids(context.get(), ids.data(), count, length, out);
  });
}

Dataset Corpus::held_out(const Context& context, Split split) const {
  const gf_dataset_info info = info_of(context, whole_);
  const int64_t held = std::max<int64_t>(1, info.chunks / kHeldOut);
  const int64_t train = info.chunks - 2 * held;
  if (train < 1) {
    throw Failure(
        format("%s has %lld ids, %lld sequences of %d: three are needed, for training, "
               "validation and test; take a longer text or a smaller --max-seq-len",
               name().c_str(), static_cast<long long>(info.ids),
               static_cast<long long>(info.chunks), info.length));
  }
  const int64_t first = split == Split::kTrain        ? 0
                        : split == Split::kValidation ? train
                                                      : train + held;
  const int64_t count = split == Split::kTrain ? train : held;
  return make<Dataset>(
      context, [&](gf_dataset** out) { return gf_dataset_slice(whole_.get(), first, count, out); });
}

}  // namespace tools
