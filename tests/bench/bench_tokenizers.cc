// Text to ids on one core: bytes of text a second, and what loading takes. $GF_DATA_DIR names the
// data; run with --benchmark_counters_tabular=true.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "base/file.h"
#include "text/tokenizer.h"

namespace {

std::string data_directory() {
  const char* named = std::getenv("GF_DATA_DIR");
  return named ? named : "data";
}

void encode(benchmark::State& state, const char* tokenizer_name, const char* file) {
  const auto tokenizer = gf::load_tokenizer(tokenizer_name, data_directory());
  const gf::MappedFile text(data_directory() + "/" + file);
  std::vector<int32_t> ids;
  for (auto _ : state) {
    ids.clear();
    tokenizer->encode(text.bytes(), true, ids);
    benchmark::DoNotOptimize(ids.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.bytes().size()));
}

// Sentence by sentence, as a dataset of pairs is encoded: what a call costs beside its text.
void encode_lines(benchmark::State& state, const char* tokenizer_name, const char* file) {
  const auto tokenizer = gf::load_tokenizer(tokenizer_name, data_directory());
  const gf::MappedFile text(data_directory() + "/" + file);
  std::vector<int32_t> ids;
  for (auto _ : state) {
    std::string_view rest = text.bytes();
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size() - 1) + 1;
      ids.clear();
      tokenizer->encode(rest.substr(0, end), true, ids);
      rest.remove_prefix(end);
    }
    benchmark::DoNotOptimize(ids.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.bytes().size()));
}

void load(benchmark::State& state, const char* tokenizer_name) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(gf::load_tokenizer(tokenizer_name, data_directory()));
  }
}

constexpr const char* kText = "wikitext-2/wiki.train.tokens";

}  // namespace

BENCHMARK_CAPTURE(encode, gpt2, "gpt2", kText)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, bert, "bert", kText)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode_lines, gpt2, "gpt2", "tinyshakespeare/input.txt")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode_lines, bert, "bert", "tinyshakespeare/input.txt")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, gpt2, "gpt2")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, bert, "bert")->Unit(benchmark::kMillisecond);

BENCHMARK_MAIN();
