#include <charconv>
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

// The N of "cuda:N"; 0 where there is none.
int gpu_index(const std::string& device) {
  const size_t colon = device.find(':');
  if (colon == std::string::npos) return 0;
  const char *begin = device.c_str() + colon + 1, *end = device.c_str() + device.size();
  int index = 0;
  const auto [stop, error] = std::from_chars(begin, end, index);
  if (error != std::errc() || stop != end || index < 0) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "device is \"%s\", expected cpu, cuda, cuda:N or auto",
                device.c_str());
  }
  return index;
}

bool cudnn_attention(const gf_context_options& o) {
  const std::string attention = o.attention ? o.attention : "own";
  if (attention != "own" && attention != "cudnn") {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "attention is \"%s\", expected own or cudnn",
                attention.c_str());
  }
  return attention == "cudnn";
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
  const bool is_cuda = device == "cuda" || device.starts_with("cuda:");
  if (!is_cuda && device != "cpu" && device != "auto") {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "device is \"%s\", expected cpu, cuda, cuda:N or auto",
                device.c_str());
  }
  const CudaOptions cuda{gpu_index(device), precision != "fp32", cudnn_attention(o)};
  if (is_cuda) return make_cuda_device(cuda);
  if (device == "auto") {
    try {
      return make_cuda_device(cuda);
    } catch (const Error& error) {
      if (precision == "bf16") throw;
      if (o.log) o.log(GF_LOG_DEBUG, error.what(), o.log_user);
    }
  }
  if (precision == "bf16") {
    throw_error(GF_ERROR_UNSUPPORTED, "precision \"bf16\" needs a GPU: the CPU computes in fp32");
  }
  return make_cpu_device({o.threads, o.allocate, o.release, o.allocator_user});
}

}  // namespace

void gf_context_options_init_sized(gf_context_options* options, size_t struct_size) {
  init_struct(options, struct_size, default_options());
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
  free_handle(context);
}

const char* gf_context_error(const gf_context* context) {
  return context ? context->shared->error.c_str() : "";
}

void gf_context_cancel(gf_context* context, int on) {
  if (context) context->shared->cancel = on != 0;
}

gf_status gf_context_set_profiling(gf_context* context, int on) {
  return guard(context, [&] {
    context->shared->device->set_profiling(on != 0);
    return GF_OK;
  });
}

gf_status gf_context_profile(gf_context* context, gf_profile_entry* out, size_t capacity,
                             size_t* count) {
  return guard(context, [&] {
    require(count, "count");
    const std::vector<ProfileEntry> entries = context->shared->device->profile();
    write_structs(out, capacity, entries.size(), [&](size_t i) {
      gf_profile_entry entry = {0, "", entries[i].calls, entries[i].seconds};
      std::snprintf(entry.name, sizeof entry.name, "%s", entries[i].name.c_str());
      return entry;
    });
    *count = entries.size();
    return GF_OK;
  });
}

const char* gf_context_description(const gf_context* context) {
  return context ? context->shared->description.c_str() : "";
}
