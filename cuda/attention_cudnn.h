#pragma once

#include <memory>

#include "base/mat.h"
#include "gpu.h"

namespace gf::cuda {

// Attention of ops.h in bf16 through cuDNN, whose library is opened when it is first asked for. All
// rows are to begin on 16 bytes.
class CudnnAttention {
 public:
  // Throws GF_ERROR_UNSUPPORTED where there is no cuDNN or one that is too old.
  explicit CudnnAttention(Gpu& gpu);
  ~CudnnAttention();

  void forward(const Act& qkv, int64_t sequences, int64_t length, int64_t heads, const Act& out,
               const Mat& lse);
  void backward(const Act& dout, const Act& qkv, const Act& out, const Mat& lse, int64_t sequences,
                int64_t length, int64_t heads, const Act& dqkv);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gf::cuda
