#pragma once

#include <memory>

#include "base/mat.h"
#include "gpu.h"

namespace gf::cuda {

class CudnnAttention;

enum class AttentionKind { kOwn, kCudnn };

// The operations attention and attention_backward of ops.h. Their heads go through cuDNN, where
// that was asked for; through kernels on tensor cores; or, in fp32 and where a head size or an
// alignment suits neither, through plain ones.
class Attention {
 public:
  // Throws GF_ERROR_UNSUPPORTED with the reason where cuDNN is asked for and cannot be had.
  explicit Attention(Gpu& gpu, AttentionKind kind = AttentionKind::kOwn);
  ~Attention();

  void forward(const Act& qkv, int64_t sequences, int64_t length, int64_t heads, const Act& out,
               const Mat& lse);
  void backward(const Act& dout, const Act& qkv, const Act& out, const Mat& lse, int64_t sequences,
                int64_t length, int64_t heads, const Act& dqkv);

 private:
  Gpu& gpu_;
  std::unique_ptr<CudnnAttention> cudnn_;  // null: not asked for
};

}  // namespace gf::cuda
