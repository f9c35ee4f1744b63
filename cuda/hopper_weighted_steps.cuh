#pragma once

// weights(a b^T) b, never holding the products: what attention does with one matrix for keys and
// values. A block takes 128 rows of a, 64 a warpgroup, and goes through the rows of b 80 at a time.
// Both products read them from shared memory where they were brought once; the weights go from the
// accumulators of the first to the registers of the second. While one warpgroup makes weights, the
// other multiplies.
//
// At R = 4096, V = 30522, D = 256 each of the two uses is 128 GFLOP, 180 us at 709 TFLOP/s, and 125
// million exponentials, 34 us beside the products. Of b every block reads its share out of the
// second cache, 0.5 GB in all.

#include "hopper_weighted.cuh"

// Named, since compilers for other architectures would find functions of an unnamed one unused.
namespace gf::cuda::hopper::weighted {

class Memory {
 public:
  __device__ explicit Memory(void* shared) : base_((shared_address(shared) + 1023) & ~1023u) {}
  __device__ uint32_t a(int slab) const { return base_ + slab * kSlabA; }
  __device__ uint32_t b(int stage, int slab) const {
    return base_ + kStagesAt + stage * kStageBytes + slab * kSlabB;
  }
  __device__ uint32_t full(int stage) const { return base_ + kBarriersAt + stage * 8; }
  __device__ uint32_t empty(int stage) const { return full(kStages + stage); }
  __device__ uint32_t full_a() const { return full(2 * kStages); }
  __device__ uint32_t empty_a() const { return full(2 * kStages + 1); }
  __device__ uint32_t number() const { return full(2 * kStages + 2); }  // of the block's share

  __device__ void init() const {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(full(i), 1);
      barrier_init(empty(i), kThreads / kWarp);
    }
    barrier_init(full_a(), 1);
    barrier_init(empty_a(), kThreads / kWarp);
    barrier_init_fence();
  }

 private:
  uint32_t base_;
};

// ---- Steps -----------------------------------------------------------------------------------
// A step is a tile of a and one of b: number n of all is tile n / of_tile of a, n % of_tile of b.

// Of a block.
struct Steps {
  int begin, end;  // numbers
  int of_tile;
};
// Those of a block for one tile of a.
struct Run {
  int tile, first, count;  // of a; of b
  int before;              // steps of the block before these
  int number;              // of the block's runs

  __device__ static Run first_of(const Steps& steps) { return at(steps, steps.begin, 0); }
  __device__ Run next(const Steps& steps) const {
    return at(steps, steps.begin + before + count, number + 1);
  }
  __device__ bool is_last(const Steps& steps) const {
    return steps.begin + before + count == steps.end;
  }
  __device__ bool is_whole(const Steps& steps) const { return count == steps.of_tile; }

 private:
  __device__ static Run at(const Steps& steps, int step, int number) {
    const int first = step % steps.of_tile;
    return {step / steps.of_tile, first, min(steps.of_tile - first, steps.end - step),
            step - steps.begin, number};
  }
};

// These four by one thread.
__device__ __forceinline__ void load_a(const Memory& memory, const CUtensorMap& a, int tile) {
  arrive_expecting(memory.full_a(), kSlabs * kSlabA);
#pragma unroll
  for (int slab = 0; slab < kSlabs; ++slab) {
    load_tile(memory.a(slab), a, slab * kSlab, tile * kRows, memory.full_a());
  }
}
// For step number i of the block's, if it has so many.
__device__ __forceinline__ void load_b(const Memory& memory, const CUtensorMap& b,
                                       const Steps& steps, int i) {
  if (steps.begin + i >= steps.end) return;
  const int stage = i % kStages;
  if (i >= kStages) wait(memory.empty(stage), (i / kStages - 1) & 1);
  arrive_expecting(memory.full(stage), kStageBytes);
  const int row = (steps.begin + i) % steps.of_tile * kTile;
#pragma unroll
  for (int slab = 0; slab < kSlabs; ++slab) {
    load_tile(memory.b(stage, slab), b, slab * kSlab, row, memory.full(stage));
  }
}
__device__ __forceinline__ void load_first(const Memory& memory, const CUtensorMap& a,
                                           const CUtensorMap& b, const Steps& steps) {
  load_a(memory, a, steps.begin / steps.of_tile);
  for (int i = 0; i <= kAhead; ++i) load_b(memory, b, steps, i);
}

// During a run's last turn of warpgroup 0, before which the other one has begun its last scores.
__device__ __forceinline__ void load_next_a(const Memory& memory, const CUtensorMap& a,
                                            const Run& run) {
  wait(memory.empty_a(), run.number & 1);
  load_a(memory, a, run.tile + 1);
}

// The warpgroups take turns at the tensor cores: left alone they fall into step, and then the cores
// wait while both make weights. Barrier 1 + g is warpgroup g's; the other one arrives at it.
class Turns {
 public:
  // Warpgroup 0 has the first of `count` turns of each.
  __device__ Turns(int group, int count) : group_(group), left_(count) {
    if (group == 1) arrive(1);
  }
  __device__ __forceinline__ void wait() const {
    asm volatile("bar.sync %0, %1;" ::"r"(1 + group_), "n"(kThreads) : "memory");
  }
  __device__ __forceinline__ void give() {
    --left_;
    if (group_ == 0 || left_ > 0) arrive(2 - group_);
  }

 private:
  __device__ __forceinline__ static void arrive(int barrier) {
    asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "n"(kThreads) : "memory");
  }
  int group_, left_;
};

__device__ __forceinline__ void score(const Memory& memory, int group, int stage,
                                      float (&s)[kScores]) {
#pragma unroll
  for (int slab = 0; slab < kSlabs; ++slab) {
    const uint64_t x = descriptor<false>(memory.a(slab) + group * kBlockBytes);
    const uint64_t y = descriptor<false>(memory.b(stage, slab));
    if (slab == 0) {
      multiply_scores<false>(s, x, y);
    } else {
      multiply_scores<true>(s, x, y);
    }
#pragma unroll
    for (int i = 1; i < kSlab / 16; ++i) {
      multiply_scores<true>(s, x + i * kStep<false>, y + i * kStep<false>);
    }
  }
}

__device__ __forceinline__ void weigh_rows(const Memory& memory, int stage,
                                           const uint32_t (&w)[kScores / 2], float (&sums)[kSums]) {
  const uint64_t y = rows_descriptor(memory.b(stage, 0));
#pragma unroll
  for (int k = 0; k < kTile / 16; ++k) multiply_weights(sums, w + 4 * k, y + k * kStep<true>);
}

// What has been begun is done, and may be read or written again.
__device__ __forceinline__ void finish(float (&s)[kScores], uint32_t (&w)[kScores / 2],
                                       float (&sums)[kSums]) {
  products_wait<0>();
  pin(s);
  pin(sums);
#pragma unroll
  for (int k = 0; k < kScores / 2; ++k) asm volatile("" : "+r"(w[k])::"memory");
}

// sums += a run's part of the thread's rows, `row` and the one 8 below. The weights are
//   prefetch(first, state): reads what the tile of b from that row on needs;
//   weigh(first, row, s, state): makes them of its scores: of s[4 j + 2 h + c] those of row h ? 8
//   below `row` : `row` of a, row 8 j + 2 (lane % 4) + c of the tile of b.
template <class Weights>
__device__ __forceinline__ void add_up(const Memory& memory, const CUtensorMap& a,
                                       const CUtensorMap& b, const Weights& weights, int group,
                                       int row, const Steps& steps, const Run& run,
                                       typename Weights::State& state, float (&sums)[kSums]) {
  const bool signals = threadIdx.x % kWarp == 0;
  float s[kScores] = {};
  uint32_t w[kScores / 2];
  const auto first_row = [&](int i) { return (run.first + i - run.before) * kTile; };
  const auto make_weights = [&](int i) {
    weights.weigh(first_row(i), row, s, state);
#pragma unroll
    for (int k = 0; k < kScores / 2; ++k) w[k] = pack2(s[2 * k], s[2 * k + 1]);
  };
  // Step i has been read. The place of number i + 3 is that of i - 1, which the other warpgroup too
  // is done with by now.
  const auto release = [&](int i) {
    if (signals) arrive(memory.empty(i % kStages));
    if (threadIdx.x == 0) load_b(memory, b, steps, i + kAhead + 1);
  };
  const int last = run.before + run.count - 1;
  Turns turns(group, run.count + 1);
  wait(memory.full_a(), run.number & 1);
  wait(memory.full(run.before % kStages), run.before / kStages & 1);
  turns.wait();
  pin(s);
  products_begin();
  score(memory, group, run.before % kStages, s);
  products_commit();
  turns.give();
  weights.prefetch(first_row(run.before), state);
  finish(s, w, sums);
  for (int i = run.before; i < last; ++i) {
    const int stage = i % kStages, next = (i + 1) % kStages;
    make_weights(i);
    wait(memory.full(next), (i + 1) / kStages & 1);
    turns.wait();
    pin(s);
    pin(sums);
    products_begin();
    weigh_rows(memory, stage, w, sums);
    score(memory, group, next, s);
    products_commit();
    turns.give();
    weights.prefetch(first_row(i + 1), state);
    finish(s, w, sums);
    release(i);
  }
  if (signals) arrive(memory.empty_a());
  make_weights(last);
  turns.wait();
  pin(sums);
  products_begin();
  weigh_rows(memory, last % kStages, w, sums);
  products_commit();
  turns.give();
  if (threadIdx.x == 0 && !run.is_last(steps)) load_next_a(memory, a, run);
  __syncwarp();
  finish(s, w, sums);
  release(last);
}

// Row `row` of to and the one 8 below, those that exist of its rows.
__device__ __forceinline__ void store_sums(float* to, int64_t ld, int row, int rows,
                                           const float (&sums)[kSums]) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    if (row + 8 * h >= rows) continue;
    float* at = to + (row + 8 * h) * ld + column;
#pragma unroll
    for (int j = 0; j < kSums / 4; ++j) {
      *reinterpret_cast<float2*>(at + 8 * j) =
          make_float2(sums[4 * j + 2 * h], sums[4 * j + 2 * h + 1]);
    }
  }
}

}  // namespace gf::cuda::hopper::weighted
