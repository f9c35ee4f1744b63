#pragma once

// How libgrassflow and libgrassflow_cuda, which it opens at run time, find each other.

#include <memory>
#include <string>

#include "build_id.h"  // GF_BUILD_ID: a digest of what the two agree on
#include "device.h"
#include "grassflow.h"

// GF_ERROR_MISMATCH when `build` is not the library's own, before anything else is touched; other
// failures leave their text in `error`.
using gf_cuda_device_create_fn = gf_status (*)(const char* build, const gf::CudaOptions* options,
                                               std::shared_ptr<gf::Device>* out,
                                               std::string* error);
