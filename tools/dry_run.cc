#include "dry_run.h"

#include <algorithm>

#include "data_source.h"
#include "format.h"

namespace tools {
namespace {

std::vector<gf_parameter> parameters_of(const Context& context, const gf_model_config& config) {
  int32_t tensors = 0;
  check(context, gf_model_config_count(context.get(), &config, &tensors, nullptr));
  std::vector<gf_parameter> parameters(static_cast<size_t>(tensors));
  for (int32_t i = 0; i < tensors; ++i) {
    gf_parameter& parameter = parameters[static_cast<size_t>(i)];
    parameter.struct_size = sizeof parameter;
    check(context, gf_model_config_parameter(context.get(), &config, i, &parameter));
  }
  return parameters;
}

int64_t size_of(const gf_parameter& parameter) {
  return parameter.shape[0] * parameter.shape[1];
}

std::string shape_of(const gf_parameter& parameter) {
  std::string shape = with_thousands(parameter.shape[0]);
  if (parameter.dims == 2) shape += " x " + with_thousands(parameter.shape[1]);
  return shape;
}

}  // namespace

void print_dry_run(const Context& context, const TrainOptions& options, Display& display) {
  const gf_model_config config =
      model_config(context, options, published_vocab_size(options.tokenizer));
  const int64_t total = parameter_count(context, config);
  int64_t model_bytes = 0, training_bytes = 0;
  check(context,
        gf_model_config_bytes(context.get(), &config, static_cast<int32_t>(options.batch_size),
                              config.max_seq_len, &model_bytes, &training_bytes));
  const std::vector<gf_parameter> parameters = parameters_of(context, config);

  Json tensors = Json::array();
  display.line(format("%-40s %16s %14s", "parameter", "shape", "count"));
  for (const gf_parameter& parameter : parameters) {
    display.line(format("%-40s %16s %14s", parameter.name, shape_of(parameter).c_str(),
                        with_thousands(size_of(parameter)).c_str()));
    Json shape = {parameter.shape[0]};
    if (parameter.dims == 2) shape.push_back(parameter.shape[1]);
    tensors.push_back({{"name", parameter.name}, {"shape", shape}, {"count", size_of(parameter)}});
  }
  display.line(format("%-40s %16s %14s", "total",
                      (std::to_string(parameters.size()) + " tensors").c_str(),
                      with_thousands(total).c_str()));
  display.line("");
  display.line(format("model     %14s bytes (%s)", with_thousands(model_bytes).c_str(),
                      format_bytes(model_bytes).c_str()));
  display.line(
      format("training  %14s bytes (%s): parameters, gradients, both moments and "
             "activations of a batch of %lld x %d, evaluation",
             with_thousands(training_bytes).c_str(), format_bytes(training_bytes).c_str(),
             static_cast<long long>(options.batch_size), config.max_seq_len));
  display.event({{"event", "dry-run"},
                 {"device", gf_context_description(context.get())},
                 {"config", to_json(options)},
                 {"parameters", total},
                 {"model_bytes", model_bytes},
                 {"training_bytes", training_bytes},
                 {"tensors", tensors}});
}

}  // namespace tools
