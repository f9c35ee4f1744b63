#include "cuda_library.h"

#include <dlfcn.h>

#include <filesystem>

#include "base/error.h"

namespace gf {
namespace {

constexpr const char* kName = "libgrassflow_cuda.so.0";

// The directory of the object that this code is part of: libgrassflow's own, where both are
// installed.
std::filesystem::path own_directory() {
  Dl_info info = {};
  if (!dladdr(reinterpret_cast<const void*>(&own_directory), &info) || !info.dli_fname) return {};
  return std::filesystem::path(info.dli_fname).parent_path();
}

// Beside this library, else wherever the dynamic loader looks. Never closed: what it made may
// outlive any owner that could close it.
void* open_library() {
  const std::filesystem::path beside = own_directory() / kName;
  std::error_code ignored;
  const bool is_beside = std::filesystem::exists(beside, ignored);
  void* library = dlopen(is_beside ? beside.c_str() : kName, RTLD_NOW | RTLD_LOCAL);
  if (library) return library;
  const char* reason = dlerror();
  throw_error(GF_ERROR_UNSUPPORTED, "device \"cuda\": the CUDA backend cannot be loaded: %s",
              reason ? reason : kName);
}

}  // namespace

std::shared_ptr<Device> make_cuda_device(const CudaOptions& options) {
  void* library = open_library();
  const auto create =
      reinterpret_cast<gf_cuda_device_create_fn>(dlsym(library, "gf_cuda_device_create"));
  std::shared_ptr<Device> device;
  std::string error;
  const gf_status status =
      create ? create(GF_BUILD_ID, &options, &device, &error) : GF_ERROR_MISMATCH;
  if (status == GF_ERROR_MISMATCH) {
    throw_error(GF_ERROR_UNSUPPORTED, "%s is of another build than libgrassflow, which is %s",
                kName, GF_BUILD_ID);
  }
  if (status != GF_OK) throw_error(status, "%s", error.c_str());
  return device;
}

}  // namespace gf
