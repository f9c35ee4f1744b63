#pragma once

#include <algorithm>
#include <string>

#include "product_plan.h"

namespace gf::cuda::bench {

// The number of the tile with this place among all tiles [step_m i, step_n j] of at most `most`
// values, in the order of cublasLtMatmulTile_t, which skips those that have an earlier number.
template <class IsEarlier>
std::string tile_at(int place, int step_m, int step_n, int most, const IsEarlier& is_earlier) {
  for (int m = step_m; m <= 768; m += step_m) {
    for (int n = step_n; n <= 768 && m * n <= most; n += step_n) {
      if (!is_earlier(m, n) && place-- == 0) return format("%dx%d", m, n);
    }
  }
  return "";
}

// cublasLtMatmulTile_t has 634 names but no function that tells them; but for the first 35 and the
// last few they follow two rules.
inline std::string tile_text(int32_t tile) {
  static constexpr int kFirst[][2] = {
      {0, 0},     {8, 8},    {8, 16},   {16, 8},   {8, 32},    {16, 16},   {32, 8},    {8, 64},
      {16, 32},   {32, 16},  {64, 8},   {32, 32},  {32, 64},   {64, 32},   {32, 128},  {64, 64},
      {128, 32},  {64, 128}, {128, 64}, {64, 256}, {128, 128}, {256, 64},  {64, 512},  {128, 256},
      {256, 128}, {512, 64}, {64, 96},  {96, 64},  {96, 128},  {128, 160}, {160, 128}, {192, 128},
      {128, 192}, {128, 96}, {32, 256}, {256, 32}};
  constexpr int kCount = 36, kSecond = 312, kLast = 630;
  static_assert(CUBLASLT_MATMUL_TILE_256x32 == kCount - 1);
  static_assert(CUBLASLT_MATMUL_TILE_64x16 == kSecond && CUBLASLT_MATMUL_TILE_768x80 == kLast);
  const auto is_first = [](int m, int n) {
    return std::any_of(std::begin(kFirst), std::end(kFirst),
                       [=](const int(&t)[2]) { return t[0] == m && t[1] == n; });
  };
  const auto is_second = [&](int m, int n) {
    return is_first(m, n) || (n % 64 == 0 && m * n <= 49152);
  };
  if (tile <= 0 || tile > kLast) return format("tile%d", tile);
  if (tile < kCount) return format("%dx%d", kFirst[tile][0], kFirst[tile][1]);
  if (tile < kSecond) return tile_at(tile - kCount, 8, 64, 49152, is_first);
  return tile_at(tile - kSecond, 64, 8, 65536, is_second);
}

inline std::string stages_text(int32_t stages) {
  static constexpr int kOfAuto[] = {8, 16, 32, 64, 128, 256, 768};
  static_assert(CUBLASLT_MATMUL_STAGES_128x6 == 24 && CUBLASLT_MATMUL_STAGES_8xAUTO == 32);
  if (stages >= 1 && stages <= 24) {
    return format("%dx%d", 16 << (stages - 1) / 6, (stages - 1) % 6 + 1);
  }
  if (stages >= 32 && stages <= 38) return format("%dxAuto", kOfAuto[stages - 32]);
  return format("stages%d", stages);
}

inline std::string cluster_text(int32_t cluster) {
  static constexpr const char* kShapes[] = {"auto", "?",   "1x1", "2x1",  "4x1", "1x2",
                                            "2x2",  "4x2", "1x4", "2x4",  "4x4", "8x1",
                                            "1x8",  "8x2", "2x8", "16x1", "1x16"};
  static_assert(CUBLASLT_CLUSTER_SHAPE_1x16x1 == 16);
  if (cluster >= 0 && cluster <= 16) return kShapes[cluster];
  return std::to_string(cluster);
}

// Such as "0/8 128x256 64xAuto c2x1 w0.48"; then, of one that is cut, "/8 r2 4.2M": the parts, the
// reduction scheme and the workspace.
inline std::string text(const ProductAlgorithm& a, size_t proposals) {
  std::string to = format("%d/%zu %s %s c%s w%.2f", a.rank, proposals, tile_text(a.tile).c_str(),
                          stages_text(a.stages).c_str(), cluster_text(a.cluster).c_str(),
                          static_cast<double>(a.waves));
  if (a.parts > 1) to += format(" /%d r%u", a.parts, a.reduction);
  if (a.workspace > 0) to += format(" %.1fM", static_cast<double>(a.workspace) * 1e-6);
  return to;
}

}  // namespace gf::cuda::bench
