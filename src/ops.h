#pragma once

// Every operation of the two models, forward above its backward, with the shapes of its operands.
// src/cpu and cuda/ implement the class; src/model composes it; nobody else needs to.
//
// M = B * T rows of a batch; D model width; F feed-forward width; r reduced width; V vocabulary.
// x and dx are the residual stream and its gradient, always fp32 (Mat). h is x after a LayerNorm.
// What enters or leaves a matrix product is an Act. A backward op **writes** the gradients of its
// parameters (Param::grad) and of its inputs, except where it says "adds". All reductions have a
// fixed order: the results of an op depend on neither the number of threads nor the schedule.
//
// The gradients of parameters are wanted late, so a GPU may make them beside the operations that
// follow: what a backward op reads must stay as it is until settle() has been called twice.

#include <cstdint>
#include <span>
#include <vector>

#include "base/mat.h"
#include "math.h"

namespace gf {

// What the random numbers and the learning rate of a step depend on. Lives in device memory, so
// that a recorded step can be replayed for another one.
struct StepState {
  uint64_t seed = 0;
  int64_t step = 0;     // steps done
  int64_t epoch = 0;    // epochs done
  int64_t cursor = 0;   // batches of this epoch already seen
  int64_t stopped = 0;  // not 0 after a step whose loss or gradient was not finite: nothing moves

  // Past a step; an epoch has so many batches.
  GF_INLINE void move_on(int64_t batches) {
    ++step;
    if (++cursor < batches) return;
    ++epoch;
    cursor = 0;
  }
};

// How an epoch goes through a dataset. Its batches are numbered bucket by bucket, those of a bucket
// one after the other, each of batch_size sequences but for a bucket's last.
struct EpochOrder {
  int64_t batch_size = 0;
  int64_t batches = 0;
  bool shuffled = false;  // the sequences of a bucket are permuted; else they come in their order
  bool mixed = false;     // the batches are permuted; of one bucket there is no need

  // Number of the batch at the cursor.
  GF_INLINE int64_t batch_at(const StepState& s) const {
    if (!mixed) return s.cursor;
    return static_cast<int64_t>(permuted(s.seed, static_cast<uint64_t>(s.epoch),
                                         static_cast<uint64_t>(s.cursor),
                                         static_cast<uint64_t>(batches)));
  }
  // Which of the `count` sequences of a bucket, whose first batch is number first_batch, is
  // sequence b of the batch at the cursor. Of another bucket's batch, which a step behind a stopped
  // one may find there, any will do.
  GF_INLINE int64_t sequence_at(const StepState& s, int64_t first_batch, int64_t count,
                                int64_t b) const {
    const auto place = static_cast<uint64_t>((batch_at(s) - first_batch) * batch_size + b);
    const auto n = static_cast<uint64_t>(count);
    return static_cast<int64_t>(
        shuffled ? permuted(s.seed, static_cast<uint64_t>(s.epoch), place, n) : place % n);
  }
};

// What a step leaves for the host.
struct StepResult {
  int64_t step = 0;  // steps done before it
  double loss_sum = 0;
  int64_t loss_count = 0;
  double squared_norm = 0;  // of the gradient
};

// Dropout of one site of the model. Its mask is recomputed in the backward pass, never stored.
struct Dropout {
  uint32_t threshold = 0;            // dropout_threshold(p); 0: no dropout, state unused
  uint32_t site = 0;                 // stream of random bits, one per place in the model
  const StepState* state = nullptr;  // device memory
};

// Sequences of one length, padded at their end where they are shorter; all in device memory.
struct Bucket {
  const int32_t* ids = nullptr;      // [count, T]
  const int32_t* lengths = nullptr;  // [count], without padding; null for a language model
  const int32_t* labels = nullptr;   // [count]; null for a language model
  int64_t count = 0;
  int64_t length = 0;       // T
  int64_t first_batch = 0;  // number of its first batch among those of an epoch
};

// B sequences of T ids, row-major, in device memory.
struct Batch {
  int32_t* ids = nullptr;  // [B, T]
  int64_t sequences = 0;
  int64_t length = 0;
  int32_t* lengths = nullptr;  // [B], without padding; null for a language model
  int32_t* labels = nullptr;   // [B]; null for a language model

  int64_t rows() const { return sequences * length; }
};

struct Linear {
  Param weight;  // [out, in]
  Param bias;    // [1, out]
};

// How a Grassmann layer looks back: each of its H heads, r columns of z side by side, by every
// offset.
struct Windows {
  std::vector<int32_t> offsets;
  int64_t heads = 1;
  Param weight;  // [H, number of offsets], read in fp32; empty: the mean over the valid offsets

  bool is_learned() const { return weight.value.rows > 0; }
};

struct Norm {
  Param gain;  // [1, D]
  Param bias;  // [1, D]
};

// Sum of the losses of the predicted tokens, or of the classified pairs, in device memory.
struct LossSum {
  double sum = 0;     // nats
  int64_t count = 0;  // predicted tokens or pairs
};

// The flat arrays behind all parameters, [n] each; padding between tensors is zero and stays zero.
struct Parameters {
  Mat value;
  Act act;
  Mat grad;
  Mat moment1;
  Mat moment2;
};

// Ops::finish_step on the memory it works on.
GF_INLINE void finish_step(const LossSum& loss, double squared_norm, int64_t batches,
                           StepState& state, StepResult* results, int64_t capacity) {
  if (state.stopped) return;
  results[state.step % capacity] = {state.step, loss.sum, loss.count, squared_norm};
  if (!is_finite(loss.sum) || !is_finite(squared_norm)) {
    state.stopped = 1;
    return;
  }
  state.move_on(batches);
}

class Ops {
 public:
  virtual ~Ops() = default;

  // ---- Data ----------------------------------------------------------------------------------

  // batch[b] = bucket[order.sequence_at(state, ..., b)]: ids and, where the bucket has them, length
  // and label. The batch at the state's cursor must be one of this bucket.
  virtual void gather(const Bucket& bucket, const EpochOrder& order, const StepState* state,
                      const Batch& batch) = 0;

  // ---- Embedding -----------------------------------------------------------------------------

  // x[b, t] = dropout(tokens[ids[b, t]] + positions[t]); tokens [V, D], positions [L, D].
  virtual void embed(const Batch& batch, const Param& tokens, const Param& positions,
                     const Dropout& dropout, const Mat& x) = 0;
  // **Adds** to tokens.grad, which lm_loss_backward has written or a classifier has zeroed; writes
  // positions.grad (zero from T on). dx is not changed.
  virtual void embed_backward(const Batch& batch, const Mat& dx, const Dropout& dropout,
                              const Param& tokens, const Param& positions) = 0;

  // ---- Normalisation and the residual stream -------------------------------------------------

  // h = gain * (x - mean) / sqrt(var + 1e-5) + bias by row; stats [M, 2] = mean and 1 / sqrt(...).
  virtual void norm(const Mat& x, const Norm& norm, const Mat& stats, const Act& h) = 0;
  // **Adds** the gradient through the norm to dx.
  virtual void norm_backward(const Act& dh, const Mat& x, const Mat& stats, const Norm& norm,
                             const Mat& dx) = 0;

  // x_out = x + dropout(y); h = norm(x_out). x_out may be x.
  virtual void add_norm(const Mat& x, const Act& y, const Dropout& dropout, const Norm& norm,
                        const Mat& x_out, const Mat& stats, const Act& h) = 0;
  // On entry dx is the gradient of x_out from above the norm; **adds** the one through the norm: dx
  // is then that of x. dy = dropout'(dx).
  virtual void add_norm_backward(const Act& dh, const Mat& x_out, const Mat& stats,
                                 const Dropout& dropout, const Norm& norm, const Mat& dx,
                                 const Act& dy) = 0;

  // ---- Products ------------------------------------------------------------------------------

  // y = x weight^T + bias; x [M, in], y [M, out].
  virtual void linear(const Act& x, const Linear& layer, const Act& y) = 0;
  // weight.grad = dy^T x, bias.grad = column sums of dy, dx = dy weight; with accumulate dx is
  // **added** to.
  virtual void linear_backward(const Act& dy, const Act& x, const Linear& layer, const Act& dx,
                               bool accumulate) = 0;

  // u = x weight^T + bias; a = dropout(gelu(u)), the exact (erf) GELU; u, a [M, F].
  virtual void linear_gelu(const Act& x, const Linear& layer, const Dropout& dropout, const Act& u,
                           const Act& a) = 0;
  // Of y = a weight^T + bias, a = dropout(gelu(u)): weight.grad = dy^T a, bias.grad = column sums
  // of dy, du = dropout'(dy weight) * gelu'(u); dy [M, out], u, du [M, F]. u becomes a: nobody
  // needs it any more, and the gradient of the weight may be made late.
  virtual void gelu_linear_backward(const Act& dy, const Act& u, const Dropout& dropout,
                                    const Linear& layer, const Act& du) = 0;

  // ---- Attention -----------------------------------------------------------------------------

  // out = softmax(q k^T / sqrt(D / H), causal) v by sequence and head; qkv [M, 3 D] = q | k | v,
  // each H heads of D / H; lse [M, H] = log-sum-exp of every row of scores.
  virtual void attention(const Act& qkv, int64_t sequences, int64_t length, int64_t heads,
                         const Act& out, const Mat& lse) = 0;
  virtual void attention_backward(const Act& dout, const Act& qkv, const Act& out, const Mat& lse,
                                  int64_t sequences, int64_t length, int64_t heads,
                                  const Act& dqkv) = 0;

  // ---- Grassmann mixing ----------------------------------------------------------------------

  // g = p weight^T + bias with p of each head = z_t ∧ w_t, the weighted sum over the valid offsets
  // d <= t of the normalised Plücker vectors of (z_t, z_{t-d}), by the one-wedge identity: w = Σ_d
  // a_d z_{t-d} / max(s_d, 1e-8), s_d = |z_t ∧ z_{t-d}| = |u| |v - (u·v / |u|²) u| for u = z_t, v =
  // z_{t-d}. a_d = 1 / n with n valid offsets, or the head's learned weight of offset d. An offset
  // that stands twice counts twice. Where no offset is valid g = 0, without the bias. z [M, H r], g
  // [M, D], weight [D, H r (r - 1) / 2]; p [M, H r (r - 1) / 2], head by head, is workspace.
  virtual void plucker(const Act& z, int64_t sequences, int64_t length, const Windows& windows,
                       const Linear& layer, const Act& p, const Act& g) = 0;
  // dz, weight.grad, bias.grad and, where they are learned, windows.weight->grad from dg; p and all
  // else recomputed from z. p and dp are workspace.
  virtual void plucker_backward(const Act& dg, const Act& z, int64_t sequences, int64_t length,
                                const Windows& windows, const Linear& layer, const Act& p,
                                const Act& dp, const Act& dz) = 0;

  // α = sigmoid(gate); m = α h + (1 - α) g; x_out = x + dropout(inner(m)); h_out = outer(x_out).
  // hg [M, 2 D] = h | g; gate [M, D]. inner_stats, outer_stats [M, 2]. x_out may be x.
  virtual void gate_add_norm(const Mat& x, const Act& hg, const Act& gate, const Norm& inner,
                             const Dropout& dropout, const Norm& outer, const Mat& x_out,
                             const Mat& inner_stats, const Mat& outer_stats, const Act& h_out) = 0;
  // On entry dx is the gradient of x_out from above the norm; **adds** the one through it. dhg is
  // what reaches h and g through the blend alone; dgate reaches both through the gate's product.
  virtual void gate_add_norm_backward(const Act& dh_out, const Mat& x_out, const Act& hg,
                                      const Act& gate, const Mat& inner_stats,
                                      const Mat& outer_stats, const Norm& inner,
                                      const Dropout& dropout, const Norm& outer, const Mat& dx,
                                      const Act& dhg, const Act& dgate) = 0;

  // ---- Language-model head -------------------------------------------------------------------

  // logits = h tokens^T; logits [M, V] fp32.
  virtual void logits(const Act& h, const Param& tokens, const Mat& logits) = 0;
  // Cross-entropy of ids[b, t + 1] given h[b, t], t < T - 1; **adds** to loss. panel [R, V or more]
  // is workspace: logits exist R rows at a time, never [M, V].
  virtual void lm_loss(const Act& h, const Param& tokens, const Batch& batch, const Act& panel,
                       LossSum* loss) = 0;
  // Writes loss; gradients of the mean over the batch: dh (zero at t = T - 1) and tokens.grad.
  virtual void lm_loss_backward(const Act& h, const Param& tokens, const Batch& batch,
                                const Act& panel, LossSum* loss, const Act& dh) = 0;

  // ---- Pair classifier -------------------------------------------------------------------------

  // pooled[b] = dropout(mean of h[b, t] over t < lengths[b]); logits = pooled weight^T + bias, with
  // the fp32 values. pooled [B, D], logits [B, C], C at most GF_MAX_CLASSES.
  virtual void classify(const Act& h, const Batch& batch, const Dropout& dropout,
                        const Linear& layer, const Mat& pooled, const Mat& logits) = 0;
  // Cross-entropy of the labels: **adds** to loss, and **adds** 1 to confusion[labels[b], k] for
  // every b, k being the first of its largest logits. confusion [C, C] in device memory.
  virtual void class_loss(const Mat& logits, const Batch& batch, LossSum* loss,
                          int64_t* confusion) = 0;
  // Writes loss; gradients of the mean over the batch: dh (zero at padding), weight.grad and
  // bias.grad. pooled and logits are those of classify().
  virtual void classify_backward(const Mat& pooled, const Mat& logits, const Batch& batch,
                                 const Dropout& dropout, const Linear& layer, LossSum* loss,
                                 const Act& dh) = 0;

  // ---- Backward pass --------------------------------------------------------------------------

  // Ends a part of the backward pass; what the parts before it have read may be written again.
  virtual void settle() = 0;

  // ---- Optimizer -----------------------------------------------------------------------------

  // *out = Σ grad²; in device memory.
  virtual void squared_norm(const Mat& grad, double* out) = 0;
  // AdamW with decoupled decay (Loshchilov & Hutter, arXiv 1711.05101) for step state->step,
  // gradients scaled by min(1, clip / (sqrt(*squared_norm) + 1e-6)); renews the product-precision
  // copy. Does nothing when the norm or the loss is not finite, or the state is stopped.
  virtual void adamw(const Parameters& parameters, const AdamW& options, const StepState* state,
                     const double* squared_norm, const LossSum* loss) = 0;
  // Ends a step: results[state->step % capacity] = what it left. Then the state moves on by a step,
  // of which an epoch has `batches`; or, where norm or loss is not finite, it is stopped. Does
  // nothing to a stopped state. results is shared with the host.
  virtual void finish_step(const LossSum* loss, const double* squared_norm, int64_t batches,
                           StepState* state, StepResult* results, int64_t capacity) = 0;
};

}  // namespace gf
