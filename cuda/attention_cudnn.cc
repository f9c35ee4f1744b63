#include "attention_cudnn.h"

#if __has_include(<cudnn.h>)

#include <cmath>
#include <limits>
#include <map>

#include "cudnn_graph.h"

namespace gf::cuda {
namespace {

using Shape = CudnnGraph::Shape;
using Tensor = CudnnGraph::Tensor;

// Identities of the tensors of both graphs.
enum : int64_t { kQ = 1, kK, kV, kOut, kLse, kDout, kDq, kDk, kDv, kMean, kScale, kLowest, kOne };

// What a plan depends on.
struct Key {
  bool backward;
  int64_t sequences, length, heads, size;
  int64_t qkv_ld, out_ld, lse_ld, dout_ld, dqkv_ld;

  auto operator<=>(const Key&) const = default;
};

// Sizes [B, H, T, D / H] of a head's columns in rows of `ld` elements.
Shape rows_of(const Key& key, int64_t ld) {
  return {{key.sequences, key.heads, key.length, key.size}, {key.length * ld, key.size, ld, 1}};
}

Shape transposed(Shape shape) {
  std::swap(shape.sizes[2], shape.sizes[3]);
  std::swap(shape.strides[2], shape.strides[3]);
  return shape;
}

// [B, H, T, T], and [B, H, T, 1] of one number a row, packed.
Shape scores_of(const Key& key) {
  const int64_t t = key.length, h = key.heads;
  return {{key.sequences, h, t, t}, {h * t * t, t * t, t, 1}};
}
Shape column_of(const Key& key) {
  const int64_t t = key.length, h = key.heads;
  return {{key.sequences, h, t, 1}, {h * t, t, 1, 1}};
}

// A graph of either pass.
struct Builder {
  const Key& key;
  CudnnGraph graph;
  Shape scores = scores_of(key), column = column_of(key);

  Tensor bf16(int64_t identity, const Shape& shape) {
    return graph.memory(identity, CUDNN_DATA_BFLOAT16, shape);
  }
  Tensor lse() {
    return graph.memory(kLse, CUDNN_DATA_FLOAT,
                        {column.sizes, {key.length * key.lse_ld, 1, key.lse_ld, 1}});
  }
  Tensor temporary(const Shape& shape) { return graph.temporary(CUDNN_DATA_FLOAT, shape); }
  Tensor apply(cudnnPointwiseMode_t mode, Tensor x, const Shape& shape) {
    Tensor y = temporary(shape);
    graph.pointwise(mode, x, y);
    return y;
  }
  Tensor apply(cudnnPointwiseMode_t mode, Tensor x, Tensor b, const Shape& shape) {
    Tensor y = temporary(shape);
    graph.pointwise(mode, x, b, y);
    return y;
  }
  Tensor product(Tensor a, Tensor b, const Shape& shape) {
    Tensor y = temporary(shape);
    graph.matmul(a, b, y);
    return y;
  }
  // In bf16, rows and columns exchanged.
  Tensor flipped(Tensor x, const Shape& shape) {
    Tensor y = graph.temporary(CUDNN_DATA_BFLOAT16, transposed(shape));
    graph.reshape(x, y);
    return y;
  }
  Tensor causal(Tensor x) {
    Tensor y = temporary(scores);
    graph.lower_triangle(x, graph.scalar(kLowest), scores, y);
    return y;
  }
};

// The operations by which cuDNN knows attention: two products around a softmax that is written out.
std::unique_ptr<CudnnPlan> forward_plan(const Cudnn& cudnn, const Key& key) {
  Builder b{key, CudnnGraph(cudnn)};
  const Shape rows = rows_of(key, key.qkv_ld);
  Tensor q = b.bf16(kQ, rows), k = b.bf16(kK, transposed(rows)), v = b.bf16(kV, rows);
  Tensor qk = b.product(q, k, b.scores);
  Tensor s = b.causal(b.apply(CUDNN_POINTWISE_MUL, qk, b.graph.scalar(kScale), b.scores));
  Tensor max = b.temporary(b.column), sum = b.temporary(b.column);
  b.graph.reduce(CUDNN_REDUCE_TENSOR_MAX, s, max);
  Tensor exponential =
      b.apply(CUDNN_POINTWISE_EXP, b.apply(CUDNN_POINTWISE_SUB, s, max, b.scores), b.scores);
  b.graph.reduce(CUDNN_REDUCE_TENSOR_ADD, exponential, sum);
  b.graph.pointwise(CUDNN_POINTWISE_ADD, max, b.apply(CUDNN_POINTWISE_LOG, sum, b.column), b.lse());
  Tensor p = b.graph.temporary(CUDNN_DATA_BFLOAT16, b.scores);
  b.graph.pointwise(CUDNN_POINTWISE_DIV, exponential, sum, p);
  b.graph.matmul(p, v, b.bf16(kOut, rows_of(key, key.out_ld)));
  return b.graph.plan("attention");
}

// The deterministic one of cuDNN's two graphs: dq is one product of dS, which passes through the
// workspace, and not a sum of atomic additions.
std::unique_ptr<CudnnPlan> backward_plan(const Cudnn& cudnn, const Key& key) {
  Builder b{key, CudnnGraph(cudnn)};
  const Shape rows = rows_of(key, key.qkv_ld), grad_rows = rows_of(key, key.dqkv_ld);
  Tensor q = b.bf16(kQ, rows), k = b.bf16(kK, transposed(rows)), v = b.bf16(kV, transposed(rows));
  Tensor out = b.bf16(kOut, rows_of(key, key.out_ld));
  Tensor dout = b.bf16(kDout, rows_of(key, key.dout_ld));
  Tensor scale = b.graph.scalar(kScale);

  const Shape packed = rows_of(key, key.heads * key.size);
  Tensor weighted = b.apply(CUDNN_POINTWISE_MUL, dout, out, packed);
  Tensor sum = b.temporary(b.column), mean = b.graph.memory(kMean, CUDNN_DATA_FLOAT, b.column);
  b.graph.reduce(CUDNN_REDUCE_TENSOR_ADD, weighted, sum);
  b.graph.pointwise(CUDNN_POINTWISE_MUL, sum, b.graph.scalar(kOne), mean);

  Tensor s = b.apply(CUDNN_POINTWISE_MUL, b.product(q, k, b.scores), scale, b.scores);
  Tensor shifted = b.causal(b.apply(CUDNN_POINTWISE_SUB, s, b.lse(), b.scores));
  Tensor p = b.apply(CUDNN_POINTWISE_EXP, shifted, b.scores);
  b.graph.matmul(b.flipped(p, b.scores), dout, b.bf16(kDv, grad_rows));

  Tensor dp = b.apply(CUDNN_POINTWISE_SUB, b.product(dout, v, b.scores), mean, b.scores);
  Tensor weighted_dp = b.apply(CUDNN_POINTWISE_MUL, dp, p, b.scores);
  Tensor ds = b.graph.temporary(CUDNN_DATA_BFLOAT16, b.scores);
  b.graph.pointwise(CUDNN_POINTWISE_MUL, weighted_dp, scale, ds);
  b.graph.matmul(b.flipped(ds, b.scores), q, b.bf16(kDk, grad_rows));
  b.graph.matmul(ds, b.flipped(k, transposed(rows)), b.bf16(kDq, grad_rows));
  return b.graph.plan("attention_backward");
}

int64_t align(int64_t bytes) {
  return (bytes + 255) / 256 * 256;
}

}  // namespace

struct CudnnAttention::State {
  explicit State(Gpu& owner) : gpu(owner), cudnn(owner.stream()) {}

  const CudnnPlan& plan(const Key& key) {
    std::unique_ptr<CudnnPlan>& plan = plans[key];
    if (!plan) plan = key.backward ? backward_plan(cudnn, key) : forward_plan(cudnn, key);
    return *plan;
  }

  Gpu& gpu;
  Cudnn cudnn;
  std::map<Key, std::unique_ptr<CudnnPlan>> plans;
};

CudnnAttention::CudnnAttention(Gpu& gpu) : state_(std::make_unique<State>(gpu)) {}

CudnnAttention::~CudnnAttention() = default;

void CudnnAttention::forward(const Act& qkv, int64_t sequences, int64_t length, int64_t heads,
                             const Act& out, const Mat& lse) {
  const int64_t width = out.cols, size = width / heads;
  const CudnnPlan& plan =
      state_->plan({false, sequences, length, heads, size, qkv.ld, out.ld, lse.ld, 0, 0});
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  const float lowest = std::numeric_limits<float>::lowest();
  std::byte* const workspace =
      state_->gpu.scratch<std::byte>(static_cast<int64_t>(plan.workspace_bytes()));
  plan.run({{kQ, qkv.data},
            {kK, qkv.columns(width, width).data},
            {kV, qkv.columns(2 * width, width).data},
            {kOut, out.data},
            {kLse, lse.data},
            {kScale, &scale},
            {kLowest, &lowest}},
           workspace);
}

void CudnnAttention::backward(const Act& dout, const Act& qkv, const Act& out, const Mat& lse,
                              int64_t sequences, int64_t length, int64_t heads, const Act& dqkv) {
  const int64_t width = out.cols, size = width / heads;
  const CudnnPlan& plan = state_->plan(
      {true, sequences, length, heads, size, qkv.ld, out.ld, lse.ld, dout.ld, dqkv.ld});
  const float scale = 1.0f / std::sqrt(static_cast<float>(size)), one = 1.0f;
  const float lowest = std::numeric_limits<float>::lowest();
  const int64_t mean_bytes =
      align(sequences * heads * length * static_cast<int64_t>(sizeof(float)));
  std::byte* const mean =
      state_->gpu.scratch<std::byte>(mean_bytes + static_cast<int64_t>(plan.workspace_bytes()));
  plan.run({{kQ, qkv.data},
            {kK, qkv.columns(width, width).data},
            {kV, qkv.columns(2 * width, width).data},
            {kOut, out.data},
            {kLse, lse.data},
            {kDout, dout.data},
            {kDq, dqkv.data},
            {kDk, dqkv.columns(width, width).data},
            {kDv, dqkv.columns(2 * width, width).data},
            {kMean, mean},
            {kScale, &scale},
            {kLowest, &lowest},
            {kOne, &one}},
           mean + mean_bytes);
}

}  // namespace gf::cuda

#else

namespace gf::cuda {

struct CudnnAttention::State {};

CudnnAttention::CudnnAttention(Gpu&) {
  throw_error(GF_ERROR_UNSUPPORTED, "this build has no cuDNN: its header was not installed");
}

CudnnAttention::~CudnnAttention() = default;

void CudnnAttention::forward(const Act&, int64_t, int64_t, int64_t, const Act&, const Mat&) {}

void CudnnAttention::backward(const Act&, const Act&, const Act&, const Mat&, int64_t, int64_t,
                              int64_t, const Act&) {}

}  // namespace gf::cuda

#endif
