#include <cstdio>

#include "api/handles.h"

using namespace gf;
using namespace gf::api;

namespace {

gf_context_options default_options() {
  gf_context_options options = {};
  options.struct_size = sizeof options;
  options.device = "cpu";
  return options;
}

std::shared_ptr<Device> make_device(const gf_context_options& o) {
  const std::string device = o.device ? o.device : "cpu";
  const std::string precision = o.precision ? o.precision : "";
  if (o.threads < 0) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "threads is %d, expected 0 (one per core) or more",
                o.threads);
  }
  if (!o.allocate != !o.release) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "allocate and release go together: one of them is NULL");
  }
  if (!precision.empty() && precision != "fp32" && precision != "bf16") {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "precision is \"%s\", expected fp32 or bf16",
                precision.c_str());
  }
  if (device == "cuda" || device.starts_with("cuda:")) {
    throw_error(GF_ERROR_UNSUPPORTED, "device \"%s\": this build has no CUDA backend, use cpu",
                device.c_str());
  }
  if (device != "cpu" && device != "auto") {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "device is \"%s\", expected cpu, cuda, cuda:N or auto",
                device.c_str());
  }
  if (precision == "bf16") {
    throw_error(GF_ERROR_UNSUPPORTED, "precision \"bf16\" needs a GPU: the CPU computes in fp32");
  }
  return make_cpu_device({o.threads, o.allocate, o.release, o.allocator_user});
}

}  // namespace

void gf_context_options_init(gf_context_options* options) {
  if (options) *options = default_options();
}

gf_status gf_context_create(const gf_context_options* options, gf_context** out, char* error,
                            size_t error_size) {
  std::string text;
  const gf_status status = guard_text(text, [&] {
    require(out, "out");
    const gf_context_options o = read_struct(options, default_options(), "options");
    auto context = std::make_shared<Context>();
    context->device = make_device(o);
    context->description = context->device->description();
    context->log = o.log;
    context->log_user = o.log_user;
    if (o.log) o.log(GF_LOG_INFO, context->description.c_str(), o.log_user);
    *out = new gf_context{std::move(context)};
    return GF_OK;
  });
  if (status != GF_OK && error && error_size > 0) {
    std::snprintf(error, error_size, "%s", text.c_str());
  }
  return status;
}

void gf_context_free(gf_context* context) {
  delete context;
}

const char* gf_context_error(const gf_context* context) {
  return context ? context->shared->error.c_str() : "";
}

const char* gf_context_description(const gf_context* context) {
  return context ? context->shared->description.c_str() : "";
}
