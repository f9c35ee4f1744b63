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

constexpr uint64_t kSampleSeed = 1;
constexpr size_t kSampleBytes = 600'000;

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

// The directory with the corpus's files: one of `roots`, or a directory of its name in one of them.
std::string find_wikitext_directory(const Wikitext& wikitext, const std::vector<fs::path>& roots) {
  for (const fs::path& root : roots) {
    for (const fs::path& directory : {root / wikitext.directory, root}) {
      if (fs::exists(wikitext.file(directory, "test"))) return absolute_path(directory);
    }
  }
  return "";
}

}  // namespace

std::vector<std::string> task_names() {
  return {"wikitext", "wikitext-raw", "text", "sample"};
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
  if (const Wikitext* wikitext = find_wikitext(task)) {
    std::vector<fs::path> roots = {data};
    if (data.empty()) {
      roots = standard_directories();
      if (!recorded.empty()) roots.emplace_back(recorded);
    }
    const std::string directory = find_wikitext_directory(*wikitext, roots);
    if (!directory.empty()) return Corpus(task, directory);
    throw Failure(wikitext->file(wikitext->directory, "test").string() + " is in none of " +
                  list(roots) + ": tools/fetch-data.sh gets it; --data says where it lies");
  }
  if (task == "sample") return Corpus(task, "");
  const std::string file = data.empty() ? recorded : data;
  if (file.empty()) throw UsageError("--task text needs --data FILE, the text to train on");
  if (fs::is_directory(file)) throw UsageError("--data: " + file + " is a directory, not a text");
  return Corpus(task, absolute_path(file));
}

std::string Corpus::name() const {
  if (const Wikitext* wikitext = find_wikitext(task_)) return wikitext->name;
  return task_ == "sample" ? "the sample corpus" : fs::path(location_).filename().string();
}

bool Corpus::holds_out() const {
  return find_wikitext(task_) == nullptr;
}

Dataset Corpus::load(const Context& context, const Tokenizer& tokenizer, Split split,
                     int32_t length) {
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
