#include "handle.h"

#include <cstdio>

namespace tools {
namespace {

void print_warning(gf_log_level level, const char* text, void* tool) {
  if (level == GF_LOG_WARNING) {
    std::fprintf(stderr, "%s: warning: %s\n", static_cast<const char*>(tool), text);
  }
}

}  // namespace

Context make_context(const char* tool, const std::string& device, const std::string& precision,
                     int32_t threads, const std::string& attention) {
  gf_context_options options;
  gf_context_options_init(&options);
  options.device = device.c_str();
  options.precision = precision.empty() ? nullptr : precision.c_str();
  options.threads = threads;
  options.attention = attention.c_str();
  options.log = print_warning;
  options.log_user = const_cast<char*>(tool);
  gf_context* context = nullptr;
  char error[512] = "";
  const gf_status status = gf_context_create(&options, &context, error, sizeof error);
  if (status == GF_ERROR_INVALID_ARGUMENT) throw UsageError(error);
  if (status < 0) throw Failure(error);
  return Context(context);
}

gf_model_config config_of(const Context& context, const Model& model) {
  gf_model_config config;
  gf_model_config_init(&config, GF_MIXER_GRASSMANN);
  check(context, gf_model_get_config(model.get(), &config));
  return config;
}

gf_dataset_info info_of(const Context& context, const Dataset& dataset) {
  gf_dataset_info info = {};
  info.struct_size = sizeof info;
  check(context, gf_dataset_get_info(dataset.get(), &info));
  return info;
}

double padded_share(const gf_dataset_info& info) {
  return 1 - static_cast<double>(info.tokens) / static_cast<double>(info.padded_tokens);
}

std::optional<gf_eval_report> evaluate(const Context& context, const Model& model,
                                       const Dataset& dataset, int32_t batch_size) {
  gf_eval_report report = {};
  report.struct_size = sizeof report;
  const gf_status status = gf_eval(model.get(), dataset.get(), batch_size, &report);
  check(context, status);
  if (status == GF_CANCELLED) return std::nullopt;
  return report;
}

int64_t parameter_count(const Context& context, const gf_model_config& config) {
  int64_t parameters = 0;
  check(context, gf_model_config_count(context.get(), &config, nullptr, &parameters));
  return parameters;
}

std::string metadata(const Model& model, const char* key) {
  const char* value = gf_model_metadata(model.get(), key);
  return value ? value : "";
}

void set_metadata(const Context& context, const Model& model, const char* key,
                  const std::string& value) {
  check(context, gf_model_set_metadata(model.get(), key, value.c_str()));
}

void remove_metadata(const Context& context, const Model& model, const char* key) {
  check(context, gf_model_set_metadata(model.get(), key, nullptr));
}

}  // namespace tools
