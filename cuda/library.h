#pragma once

#include <memory>

#include "device.h"

namespace gf::cuda {

std::shared_ptr<Device> make_device(const CudaOptions& options);

}  // namespace gf::cuda
