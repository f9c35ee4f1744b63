#pragma once

// Products of bf16 matrices on Hopper GPUs (sm_90), with what follows a product done on the
// accumulators: for shapes where cuBLASLt would leave a second pass over memory. All matrices are
// stored by rows; sums are fp32. M rows of a batch; see ops.h for the other letters.

#include <span>

#include "gpu.h"
#include "ops.h"

namespace gf::cuda::hopper {

// Whether the functions below take these operands of a product: an sm_90 GPU, bf16, rows that begin
// on 16 bytes. Results have to begin their rows on 16 bytes too.
bool takes(const Gpu& gpu, const Act& a, const Act& b);

// sums[k, i] = the sum of exp(h_i . tokens_j - shift_i) over the k-th tile of the vocabulary; h [R,
// D], tokens [V, D], sums [exp_sums_tiles(V), R].
int64_t exp_sums_tiles(int64_t vocabulary);
void exp_sums(Gpu& gpu, const Act& h, const Act& tokens, const float* shift, float* sums);

// The two products of the head's gradient with the logits made anew on the way; D is
// kWeightedWidth.
inline constexpr int kWeightedWidth = 256;
// out[s, i] = the sum of e_ij tokens_j over the s-th part of the vocabulary, sums[s, i] that of
// e_ij = exp(h_i . tokens_j - shift_i); out [splits, R, D], sums [splits, R].
int64_t weighted_tokens_splits(const Gpu& gpu, int64_t rows, int64_t vocabulary);
void weighted_tokens(Gpu& gpu, const Act& h, const Act& tokens, const float* shift, int64_t splits,
                     float* out, float* sums);
// What the second one is given beside its operands, and how much of it.
struct HiddenMemory {
  const float* bias;      // -infinity beyond R
  const int32_t* target;  // -1 beyond R
  float* parts;           // what blocks leave for each other
  int* ready;             // all 0 before each call
};
struct HiddenSizes {
  int64_t rows;  // of bias and target
  int64_t parts, ready;
};
HiddenSizes weighted_hidden_sizes(const Gpu& gpu, int64_t rows, int64_t vocabulary);
// dtokens_j = the sum over i of (2^(h_i . tokens_j log2(e) + bias_i) - scale [j = target_i]) h_i.
void weighted_hidden(Gpu& gpu, const Act& tokens, const Act& h, const HiddenMemory& memory,
                     float scale, const Mat& dtokens);

// y = x weight^T + bias; x [M, in], weight [out, in], y [M, out]. Made for narrow results.
void linear(Gpu& gpu, const Act& x, const Act& weight, const float* bias, const Act& y);

// u = x weight^T + bias, a = dropout(gelu(u)); u, a [M, F]; F is a multiple of 8 and the bias
// begins on 16 bytes.
void linear_gelu(Gpu& gpu, const Act& x, const Act& weight, const float* bias,
                 const Dropout& dropout, const Act& u, const Act& a);
// Of a = dropout(gelu(u)), y = a weight^T: du = dropout'(dy weight) * gelu'(u), and a again from u;
// dy [M, out], weight [out, F], u, a, du [M, F]; F is a multiple of 8. a or du may be u.
void gelu_backward(Gpu& gpu, const Act& dy, const Act& weight, const Act& u, const Dropout& dropout,
                   const Act& a, const Act& du);

// dw = dy^T x and db = the column sums of dy (unless db is null); dy [M, out], x [M, in], dw [out,
// in].
struct WeightGradient {
  Act dy, x;
  Mat dw;
  float* db;
};
inline constexpr int kMostGradients = 4;
// At most that many at once.
void weight_gradients(Gpu& gpu, std::span<const WeightGradient> gradients);

}  // namespace gf::cuda::hopper
