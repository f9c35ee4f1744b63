#include "cuda_ops.h"

#include "attention.h"
#include "products.h"

namespace gf::cuda {

CudaOps::CudaOps(Gpu& gpu, Device& device, const CudaOptions& options)
    : gpu_(gpu),
      device_(device),
      products_(std::make_unique<Products>(gpu)),
      attention_(std::make_unique<Attention>(
          gpu, options.cudnn_attention ? AttentionKind::kCudnn : AttentionKind::kOwn)) {}

CudaOps::~CudaOps() = default;

}  // namespace gf::cuda
