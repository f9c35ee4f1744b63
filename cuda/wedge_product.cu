#include <algorithm>

#include "hopper.h"
#include "hopper_epilogue.cuh"
#include "wedge_tile.cuh"

namespace gf::cuda {
namespace {

using namespace wedge_tile;

// g = p W^T + bias with p made in shared memory, never in memory.
//
// A block keeps 128 rows of W_plu and goes through tiles of 64 tokens: makes their wedges,
// multiplies them, and writes 64 x 128 of g. While half of its warps multiply and write, the other
// half makes u and w of the next tile. At the study's shape (M = 4096, D = 256) 128 blocks read 16
// MB of W_plu out of the L2 cache, 3 µs at 5.5 TB/s, slab by slab, so that products begin with the
// first, and of memory 0.5 MB; they do 1.04 GFLOP, 1.5 µs at 709 TFLOP/s, and write 2.1 MB. At M =
// 32768 each block goes through eight tiles, some 2 µs each.

constexpr int kWidth = 2 * hopper::kSlab;         // columns of g of a block, 64 a warpgroup
using Stage = hopper::Staged<hopper::kSlab, 16>;  // of g on its way out

struct Shared {
  char weight[kSlabs][kWidth * 128];
  Slab p[kSlabs];
  char stages[kHalf / kWarp][Stage::kBytes];
  Tokens tokens;
  uint64_t arrived[kSlabs];  // of W_plu
};

__device__ __forceinline__ uint32_t arrival(const Shared& shared, int slab) {
  return hopper::shared_address(&shared.arrived[slab]);
}

// By one thread.
__device__ __forceinline__ void load_weight(Shared& shared, const CUtensorMap& weight, int column) {
#pragma unroll 1
  for (int slab = 0; slab < kSlabs; ++slab) {
    hopper::arrive_expecting(arrival(shared, slab), sizeof(shared.weight[slab]));
    hopper::load_tile(hopper::shared_address(shared.weight[slab]), weight, slab * hopper::kSlab,
                      column, arrival(shared, slab));
  }
}

// This warp's part of the tile's p: a slab of half the tokens. Both warps of a slab have the same
// scheduler, which has to fetch two slabs' code.
__device__ __forceinline__ void make_wedges(Shared& shared) {
  const int token = warp() / kSlabs * kWarp + lane();
  with_slab(warp() % kSlabs, [&](auto slab) {
    wedge_slab<decltype(slab)::value>(shared.tokens, token, shared.p[slab]);
  });
}

// d += 64 columns of the product of the tile.
__device__ __forceinline__ void multiply_tile(const Shared& shared, int group,
                                              float (&d)[hopper::kSlab / 2]) {
#pragma unroll
  for (int slab = 0; slab < kSlabs; ++slab) {
    hopper::wait(arrival(shared, slab), 0);
    hopper::pin(d);
    hopper::products_begin();
    const uint64_t p = hopper::descriptor<false>(hopper::shared_address(shared.p[slab]));
    const uint64_t weight = hopper::descriptor<false>(
        hopper::shared_address(shared.weight[slab] + group * hopper::kBlockBytes));
#pragma unroll
    for (int i = 0; i < chunks_of(slab) / 2; ++i) {
      hopper::Product<hopper::kSlab, false, false>::add(d, p + i * hopper::kStep<false>,
                                                        weight + i * hopper::kStep<false>);
    }
    hopper::products_commit();
  }
  hopper::products_wait<0>();
  hopper::pin(d);
}

// Zeros in rows without a valid offset.
__device__ __forceinline__ void write_tile(Shared& shared, const Offsets& offsets, int first,
                                           int column, const float (&d)[hopper::kSlab / 2],
                                           const hopper::Target& g) {
  Stage::for_eights(hopper::shared_address(shared.stages[warp()]), first + hopper::row_of_thread(),
                    column, d, [&](int row, int col, const uint4& v) {
                      const bool has_past = offsets.has_past(offsets.position(row));
                      g.put(row, col, has_past ? v : make_uint4(0, 0, 0, 0));
                    });
}

template <bool kLearned>
__global__ void __launch_bounds__(kThreads, 1)
    product_kernel(const __grid_constant__ CUtensorMap weight, const bf16* z, int64_t ldz,
                   const __grid_constant__ Offsets offsets, const float* bias,
                   const hopper::Target g) {
  if constexpr (hopper::kHopper) {
    auto& shared = shared_memory<Shared>();
    if (threadIdx.x == 0) {
      for (int slab = 0; slab < kSlabs; ++slab) hopper::barrier_init(arrival(shared, slab), 1);
      hopper::barrier_init_fence();
      hopper::prefetch_map(weight);
    }
    __syncthreads();
    wait_for_inputs();
    const int group = hopper::warpgroup();
    const int column = static_cast<int>(blockIdx.x) * kWidth + group * hopper::kSlab;
    if (threadIdx.x == 0) load_weight(shared, weight, column);
    const int begin = static_cast<int>(blockIdx.y) * kTokens;
    const int step = static_cast<int>(gridDim.y) * kTokens;
    for (int next = begin;; next += step) {
      if (half() == 1) {
        if (next < offsets.rows) look_back<kLearned>(z, ldz, offsets, next, shared.tokens);
      } else if (next > begin) {
        int to = column;
        asm volatile("" : "+r"(to));  // no addresses kept in registers from tile to tile
        float d[hopper::kSlab / 2];
        hopper::begin_with(bias, to, g.cols, d);
        multiply_tile(shared, group, d);
        write_tile(shared, offsets, next - step, to, d, g);
      }
      __syncthreads();
      if (next >= offsets.rows) return;
      make_wedges(shared);
      hopper::fence_async_proxy();
      __syncthreads();
    }
  }
}

}  // namespace

bool wedge_product(Gpu& gpu, const Act& z, const Offsets& offsets, const Linear& layer,
                   const Act& g) {
  const Act& weight = layer.weight.act;
  if (offsets.heads != 1 || offsets.reduced != kReduced || g.cols % kWidth != 0 ||
      !hopper::takes(gpu, z, weight) || !is_vectored(g)) {
    return false;
  }
  const int64_t columns = g.cols / kWidth;
  const int64_t blocks =
      std::clamp<int64_t>(gpu.multiprocessors() / columns, 1, ceil_div(z.rows, kTokens));
  with_weights(offsets, [&](auto is_learned) {
    const auto kernel = product_kernel<decltype(is_learned)::value>;
    hopper::allow_shared(kernel, kSharedBytes<Shared>, "plucker product");
    launch(gpu, "plucker product", kernel,
           dim3(static_cast<unsigned>(columns), static_cast<unsigned>(blocks)), kThreads,
           kSharedBytes<Shared>, hopper::tensor_map(weight, kWidth), data<const bf16>(z), z.ld,
           offsets, layer.bias.value.data, hopper::target(g));
  });
  return true;
}

}  // namespace gf::cuda
