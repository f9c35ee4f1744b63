#include <algorithm>

#include "hopper.h"
#include "hopper_gemm.cuh"

// Gradients of weights are products over all rows of the batch, of 64 K to 256 K elements. Those of
// a sublayer are made by one launch: a cluster of blocks makes 256 x 256 of a result from a part of
// the rows, and a second kernel adds up the parts in a fixed order. What a block needs of an
// operand its neighbours in the cluster need too, so each brings a share and the copy engine sends
// it to all of them: a row of 256 elements leaves the second cache once a cluster.
//
// That is what bounds these products. A feed-forward part's two gradients, M = 32768, are 34 GFLOP,
// 48 us at 709 TFLOP/s, of 168 MB of operands, 56 us at 3.0 TB/s. Blocks of 128 x 128 that load for
// themselves read 537 MB out of the cache, 119 us measured on one H100; clusters read 268 MB. The
// parts of a chip full of accumulators are 17 MB, written and read once: 7 us.

namespace gf::cuda::hopper {
namespace {

struct Gradient {
  float* dw;
  int64_t ld;
  int rows, cols;
  float* db;  // or null

  __device__ bool holds(int row, int col) const { return row < rows && col < cols; }
  // Two columns, as a vector where that is aligned.
  __device__ void put(int row, int col, float x, float y) const {
    if (row >= rows) return;
    float* to = dw + row * ld + col;
    if (col + 1 < cols && reinterpret_cast<uintptr_t>(to) % sizeof(float2) == 0) {
      *reinterpret_cast<float2*>(to) = make_float2(x, y);
      return;
    }
    if (col < cols) to[0] = x;
    if (col + 1 < cols) to[1] = y;
  }
};

inline constexpr int kCluster = 256;  // rows and columns of the result that a cluster makes

// Up to kMostGradients of them; first_tile[i] is the first of number i's among all clusters' tiles.
struct Group {
  CUtensorMap dy[kMostGradients], x[kMostGradients];
  Gradient to[kMostGradients];
  int slabs[kMostGradients];
  int first_tile[kMostGradients + 1];
};

// A cluster is kDown x kAcross blocks in the order of their rank.
struct Cut : Tile<128, 256, 4, 1, true, true> {
  static constexpr int kDown = kCluster / kRows, kAcross = kCluster / kCols;
  static constexpr int kRanks = kDown * kAcross;
  static constexpr int kBoxesA = kRows / 64 / kAcross;  // that a block brings of each
  static constexpr int kBoxesB = kCols / 64 / kDown;
  static_assert(kBoxesA * kAcross * 64 == kRows && kBoxesB * kDown * 64 == kCols);
  // Behind the barriers a tile of ones, whose product with dy^T is the sums of dy's columns.
  // Swizzling a tile of one value changes nothing.
  static constexpr uint32_t kOnesAt =
      (kStagesBytes + 2 * kStages * sizeof(uint64_t) + 127) / 128 * 128;
  static constexpr size_t kBytes = 1024 + kOnesAt + 1024;
  static_assert(kBlocks * (kBytes + 1024) <= 228 * 1024);
  // What a block leaves of a part: its accumulators, four at a time of all threads, and the bias.
  static constexpr int kFours = kCols / 8;
  static constexpr int64_t kPart = kRows * (kCols + 1);
};

// The part of a gradient that a block makes.
struct Place {
  int number, row, col;

  __device__ explicit Place(const Group& group) {
    const int tile = static_cast<int>(blockIdx.x) / Cut::kRanks;
    const int rank = static_cast<int>(blockIdx.x) % Cut::kRanks;
    number = 0;
    while (tile >= group.first_tile[number + 1]) ++number;
    const int own = tile - group.first_tile[number];
    const int across = (group.to[number].cols + kCluster - 1) / kCluster;
    row = own / across * kCluster + rank / Cut::kAcross * Cut::kRows;
    col = own % across * kCluster + rank % Cut::kAcross * Cut::kCols;
  }
  __device__ bool has_bias(const Gradient& to) const { return to.db != nullptr && col == 0; }
  // Boxes of its operands that hold anything of the matrices.
  __device__ int boxes_a(const Gradient& to) const { return boxes(to.rows - row, Cut::kRows); }
  __device__ int boxes_b(const Gradient& to) const { return boxes(to.cols - col, Cut::kCols); }

 private:
  __device__ static int boxes(int left, int most) { return (min(max(left, 0), most) + 63) / 64; }
};

// A block's ring of stages, which all blocks of its cluster fill.
class Ring {
 public:
  __device__ explicit Ring(void* shared) : base_((shared_address(shared) + 1023) & ~1023u) {}

  // By all threads; a barrier of the cluster has to follow.
  __device__ void init() const {
    if (threadIdx.x == 0) {
      for (int i = 0; i < Cut::kStages; ++i) {
        barrier_init(full(i), 1);
        barrier_init(empty(i), Cut::kRanks * Cut::kProducts / kWarp);
      }
      barrier_init_fence();
    }
    if (threadIdx.x < 1024 / 16) {
      constexpr uint32_t kTwoOnes = 0x3F803F80u;
      asm volatile(
          "st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(base_ + Cut::kOnesAt + threadIdx.x * 16),
          "r"(kTwoOnes)
          : "memory");
      fence_async_proxy();
    }
  }

  // By one thread: the block's share of slabs first to first + count - 1, for all whom it concerns.
  // What the others send may come before this one's expectation of it. Boxes that hold nothing of
  // the matrices are not sent: no element of the result depends on them.
  __device__ void load(const Group& group, const Place& place, int first, int count) const {
    const int rank = static_cast<int>(blockIdx.x) % Cut::kRanks;
    const int down = rank / Cut::kAcross, across = rank % Cut::kAcross;
    constexpr uint32_t kOfRow = (1u << Cut::kAcross) - 1;
    constexpr uint32_t kOfColumn = 1u | 1u << Cut::kAcross;
    static_assert(Cut::kDown == 2);
    const Gradient& to = group.to[place.number];
    const int boxes_a = place.boxes_a(to), boxes_b = place.boxes_b(to);
    int stage = 0, round = 0;
    for (int i = 0; i < count; ++i) {
      if (round > 0) wait(empty(stage), (round - 1) & 1);
      arrive_expecting(full(stage), static_cast<uint32_t>(boxes_a + boxes_b) * kBlockBytes);
      const int k = (first + i) * kSlab;
#pragma unroll
      for (int n = 0; n < Cut::kBoxesA; ++n) {
        const int box = across * Cut::kBoxesA + n;
        if (box >= boxes_a) break;
        load_tile_for(kOfRow << down * Cut::kAcross, stage_a(stage) + box * kBlockBytes,
                      group.dy[place.number], place.row + box * 64, k, full(stage));
      }
#pragma unroll
      for (int n = 0; n < Cut::kBoxesB; ++n) {
        const int box = down * Cut::kBoxesB + n;
        if (box >= boxes_b) break;
        load_tile_for(kOfColumn << across, stage_b(stage) + box * kBlockBytes,
                      group.x[place.number], place.col + box * 64, k, full(stage));
      }
      if (++stage == Cut::kStages) stage = 0, ++round;
    }
  }

  // By a warpgroup: the products of its 64 rows, and the sums of their columns of dy.
  template <bool kSums>
  __device__ void multiply(int count, float (&d)[Cut::kCols / 2], float (&sums)[4]) const {
    const uint64_t ones = descriptor<false>(base_ + Cut::kOnesAt);
    multiply_slabs<Cut>(*this, count, d, [&](uint32_t a) {
      if constexpr (kSums) {
#pragma unroll
        for (int k = 0; k < kSlab / 16; ++k) {
          Product<8, true, false>::add(sums, descriptor<true>(a) + k * kStep<true>, ones);
        }
      }
    });
    pin(sums);
  }

  // For multiply_slabs.
  __device__ uint32_t stage_a(int i) const {
    return base_ + i * Cut::kStageBytes;
  }
  __device__ uint32_t stage_b(int i) const {
    return stage_a(i) + Cut::kBytesA;
  }
  __device__ uint32_t full(int i) const {
    return base_ + Cut::kStagesBytes + i * 8;
  }
  // To all blocks of the cluster, by a warp.
  __device__ void release(int stage) const {
    const uint32_t lane = threadIdx.x % kWarp;
    if (lane < Cut::kRanks) arrive_remote(shared_of_block(empty(stage), lane));
  }

 private:
  __device__ uint32_t empty(int i) const {
    return full(Cut::kStages + i);
  }

  uint32_t base_;
};

// The two halves of wait_for_inputs(): the blocks that add up would take the room of kernels that
// run beside if they could wait all along.
__device__ __forceinline__ void wait_for_inputs_alone() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
__device__ __forceinline__ void start_next() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// Leaves the part blockIdx.y of the sum over the rows of the batch: parts [splits, blocks, kPart].
__global__ void __launch_bounds__(Cut::kThreads, Cut::kBlocks) GF_CLUSTER(Cut::kRanks, 1)
    gradients_kernel(const __grid_constant__ Group group, float* parts) {
  if constexpr (kHopper) {
    extern __shared__ uint8_t shared[];
    const Ring ring(shared);
    ring.init();
    cluster_arrive();
    cluster_wait();
    wait_for_inputs_alone();
    const Place place(group);
    const int splits = static_cast<int>(gridDim.y), split = static_cast<int>(blockIdx.y);
    const int slabs = group.slabs[place.number];
    const int first = slabs * split / splits, count = slabs * (split + 1) / splits - first;
    float d[Cut::kCols / 2] = {}, sums[4] = {};
    const Gradient& to = group.to[place.number];
    const bool has_bias = place.has_bias(to);
    if (warpgroup() == Cut::kGroups) {
      if (threadIdx.x == Cut::kProducts) ring.load(group, place, first, count);
    } else if (has_bias) {
      ring.template multiply<true>(count, d, sums);
    } else {
      ring.template multiply<false>(count, d, sums);
    }
    const int row = warpgroup() * 64 + row_of_thread();
    cluster_arrive_relaxed();  // nobody leaves while others write to its shared memory
    start_next();
    if (threadIdx.x < Cut::kProducts && to.holds(place.row, place.col)) {
      float* part = parts + (static_cast<int64_t>(split) * gridDim.x + blockIdx.x) * Cut::kPart;
      auto* fours = reinterpret_cast<float4*>(part) + threadIdx.x;
#pragma unroll
      for (int j = 0; j < Cut::kFours; ++j) {
        fours[j * Cut::kProducts] = make_float4(d[4 * j], d[4 * j + 1], d[4 * j + 2], d[4 * j + 3]);
      }
      if (has_bias && threadIdx.x % 4 == 0) {
        float* bias = part + Cut::kRows * Cut::kCols + row;
        bias[0] = sums[0];
        bias[8] = sums[2];
      }
    }
    cluster_wait();
  }
}

// Adds up the parts of what block blockIdx.x made: of each thread's accumulators four.
__global__ void __launch_bounds__(Cut::kProducts)
    add_parts_kernel(const __grid_constant__ Group group, const float* parts, int splits) {
  constexpr int kUnrolled = 4;  // on their way at a time
  wait_for_inputs();
  const Place place(group);
  const Gradient& to = group.to[place.number];
  if (!to.holds(place.row, place.col)) return;
  const int i = static_cast<int>(threadIdx.x), j = static_cast<int>(blockIdx.y);
  const int64_t step = gridDim.x * Cut::kPart;
  const float* part = parts + blockIdx.x * Cut::kPart;
  const float* fours = part + 4 * (j * Cut::kProducts + i);
  float4 sum = {};
  const auto add = [&](float4 v) { sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w; };
  int split = 0;
#pragma unroll 1
  for (; split + kUnrolled <= splits; split += kUnrolled) {
    float4 v[kUnrolled];
#pragma unroll
    for (int k = 0; k < kUnrolled; ++k) {
      v[k] = *reinterpret_cast<const float4*>(fours + (split + k) * step);
    }
#pragma unroll
    for (int k = 0; k < kUnrolled; ++k) add(v[k]);
  }
  for (; split < splits; ++split) add(*reinterpret_cast<const float4*>(fours + split * step));
  const int row = place.row + i / kGroup * 64 + row_of_thread();
  const int col = place.col + 8 * j + i % 4 * 2;
  to.put(row, col, sum.x, sum.y);
  to.put(row + 8, col, sum.z, sum.w);
  if (j != 0 || !place.has_bias(to) || i >= Cut::kRows || place.row + i >= to.rows) return;
  float bias = 0;
  for (split = 0; split < splits; ++split) bias += part[split * step + Cut::kRows * Cut::kCols + i];
  to.db[place.row + i] = bias;
}

}  // namespace

void weight_gradients(Gpu& gpu, std::span<const WeightGradient> gradients) {
  Group group = {};
  int tiles = 0, number = 0, slabs = 0;
  for (const WeightGradient& g : gradients) {
    group.dy[number] = tensor_map(g.dy, kSlab);
    group.x[number] = tensor_map(g.x, kSlab);
    group.to[number] = {g.dw.data, g.dw.ld, static_cast<int>(g.dy.cols), static_cast<int>(g.x.cols),
                        g.db};
    group.slabs[number] = static_cast<int>(ceil_div(g.dy.rows, kSlab));
    slabs = std::max(slabs, group.slabs[number]);
    tiles += static_cast<int>(ceil_div(g.dy.cols, kCluster) * ceil_div(g.x.cols, kCluster));
    group.first_tile[++number] = tiles;
  }
  // Few rows are not cut so finely that their parts cost more than the products, and leave half of
  // the chip to what runs beside; many fill it, a cluster on two multiprocessors.
  constexpr int kLeastSlabs = 16;
  const int64_t clusters = std::max(1, gpu.multiprocessors() / Cut::kRanks / tiles);
  const int64_t splits = std::clamp<int64_t>(slabs / kLeastSlabs, 1, clusters);
  const unsigned blocks = static_cast<unsigned>(tiles) * Cut::kRanks;
  float* parts = gpu.scratch<float>(splits * blocks * Cut::kPart);
  allow_shared(gradients_kernel, Cut::kBytes, "weight_gradients");
  launch(gpu, "weight_gradients", gradients_kernel, dim3(blocks, static_cast<unsigned>(splits)),
         Cut::kThreads, Cut::kBytes, group, parts);
  launch(gpu, "weight_gradients", add_parts_kernel, dim3(blocks, Cut::kFours), Cut::kProducts, 0,
         group, parts, static_cast<int>(splits));
}

}  // namespace gf::cuda::hopper
