// Scaffold while the operations are being written: each goes when its file comes.
#include "base/error.h"
#include "cpu/cpu_ops.h"

namespace gf {
void CpuOps::embed(const Batch&, const Param&, const Param&, const Dropout&, const Mat&) { throw_error(GF_ERROR_UNSUPPORTED, "embed"); }
void CpuOps::embed_backward(const Batch&, const Mat&, const Dropout&, const Param&, const Param&) { throw_error(GF_ERROR_UNSUPPORTED, "embed_backward"); }
void CpuOps::norm(const Mat&, const Norm&, const Mat&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "norm"); }
void CpuOps::norm_backward(const Act&, const Mat&, const Mat&, const Norm&, const Mat&) { throw_error(GF_ERROR_UNSUPPORTED, "norm_backward"); }
void CpuOps::add_norm(const Mat&, const Act&, const Dropout&, const Norm&, const Mat&, const Mat&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "add_norm"); }
void CpuOps::add_norm_backward(const Act&, const Mat&, const Mat&, const Dropout&, const Norm&, const Mat&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "add_norm_backward"); }
void CpuOps::plucker(const Act&, int64_t, int64_t, std::span<const int32_t>, const Linear&, const Act&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "plucker"); }
void CpuOps::plucker_backward(const Act&, const Act&, int64_t, int64_t, std::span<const int32_t>, const Linear&, const Act&, const Act&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "plucker_backward"); }
void CpuOps::gate_add_norm(const Mat&, const Act&, const Act&, const Norm&, const Dropout&, const Norm&, const Mat&, const Mat&, const Mat&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "gate_add_norm"); }
void CpuOps::gate_add_norm_backward(const Act&, const Mat&, const Act&, const Act&, const Mat&, const Mat&, const Norm&, const Dropout&, const Norm&, const Mat&, const Act&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "gate_add_norm_backward"); }
}  // namespace gf
