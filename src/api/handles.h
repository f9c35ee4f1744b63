#pragma once

// What stands behind the opaque handles, and the guard that every call goes through.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "base/error.h"
#include "data/dataset.h"
#include "device.h"
#include "text/tokenizer.h"
#include "train/trainer.h"

namespace gf::api {

// Shared by a context and all handles made from it.
struct Context {
  std::shared_ptr<Device> device;
  std::string description;
  std::string error;
  gf_log_fn log = nullptr;
  void* log_user = nullptr;
  // What gf_context_cancel() sets, perhaps in a signal handler, and evaluations settle.
  std::atomic<bool> cancel = false;
  static_assert(std::atomic<bool>::is_always_lock_free);
};

using ContextPtr = std::shared_ptr<Context>;

}  // namespace gf::api

struct gf_context {
  gf::api::ContextPtr shared;
};

struct gf_tokenizer {
  gf::api::ContextPtr context;
  std::shared_ptr<const gf::Tokenizer> tokenizer;
};

struct gf_dataset {
  gf::api::ContextPtr context;
  std::shared_ptr<const gf::Dataset> dataset;
};

struct gf_model {
  gf::api::ContextPtr context;
  std::shared_ptr<gf::Model> model;
};

struct gf_trainer {
  gf::api::ContextPtr context;
  std::unique_ptr<gf::Trainer> trainer;
  gf_progress_fn progress = nullptr;
  void* progress_user = nullptr;
};

namespace gf::api {

inline const ContextPtr& context_of(const gf_context* handle) {
  return handle->shared;
}
template <class Handle>
const ContextPtr& context_of(const Handle* handle) {
  return handle->context;
}

// Runs a body, which returns its status or throws; the text of what it threw goes to `text`.
template <class Body>
gf_status guard_text(std::string& text, const Body& body) noexcept {
  try {
    try {
      return body();
    } catch (const Error& error) {
      text = error.what();
      return error.status();
    } catch (const std::bad_alloc&) {
      text = "out of memory";
      return GF_ERROR_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
      text = std::string("internal error: ") + error.what();
      return GF_ERROR_INTERNAL;
    }
  } catch (...) {  // also when the text itself could not be kept
    return GF_ERROR_INTERNAL;
  }
}

// The same for a call on a handle: the text stands on its context.
template <class Handle, class Body>
gf_status guard(const Handle* handle, const Body& body) noexcept {
  if (!handle) return GF_ERROR_INVALID_ARGUMENT;
  Context& context = *context_of(handle);
  return guard_text(context.error, [&] {
    const Binding binding(*context.device);
    return body();
  });
}

// Ends a handle, perhaps the last that its device has.
template <class Handle>
void free_handle(Handle* handle) noexcept {
  if (!handle) return;
  const std::shared_ptr<Device> device = context_of(handle)->device;
  const Binding binding(*device);
  delete handle;
}

inline void require(const void* pointer, const char* name) {
  if (!pointer) throw_error(GF_ERROR_INVALID_ARGUMENT, "%s is NULL", name);
}

// Sets up a caller's option struct of `size` bytes: the defaults as far as they reach into it,
// zero, which is unset, where a newer caller's struct goes on.
template <class Struct>
void init_struct(Struct* out, size_t size, Struct defaults) {
  if (!out || size < sizeof(size_t)) return;
  std::memset(static_cast<void*>(out), 0, size);
  defaults.struct_size = size;
  std::memcpy(static_cast<void*>(out), &defaults, std::min(size, sizeof(Struct)));
}

// What an older or newer caller's struct says, the rest from `defaults`. A newer caller's further
// fields must be unset, since nothing here knows what they ask for.
template <class Struct>
Struct read_struct(const Struct* from, Struct defaults, const char* name) {
  if (!from) return defaults;
  const size_t size = from->struct_size;
  if (size < sizeof(size_t)) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "%s.struct_size is %zu: the struct was not set up", name,
                size);
  }
  const char* bytes = reinterpret_cast<const char*>(from);
  if (size > sizeof(Struct) &&
      std::any_of(bytes + sizeof(Struct), bytes + size, [](char b) { return b != 0; })) {
    throw_error(GF_ERROR_UNSUPPORTED, "%s has fields set that version %s does not know", name,
                gf_version_string());
  }
  std::memcpy(static_cast<void*>(&defaults), bytes, std::min(size, sizeof(Struct)));
  defaults.struct_size = sizeof(Struct);
  return defaults;
}

// Throws unless a caller's struct can receive something; before any work is done for it.
template <class Struct>
void require_struct(const Struct* out, const char* name) {
  require(out, name);
  if (out->struct_size < sizeof(size_t)) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "%s.struct_size is %zu: set it to sizeof", name,
                out->struct_size);
  }
}

// As much of `value` as the caller's struct has room for.
template <class Struct>
void write_struct(Struct* out, Struct value) {
  value.struct_size = out->struct_size;
  std::memcpy(static_cast<void*>(out), &value, std::min(out->struct_size, sizeof(Struct)));
}

// The first `count` values, as many as the caller's array of `capacity` structs has room for; the
// first one's struct_size counts for all.
template <class Struct, class Value>
void write_structs(Struct* out, size_t capacity, size_t count, const Value& value) {
  if (capacity == 0) return;
  require_struct(out, "out");
  const size_t stride = out->struct_size;
  for (size_t i = 0; i < std::min(capacity, count); ++i) {
    auto* entry = reinterpret_cast<Struct*>(reinterpret_cast<char*>(out) + i * stride);
    entry->struct_size = stride;
    write_struct(entry, value(i));
  }
}

}  // namespace gf::api
