#include "attention.h"

#include "attention_cudnn.h"
#include "attention_plain.h"
#include "cuda_ops.h"
#include "flash.cuh"

namespace gf::cuda {
namespace {

// Whether copies of 16 bytes meet every row of every head.
bool suits_flash(const Act& a, int64_t size) {
  return a.element == sizeof(bf16) && is_vectored(a) && flash::supports(size);
}

flash::Operands flash_operands(const Act& qkv, const Act& out, const Mat& lse, int64_t sequences,
                               int64_t length, int64_t heads) {
  flash::Operands o = {};
  o.qkv = data<bf16>(qkv), o.qkv_ld = qkv.ld;
  o.out = data<bf16>(out), o.out_ld = out.ld;
  o.lse = lse.data, o.lse_ld = lse.ld;
  o.width = out.cols;
  o.sequences = static_cast<int>(sequences), o.length = static_cast<int>(length);
  o.heads = static_cast<int>(heads), o.size = static_cast<int>(out.cols / heads);
  o.scale = 1.0f / std::sqrt(static_cast<float>(o.size));
  return o;
}

}  // namespace

Attention::Attention(Gpu& gpu, AttentionKind kind) : gpu_(gpu) {
  if (kind == AttentionKind::kCudnn) cudnn_ = std::make_unique<CudnnAttention>(gpu);
}

Attention::~Attention() = default;

void Attention::forward(const Act& qkv, int64_t sequences, int64_t length, int64_t heads,
                        const Act& out, const Mat& lse) {
  const int64_t size = out.cols / heads;
  if (!suits_flash(qkv, size) || !suits_flash(out, size)) {
    plain_attention(gpu_, qkv, sequences, length, heads, out, lse);
  } else if (cudnn_) {
    cudnn_->forward(qkv, sequences, length, heads, out, lse);
  } else {
    flash::forward(gpu_, flash_operands(qkv, out, lse, sequences, length, heads));
  }
}

void Attention::backward(const Act& dout, const Act& qkv, const Act& out, const Mat& lse,
                         int64_t sequences, int64_t length, int64_t heads, const Act& dqkv) {
  const int64_t size = out.cols / heads;
  if (!suits_flash(qkv, size) || !suits_flash(out, size) || !suits_flash(dout, size) ||
      !suits_flash(dqkv, size)) {
    plain_attention_backward(gpu_, dout, qkv, out, lse, sequences, length, heads, dqkv);
  } else if (cudnn_) {
    cudnn_->backward(dout, qkv, out, lse, sequences, length, heads, dqkv);
  } else {
    flash::Operands o = flash_operands(qkv, out, lse, sequences, length, heads);
    o.dout = data<bf16>(dout), o.dout_ld = dout.ld;
    o.dqkv = data<bf16>(dqkv), o.dqkv_ld = dqkv.ld;
    flash::backward(gpu_, o);
  }
}

void CudaOps::attention(const Act& qkv, int64_t sequences, int64_t length, int64_t heads,
                        const Act& out, const Mat& lse) {
  const Range range(device_, "attention");
  attention_->forward(qkv, sequences, length, heads, out, lse);
}

void CudaOps::attention_backward(const Act& dout, const Act& qkv, const Act& out, const Mat& lse,
                                 int64_t sequences, int64_t length, int64_t heads,
                                 const Act& dqkv) {
  const Range range(device_, "attention_backward");
  attention_->backward(dout, qkv, out, lse, sequences, length, heads, dqkv);
}

}  // namespace gf::cuda
