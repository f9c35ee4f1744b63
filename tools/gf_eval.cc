// gf-eval: loss and perplexity or accuracy of a checkpoint.

#include <filesystem>
#include <optional>

#include "classification.h"
#include "command_line.h"
#include "data_source.h"
#include "display.h"
#include "format.h"
#include "interrupt.h"

namespace tools {
namespace {

constexpr const char* kName = "gf-eval";

struct Command {
  std::string checkpoint;
  std::string split = "test";
  std::string task;
  std::string data;
  std::string batch_size = "0";
  std::string precision;
  std::string output_file;
  DeviceFlags device;
  Display::Mode mode = Display::Mode::kHuman;
};

std::optional<Command> parse(int argc, char** argv) {
  CommandLine line(kName, "Measures how well a model predicts that gf-train has written.",
                   {"gf-eval --checkpoint outputs/RUN/MODEL/checkpoints/best.safetensors"});
  Command command;
  bool json = false;
  const Option checkpoint =
      line.option("--checkpoint", "FILE", "the model, or the directory of its run (required)",
                  command.checkpoint);
  line.option("--split", "NAME", "validation or test", command.split, command.split);
  line.option(
      "--task", "NAME",
      "what to evaluate on; without it what the model was trained on: " + one_of(task_names()),
      command.task);
  line.option("--output-file", "FILE", "write the result there as JSON", command.output_file);
  line.option("--data", "PATH",
              "directory of the corpora, or the text file the model was trained "
              "on; without it $GF_DATA_DIR, ./data, then where the model was trained",
              command.data);
  line.option("--batch-size", "N", "sequences at a time; 0: the library's choice",
              command.batch_size, command.batch_size);
  line.option("--precision", "NAME",
              "of matrix products; without it the device's own: fp32 or bf16", command.precision);
  command.device.add_to(line);
  line.option("--json", "print the result as JSON", json);
  if (!line.parse(argc, argv)) return std::nullopt;
  if (!checkpoint.given()) throw UsageError("--checkpoint is missing: the model to evaluate");
  parse_choice("--split", command.split, {"validation", "test"});
  if (!command.task.empty()) parse_choice("--task", command.task, task_names());
  if (!command.precision.empty()) {
    parse_choice("--precision", command.precision, {"fp32", "bf16"});
  }
  if (std::filesystem::is_directory(command.checkpoint)) {
    command.checkpoint += "/checkpoints/best.safetensors";
  }
  if (json) command.mode = Display::Mode::kMachine;
  return command;
}

// What gf-train wrote into the checkpoint.
std::string recorded(const Model& model, const char* key, const std::string& checkpoint) {
  const std::string value = metadata(model, key);
  if (value.empty()) {
    throw Failure(checkpoint + " does not name its " + key + ": it was not written by gf-train");
  }
  return value;
}

// "grassmann+" where gf-train has called it so; an earlier version noted no name.
std::string model_name(const Model& model, const gf_model_config& config) {
  const std::string noted = metadata(model, "model");
  if (!noted.empty()) return noted;
  return config.mixer == GF_MIXER_TRANSFORMER ? "transformer" : "grassmann";
}

Json config_json(const gf_model_config& config, const std::string& model, const std::string& task,
                 const std::string& tokenizer) {
  Json json = {{"model", model},
               {"task", task},
               {"tokenizer", tokenizer},
               {"vocab_size", config.vocab_size},
               {"max_seq_len", config.max_seq_len},
               {"num_layers", config.num_layers},
               {"model_dim", config.model_dim},
               {"ff_dim", config.ff_dim}};
  if (config.mixer == GF_MIXER_TRANSFORMER) {
    json["num_heads"] = config.num_heads;
  } else {
    json["grassmann_heads"] = config.grassmann_heads;
    json["reduced_dim"] = config.reduced_dim;
    json["windows"] = std::vector<int32_t>(config.windows, config.windows + config.num_windows);
    json["window_schedule"] = schedule_name(config.window_schedule);
    json["window_weights"] = weights_name(config.window_weights);
  }
  return json;
}

void print_table(const Json& result, const gf_eval_report& report, Display& display) {
  const auto row = [&](const char* name, const std::string& value) {
    display.line(format("%-12s %s", name, value.c_str()));
  };
  row("checkpoint", result["checkpoint"]);
  row("model", result["config"]["model"].get<std::string>() + ", " +
                   with_thousands(result["parameters"]) + " parameters");
  const bool pairs = report.num_classes > 0;
  row("data", result["data"].get<std::string>() + ", " + result["split"].get<std::string>() + ", " +
                  with_thousands(pairs ? report.sequences : report.tokens) +
                  (pairs ? " pairs" : " tokens"));
  row("loss", format("%.4f", report.loss));
  if (pairs) {
    row("accuracy", format_share(report.accuracy));
  } else {
    row("perplexity", format_perplexity(report.loss));
  }
  row("time", format_duration(report.seconds));
  if (!pairs) return;
  display.line("");
  print_classification(report, display);
}

int run(int argc, char** argv) {
  const std::optional<Command> command = parse(argc, argv);
  if (!command) return 0;
  const std::string& file = command->checkpoint;
  const auto batch_size =
      static_cast<int32_t>(parse_integer("--batch-size", command->batch_size, 0, 1 << 20));
  Display display(command->mode);
  const Context context = make_context(kName, command->device.device, command->precision,
                                       command->device.thread_count(), command->device.attention);
  const Model model = make<Model>(
      context, [&](gf_model** out) { return gf_model_load(context.get(), file.c_str(), out); });
  const gf_model_config config = config_of(context, model);
  const std::string trained = recorded(model, "task", file);
  const std::string task = command->task.empty() ? trained : command->task;
  const std::string tokenizer_name = recorded(model, "tokenizer", file);

  Corpus corpus = Corpus::find(task, command->data, task == trained ? metadata(model, "data") : "");
  const Tokenizer tokenizer = load_tokenizer(context, tokenizer_name, command->data);
  const Split split = command->split == "test" ? Split::kTest : Split::kValidation;
  const Dataset dataset = corpus.load(context, tokenizer, split, config.max_seq_len);
  const InterruptGuard guard(context.get());
  const std::optional<gf_eval_report> found = evaluate(context, model, dataset, batch_size);
  if (!found) {
    std::fprintf(stderr, "%s: interrupted\n", kName);
    return 128 + InterruptGuard::signal();
  }
  const gf_eval_report& report = *found;

  Json result = {{"checkpoint", file},
                 {"split", command->split},
                 {"data", corpus.name()},
                 {"loss", report.loss}};
  if (report.num_classes > 0) {
    result.update(classification_json(report));
  } else {
    result["perplexity"] = report.perplexity;
  }
  result.update(
      {{"tokens", report.tokens},
       {"sequences", report.sequences},
       {"seconds", report.seconds},
       {"parameters", parameter_count(context, config)},
       {"device", gf_context_description(context.get())},
       {"config", config_json(config, model_name(model, config), trained, tokenizer_name)}});
  if (!command->output_file.empty()) write_json(command->output_file, result);
  print_table(result, report, display);
  display.event(result);
  return 0;
}

}  // namespace
}  // namespace tools

int main(int argc, char** argv) {
  return tools::run_tool(tools::kName, [&] { return tools::run(argc, argv); });
}
