// Scaffold while the operations are being written: each goes when its file comes.
#include "base/error.h"
#include "cpu/cpu_ops.h"

namespace gf {
void CpuOps::gather(const int32_t*, int64_t, int64_t, int64_t, const StepState*, int32_t*) { throw_error(GF_ERROR_UNSUPPORTED, "gather"); }
void CpuOps::embed(const Batch&, const Param&, const Param&, const Dropout&, const Mat&) { throw_error(GF_ERROR_UNSUPPORTED, "embed"); }
void CpuOps::embed_backward(const Batch&, const Mat&, const Dropout&, const Param&, const Param&) { throw_error(GF_ERROR_UNSUPPORTED, "embed_backward"); }
void CpuOps::norm(const Mat&, const Norm&, const Mat&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "norm"); }
void CpuOps::norm_backward(const Act&, const Mat&, const Mat&, const Norm&, const Mat&) { throw_error(GF_ERROR_UNSUPPORTED, "norm_backward"); }
void CpuOps::add_norm(const Mat&, const Act&, const Dropout&, const Norm&, const Mat&, const Mat&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "add_norm"); }
void CpuOps::add_norm_backward(const Act&, const Mat&, const Mat&, const Dropout&, const Norm&, const Mat&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "add_norm_backward"); }
void CpuOps::linear(const Act&, const Linear&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "linear"); }
void CpuOps::linear_backward(const Act&, const Act&, const Linear&, const Act&, bool) { throw_error(GF_ERROR_UNSUPPORTED, "linear_backward"); }
void CpuOps::linear_gelu(const Act&, const Linear&, const Dropout&, const Act&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "linear_gelu"); }
void CpuOps::linear_gelu_backward(const Act&, const Act&, const Act&, const Linear&, const Dropout&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "linear_gelu_backward"); }
void CpuOps::attention(const Act&, int64_t, int64_t, int64_t, const Act&, const Mat&) { throw_error(GF_ERROR_UNSUPPORTED, "attention"); }
void CpuOps::attention_backward(const Act&, const Act&, const Act&, const Mat&, int64_t, int64_t, int64_t, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "attention_backward"); }
void CpuOps::plucker(const Act&, int64_t, int64_t, std::span<const int32_t>, const Linear&, const Act&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "plucker"); }
void CpuOps::plucker_backward(const Act&, const Act&, int64_t, int64_t, std::span<const int32_t>, const Linear&, const Act&, const Act&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "plucker_backward"); }
void CpuOps::gate_add_norm(const Mat&, const Act&, const Act&, const Norm&, const Dropout&, const Norm&, const Mat&, const Mat&, const Mat&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "gate_add_norm"); }
void CpuOps::gate_add_norm_backward(const Act&, const Mat&, const Act&, const Act&, const Mat&, const Mat&, const Norm&, const Dropout&, const Norm&, const Mat&, const Act&, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "gate_add_norm_backward"); }
void CpuOps::logits(const Act&, const Param&, const Mat&) { throw_error(GF_ERROR_UNSUPPORTED, "logits"); }
void CpuOps::lm_loss(const Act&, const Param&, const Batch&, const Mat&, LossSum*) { throw_error(GF_ERROR_UNSUPPORTED, "lm_loss"); }
void CpuOps::lm_loss_backward(const Act&, const Param&, const Batch&, const Mat&, LossSum*, const Act&) { throw_error(GF_ERROR_UNSUPPORTED, "lm_loss_backward"); }
void CpuOps::squared_norm(const Mat&, double*) { throw_error(GF_ERROR_UNSUPPORTED, "squared_norm"); }
void CpuOps::adamw(const Parameters&, const AdamW&, const StepState*, const double*, const LossSum*) { throw_error(GF_ERROR_UNSUPPORTED, "adamw"); }
}  // namespace gf
