#pragma once

// Owners of the library's handles, and exceptions in place of its statuses.

#include <grassflow.h>

#include <memory>
#include <optional>
#include <string>

#include "tool.h"

namespace tools {

template <auto Free>
struct Release {
  template <class T>
  void operator()(T* handle) const {
    Free(handle);
  }
};

using Context = std::unique_ptr<gf_context, Release<gf_context_free>>;
using Tokenizer = std::unique_ptr<gf_tokenizer, Release<gf_tokenizer_free>>;
using Dataset = std::unique_ptr<gf_dataset, Release<gf_dataset_free>>;
using Model = std::unique_ptr<gf_model, Release<gf_model_free>>;
using Trainer = std::unique_ptr<gf_trainer, Release<gf_trainer_free>>;

// Throws Failure with the context's text unless the call succeeded.
inline void check(const Context& context, gf_status status) {
  if (status < 0) throw Failure(gf_context_error(context.get()));
}

// make<Model>(context, [&](gf_model** out) { return gf_model_load(context.get(), path, out); })
template <class Handle, class Call>
Handle make(const Context& context, const Call& call) {
  typename Handle::pointer handle = nullptr;
  check(context, call(&handle));
  return Handle(handle);
}

// device "auto", "cpu", "cuda", "cuda:N"; precision "" for the device's own; threads 0 for one per
// core. The library's warnings go to stderr after the tool's name.
Context make_context(const char* tool, const std::string& device, const std::string& precision,
                     int32_t threads, const std::string& attention = "own");

gf_model_config config_of(const Context& context, const Model& model);
gf_dataset_info info_of(const Context& context, const Dataset& dataset);
// Of what a pass over the data computes on.
double padded_share(const gf_dataset_info& info);
// Empty after a Ctrl-C that an InterruptGuard has noted.
std::optional<gf_eval_report> evaluate(const Context& context, const Model& model,
                                       const Dataset& dataset, int32_t batch_size);

// Number of scalars of all parameters together.
int64_t parameter_count(const Context& context, const gf_model_config& config);

// Text a checkpoint carries under a key; "" when there is none.
std::string metadata(const Model& model, const char* key);
void set_metadata(const Context& context, const Model& model, const char* key,
                  const std::string& value);
void remove_metadata(const Context& context, const Model& model, const char* key);

}  // namespace tools
