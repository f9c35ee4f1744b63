// The one function that libgrassflow_cuda exports.

#include "library.h"

#include <cstring>

#include "base/error.h"
#include "cuda_library.h"

// Nothing is thrown across: it may be another build that calls.
extern "C" GF_API gf_status gf_cuda_device_create(const char* build, const gf::CudaOptions* options,
                                                  std::shared_ptr<gf::Device>* out,
                                                  std::string* error) noexcept {
  if (std::strcmp(build, GF_BUILD_ID) != 0) return GF_ERROR_MISMATCH;
  try {
    *out = gf::cuda::make_device(*options);
    return GF_OK;
  } catch (const gf::Error& failure) {
    *error = failure.what();
    return failure.status();
  } catch (const std::exception& failure) {
    *error = failure.what();
    return GF_ERROR_INTERNAL;
  }
}
