// gf-tokenize: text on standard input to ids on standard output, and back.

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>
#include <string_view>

#include "command_line.h"
#include "data_source.h"
#include "format.h"

namespace tools {
namespace {

constexpr const char* kName = "gf-tokenize";

struct Command {
  std::string tokenizer;
  std::string data;
  bool lines = false;
  bool pair = false;
  bool decode = false;
  bool no_special = false;

  uint32_t flags() const { return no_special ? GF_NO_SPECIAL : 0; }
};

std::optional<Command> parse(int argc, char** argv) {
  CommandLine line(kName,
                   "Reads text from standard input and prints its token ids, separated by blanks.",
                   {"gf-tokenize --tokenizer gpt2 --data data < book.txt > ids.txt",
                    "gf-tokenize --tokenizer gpt2 --data data --decode < ids.txt",
                    "printf 'a man\\ta person\\n' | gf-tokenize --tokenizer bert --pair"});
  Command command;
  const Option tokenizer =
      line.option("--tokenizer", "NAME", "bert, gpt2 or byte (required)", command.tokenizer);
  line.option("--data", "DIR",
              "directory of the vocabularies; without it $GF_DATA_DIR, then "
              "./data",
              command.data);
  line.option("--lines", "every line is a text of its own and gives a line of ids", command.lines);
  line.option("--pair", "every line is two texts with a tab between them", command.pair);
  line.option("--decode", "read ids, print their text", command.decode);
  line.option("--no-special", "leave [CLS] and [SEP] out", command.no_special);
  if (!line.parse(argc, argv)) return std::nullopt;
  if (!tokenizer.given()) throw UsageError("--tokenizer is missing: bert, gpt2 or byte");
  parse_choice("--tokenizer", command.tokenizer, {"bert", "gpt2", "byte"});
  if (command.pair && command.decode) throw UsageError("--pair cannot go with --decode");
  return command;
}

std::string read_standard_input() {
  std::string text;
  for (size_t used = 0;;) {
    text.resize(std::max<size_t>(2 * used, 1 << 16));
    const size_t count = std::fread(text.data() + used, 1, text.size() - used, stdin);
    used += count;
    if (count == 0) {
      if (std::ferror(stdin)) {
        throw Failure(std::string("cannot read standard input: ") + std::strerror(errno));
      }
      text.resize(used);
      return text;
    }
  }
}

void write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    throw Failure(std::string("cannot write standard output: ") + std::strerror(errno));
  }
}

// Calls body(line, number) for every line of standard input, without its "\n"; numbers from 1.
void for_each_line(const std::function<void(const std::string&, int64_t)>& body) {
  char* line = nullptr;
  size_t capacity = 0;
  ssize_t length = 0;
  std::string text;
  const std::unique_ptr<char*, void (*)(char**)> guard(&line, [](char** l) { std::free(*l); });
  for (int64_t number = 1; (length = getline(&line, &capacity, stdin)) >= 0; ++number) {
    if (length > 0 && line[length - 1] == '\n') --length;
    text.assign(line, static_cast<size_t>(length));
    body(text, number);
  }
  if (std::ferror(stdin)) {
    throw Failure(std::string("cannot read standard input: ") + std::strerror(errno));
  }
}

void write_ids(const std::vector<int32_t>& ids, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    char digits[16];
    if (i > 0) text += ' ';
    text.append(digits, std::to_chars(digits, digits + sizeof digits, ids[i]).ptr);
  }
  write(text + "\n");
}

void encode_text(const Context& context, const Tokenizer& tokenizer, const Command& command,
                 std::string_view text) {
  std::vector<int32_t> ids(text.size() + 2);
  size_t count = 0;
  check(context, gf_tokenizer_encode(tokenizer.get(), text.data(), text.size(), command.flags(),
                                     ids.data(), ids.size(), &count));
  write_ids(ids, count);
}

void encode_pair(const Context& context, const Tokenizer& tokenizer, const Command& command,
                 const std::string& line, int64_t number) {
  const size_t tab = line.find('\t');
  if (tab == std::string::npos || line.find('\t', tab + 1) != std::string::npos) {
    throw Failure(format("line %lld: expected two texts with one tab between them",
                         static_cast<long long>(number)));
  }
  if (line.find('\0') != std::string::npos) {
    throw Failure(format("line %lld: holds a zero byte", static_cast<long long>(number)));
  }
  const std::string first = line.substr(0, tab), second = line.substr(tab + 1);
  std::vector<int32_t> ids(line.size() + 3);
  size_t count = 0;
  check(context, gf_tokenizer_encode_pair(tokenizer.get(), first.c_str(), second.c_str(),
                                          command.flags(), 0, ids.data(), ids.size(), &count));
  write_ids(ids, count);
}

// Appends the ids of a line.
void parse_ids(const std::string& line, int64_t number, int32_t vocab_size,
               std::vector<int32_t>& ids) {
  constexpr const char* kBlanks = " \t\r";
  for (size_t begin = line.find_first_not_of(kBlanks); begin != std::string::npos;) {
    const size_t end = std::min(line.find_first_of(kBlanks, begin), line.size());
    int32_t id = -1;
    const auto [stop, error] = std::from_chars(line.data() + begin, line.data() + end, id);
    if (error != std::errc() || stop != line.data() + end || id < 0 || id >= vocab_size) {
      throw Failure(format("line %lld: expected ids from 0 to %d, not '%s'",
                           static_cast<long long>(number), vocab_size - 1,
                           line.substr(begin, end - begin).c_str()));
    }
    ids.push_back(id);
    begin = line.find_first_not_of(kBlanks, end);
  }
}

void decode_ids(const Context& context, const Tokenizer& tokenizer, const Command& command,
                const std::vector<int32_t>& ids) {
  const auto decode = [&](std::string& text) {
    size_t length = 0;
    check(context, gf_tokenizer_decode(tokenizer.get(), ids.data(), ids.size(), command.flags(),
                                       text.data(), text.size(), &length));
    return length;
  };
  std::string text(8 * ids.size(), '\0');
  const size_t length = decode(text);
  if (length > text.size()) {
    text.resize(length);
    decode(text);
  }
  write({text.data(), length});
}

void encode(const Context& context, const Tokenizer& tokenizer, const Command& command) {
  if (command.pair) {
    for_each_line([&](const std::string& line, int64_t number) {
      encode_pair(context, tokenizer, command, line, number);
    });
  } else if (command.lines) {
    for_each_line(
        [&](const std::string& line, int64_t) { encode_text(context, tokenizer, command, line); });
  } else {
    encode_text(context, tokenizer, command, read_standard_input());
  }
}

void decode(const Context& context, const Tokenizer& tokenizer, const Command& command) {
  const int32_t vocab_size = gf_tokenizer_vocab_size(tokenizer.get());
  std::vector<int32_t> ids;
  for_each_line([&](const std::string& line, int64_t number) {
    parse_ids(line, number, vocab_size, ids);
    if (!command.lines) return;
    decode_ids(context, tokenizer, command, ids);
    write("\n");
    ids.clear();
  });
  if (!command.lines) decode_ids(context, tokenizer, command, ids);
}

int run(int argc, char** argv) {
  const std::optional<Command> command = parse(argc, argv);
  if (!command) return 0;
  const Context context = make_context(kName, "cpu", "", 1);
  const Tokenizer tokenizer = load_tokenizer(context, command->tokenizer, command->data);
  if (command->decode) {
    decode(context, tokenizer, *command);
  } else {
    encode(context, tokenizer, *command);
  }
  if (std::fflush(stdout) != 0) {
    throw Failure(std::string("cannot write standard output: ") + std::strerror(errno));
  }
  return 0;
}

}  // namespace
}  // namespace tools

int main(int argc, char** argv) {
  return tools::run_tool(tools::kName, [&] { return tools::run(argc, argv); });
}
