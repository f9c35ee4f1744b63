#pragma once

#include <memory>
#include <vector>

#include "device.h"
#include "gpu.h"
#include "hopper.h"
#include "ops.h"

namespace gf::cuda {

class Attention;  // plans of cuDNN, by shape
class Products;   // plans of cuBLASLt, by shape

// The operations on a GPU, each in the file of its name; formulas and shapes stand in ops.h.
// Act's element, 4 or 2 bytes, decides between fp32 and bf16.
class CudaOps final : public Ops {
 public:
  CudaOps(Gpu& gpu, Device& device, const CudaOptions& options);
  ~CudaOps() override;

  void gather(const Bucket& bucket, const EpochOrder& order, const StepState* state,
              const Batch& batch) override;
  void embed(const Batch& batch, const Param& tokens, const Param& positions,
             const Dropout& dropout, const Mat& x) override;
  void embed_backward(const Batch& batch, const Mat& dx, const Dropout& dropout,
                      const Param& tokens, const Param& positions) override;
  void norm(const Mat& x, const Norm& norm, const Mat& stats, const Act& h) override;
  void norm_backward(const Act& dh, const Mat& x, const Mat& stats, const Norm& norm,
                     const Mat& dx) override;
  void add_norm(const Mat& x, const Act& y, const Dropout& dropout, const Norm& norm,
                const Mat& x_out, const Mat& stats, const Act& h) override;
  void add_norm_backward(const Act& dh, const Mat& x_out, const Mat& stats, const Dropout& dropout,
                         const Norm& norm, const Mat& dx, const Act& dy) override;
  void linear(const Act& x, const Linear& layer, const Act& y) override;
  void linear_backward(const Act& dy, const Act& x, const Linear& layer, const Act& dx,
                       bool accumulate) override;
  void linear_gelu(const Act& x, const Linear& layer, const Dropout& dropout, const Act& u,
                   const Act& a) override;
  void gelu_linear_backward(const Act& dy, const Act& u, const Dropout& dropout,
                            const Linear& layer, const Act& du) override;
  void attention(const Act& qkv, int64_t sequences, int64_t length, int64_t heads, const Act& out,
                 const Mat& lse) override;
  void attention_backward(const Act& dout, const Act& qkv, const Act& out, const Mat& lse,
                          int64_t sequences, int64_t length, int64_t heads,
                          const Act& dqkv) override;
  void plucker(const Act& z, int64_t sequences, int64_t length, const Windows& windows,
               const Linear& layer, const Act& p, const Act& g) override;
  void plucker_backward(const Act& dg, const Act& z, int64_t sequences, int64_t length,
                        const Windows& windows, const Linear& layer, const Act& p, const Act& dp,
                        const Act& dz) override;
  void gate_add_norm(const Mat& x, const Act& hg, const Act& gate, const Norm& inner,
                     const Dropout& dropout, const Norm& outer, const Mat& x_out,
                     const Mat& inner_stats, const Mat& outer_stats, const Act& h_out) override;
  void gate_add_norm_backward(const Act& dh_out, const Mat& x_out, const Act& hg, const Act& gate,
                              const Mat& inner_stats, const Mat& outer_stats, const Norm& inner,
                              const Dropout& dropout, const Norm& outer, const Mat& dx,
                              const Act& dhg, const Act& dgate) override;
  void logits(const Act& h, const Param& tokens, const Mat& logits) override;
  void lm_loss(const Act& h, const Param& tokens, const Batch& batch, const Act& panel,
               LossSum* loss) override;
  void lm_loss_backward(const Act& h, const Param& tokens, const Batch& batch, const Act& panel,
                        LossSum* loss, const Act& dh) override;
  void classify(const Act& h, const Batch& batch, const Dropout& dropout, const Linear& layer,
                const Mat& pooled, const Mat& logits) override;
  void class_loss(const Mat& logits, const Batch& batch, LossSum* loss,
                  int64_t* confusion) override;
  void classify_backward(const Mat& pooled, const Mat& logits, const Batch& batch,
                         const Dropout& dropout, const Linear& layer, LossSum* loss,
                         const Act& dh) override;
  void settle() override;
  void squared_norm(const Mat& grad, double* out) override;
  void adamw(const Parameters& parameters, const AdamW& options, const StepState* state,
             const double* squared_norm, const LossSum* loss) override;
  void finish_step(const LossSum* loss, const double* squared_norm, int64_t batches,
                   StepState* state, StepResult* results, int64_t capacity) override;

  // What follows waits for all gradients of parameters.
  void join();
  // After an error: none is waited for any more.
  void forget();

 private:
  // weight.grad = dy^T x and, unless it is null, bias = column sums of dy: with the others of a
  // part of the backward pass when it ends, and beside what follows.
  void parameter_gradients(const Act& dy, const Act& x, const Linear& layer, float* bias);
  void make_gradients();

  Gpu& gpu_;
  Device& device_;                                 // for the names of ranges
  std::vector<hopper::WeightGradient> gradients_;  // to be made
  std::unique_ptr<Products> products_;
  std::unique_ptr<Attention> attention_;
};

}  // namespace gf::cuda
