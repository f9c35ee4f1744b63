#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "cpu/cpu_ops.h"
#include "cpu/gemm.h"
#include "cpu/kernel.h"
#include "cpu/row_parts.h"

namespace gf {
namespace {

// A token u = z_t looks back at v = z_{t-d} and sees of it the residual e = v - a u, a = u·v /
// |u|²: u ∧ v = u ∧ e. With e in place of v nothing below cancels, however nearly parallel u and v
// are:
//
//   s = |u| |e|, c = weight / max(s, 1e-8), w = Σ c e, p = u ∧ w
//
// the weight being 1 / n or learned, and backward, with P the antisymmetric matrix of dp (P_ij =
// dp_ij for i < j) and dw = Pᵀ u ⟂ u:
//
//   dv = c (dw - (dw·e / |e|²) e)         p's length is fixed, so nothing flows along e,
//   du = P w - Σ a dv - (Σ c dw·e / |u|²) u                        nor along u by itself;
//   dweight = dw·e / max(s, 1e-8).
//
// Where s is at its floor c is a constant, and the terms with dw·e in dv and du are left out. All
// of this is
// computed in double: it is over r, and little beside what is over r (r - 1) / 2 or D. At M = 1024,
// r = 32, six offsets on one core the wedge takes 0.3 ms forward and 1.1 ms backward beside 2.3 and
// 4.6 ms of products.
struct Pair {
  double a, c;
  double squared;  // |e|²
  double inverse;  // 1 / max(s, 1e-8)
  bool is_floored;
};

// The offsets of a layer and which of them reach back from a row to a token of its sequence.
struct Offsets {
  const Windows& windows;
  int64_t length;

  int64_t count() const { return std::ssize(windows.offsets); }
  int64_t operator[](int64_t k) const { return windows.offsets[static_cast<size_t>(k)]; }
  bool is_valid(int64_t k, int64_t row) const { return (*this)[k] <= row % length; }
  int64_t valid(int64_t row) const {
    int64_t n = 0;
    for (int64_t k = 0; k < count(); ++k) n += is_valid(k, row);
    return n;
  }
  // Of offset k, where n are valid.
  double weight(int64_t head, int64_t k, int64_t n) const {
    if (windows.is_learned()) return double{windows.weight.value.row(head)[k]};
    return 1.0 / static_cast<double>(n);
  }
};

// A head's token and the pairs it makes, one per offset; what stands at offsets not valid is old.
class Token {
 public:
  Token(int64_t reduced, int64_t offsets)
      : r(reduced),
        rows_(static_cast<size_t>((4 + offsets) * reduced)),
        pairs_(static_cast<size_t>(offsets)) {}

  double* u() { return rows_.data(); }
  double* w() { return rows_.data() + r; }
  double* du() { return rows_.data() + 2 * r; }
  double* dw() { return rows_.data() + 3 * r; }
  double* e(int64_t k) { return rows_.data() + (4 + k) * r; }
  Pair& pair(int64_t k) { return pairs_[static_cast<size_t>(k)]; }

  const int64_t r;
  double squared = 0;  // |u|²

 private:
  std::vector<double> rows_;
  std::vector<Pair> pairs_;
};

GF_INLINE double dot(const double* a, const double* b, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < count; ++j) sum += a[j] * b[j];
  return sum;
}

// y += factor x.
GF_INLINE void add(double factor, const double* x, int64_t count, double* y) {
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) y[j] += factor * x[j];
}

// u, its pairs and w of a head in a row with n > 0 valid offsets.
GF_INLINE void look_back(const Mat& z, const Offsets& offsets, int64_t row, int64_t head, int64_t n,
                         Token& token) {
  const int64_t r = token.r;
  double *u = token.u(), *w = token.w();
  std::copy_n(z.row(row) + head * r, r, u);
  std::fill_n(w, r, 0.0);
  token.squared = dot(u, u, r);
  for (int64_t k = 0; k < offsets.count(); ++k) {
    if (!offsets.is_valid(k, row)) continue;
    double* e = token.e(k);
    std::copy_n(z.row(row - offsets[k]) + head * r, r, e);
    const double a = token.squared > 0 ? dot(u, e, r) / token.squared : 0.0;
    add(-a, u, r, e);
    const double squared = dot(e, e, r), s = std::sqrt(token.squared * squared);
    const bool is_floored = s <= kPlueckerEpsilon;
    const double inverse = 1.0 / (is_floored ? kPlueckerEpsilon : s);
    const double c = offsets.weight(head, k, n) * inverse;
    token.pair(k) = {a, c, squared, inverse, is_floored};
    add(c, e, r, w);
  }
}

GF_KERNEL void wedge_rows(const Mat& z, const Offsets& offsets, int64_t first, int64_t end,
                          Token& token, const Mat& p) {
  const int64_t r = token.r;
  for (int64_t row = first; row < end; ++row) {
    float* to = p.row(row);
    const int64_t n = offsets.valid(row);
    if (n == 0) {
      std::fill_n(to, p.cols, 0.0f);
      continue;
    }
    for (int64_t head = 0; head < offsets.windows.heads; ++head) {
      look_back(z, offsets, row, head, n, token);
      const double *u = token.u(), *w = token.w();
      for (int64_t i = 0; i < r; to += r - ++i) {
#pragma omp simd
        for (int64_t j = i + 1; j < r; ++j) {
          to[j - i - 1] = static_cast<float>(u[i] * w[j] - u[j] * w[i]);
        }
      }
    }
  }
}

// y = P x.
GF_INLINE void antisymmetric_product(const float* dp, const double* x, int64_t r, double* y) {
  std::fill_n(y, r, 0.0);
  for (int64_t i = 0; i < r; dp += r - ++i) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = i + 1; j < r; ++j) {
      sum += dp[j - i - 1] * x[j];
      y[j] -= dp[j - i - 1] * x[i];
    }
    y[i] += sum;
  }
}

// Where the gradients of pairs go: dz [M, H r] = du, the gradient as u; dv [M, number of offsets, H
// r], that as v, what row t owes to row t - d; dweight [H, number of offsets] is added to.
struct PairGradients {
  Mat dz, dv;
  float* dweight;  // null where weights are not learned
};

// Of one head, whose dp is given, in a row with n > 0 valid offsets.
GF_INLINE void pass_back(const Offsets& offsets, int64_t row, int64_t head, const float* dp,
                         Token& token, const PairGradients& to) {
  const int64_t r = token.r;
  double *du = token.du(), *dw = token.dw();
  antisymmetric_product(dp, token.w(), r, du);
  antisymmetric_product(dp, token.u(), r, dw);
  for (int64_t j = 0; j < r; ++j) dw[j] = -dw[j];

  double along_u = 0;
  for (int64_t k = 0; k < offsets.count(); ++k) {
    if (!offsets.is_valid(k, row)) continue;
    const Pair& pair = token.pair(k);
    const double* e = token.e(k);
    const double product = dot(dw, e, r);
    if (to.dweight) {
      to.dweight[head * offsets.count() + k] += static_cast<float>(product * pair.inverse);
    }
    const double along_e = pair.is_floored ? 0.0 : product / pair.squared;
    float* dv = to.dv.row(row) + k * to.dz.cols + head * r;
#pragma omp simd
    for (int64_t j = 0; j < r; ++j) {
      const double d = pair.c * (dw[j] - along_e * e[j]);
      dv[j] = static_cast<float>(d);
      du[j] -= pair.a * d;
    }
    along_u += pair.c * along_e * pair.squared;
  }
  if (along_u != 0) add(-along_u / token.squared, token.u(), r, du);
  std::copy_n(du, r, to.dz.row(row) + head * r);
}

GF_KERNEL void wedge_backward_rows(const Mat& z, const Offsets& offsets, const Mat& dp,
                                   int64_t first, int64_t end, Token& token,
                                   const PairGradients& to) {
  const int64_t heads = offsets.windows.heads;
  for (int64_t row = first; row < end; ++row) {
    const int64_t n = offsets.valid(row);
    if (n == 0) {
      std::fill_n(to.dz.row(row), to.dz.cols, 0.0f);
      continue;
    }
    for (int64_t head = 0; head < heads; ++head) {
      look_back(z, offsets, row, head, n, token);
      pass_back(offsets, row, head, dp.row(row) + head * (dp.cols / heads), token, to);
    }
  }
}

// dz of a row += what the rows that look back at it owe to it.
GF_KERNEL void gather_rows(const Mat& dv, const Offsets& offsets, int64_t first, int64_t end,
                           const Mat& dz) {
  for (int64_t row = first; row < end; ++row) {
    float* to = dz.row(row);
    for (int64_t k = 0; k < offsets.count(); ++k) {
      if (row % offsets.length + offsets[k] >= offsets.length) continue;
      const float* from = dv.row(row + offsets[k]) + k * dz.cols;
#pragma omp simd
      for (int64_t j = 0; j < dz.cols; ++j) to[j] += from[j];
    }
  }
}

GF_KERNEL void add_row(const float* __restrict from, int64_t count, float* __restrict to) {
  for (int64_t j = 0; j < count; ++j) to[j] += from[j];
}

void wedge(ThreadPool& pool, const Mat& z, const Offsets& offsets, const Mat& p) {
  for_row_parts(pool, z.rows, [&](int64_t, int64_t first, int64_t end) {
    Token token(z.cols / offsets.windows.heads, offsets.count());
    wedge_rows(z, offsets, first, end, token, p);
  });
}

}  // namespace

void CpuOps::plucker(const Act& z, int64_t, int64_t length, const Windows& windows,
                     const Linear& layer, const Act& p_act, const Act& g) {
  const Range range(device_, "plucker");
  const Mat p = f32(p_act);
  const Offsets offsets{windows, length};
  wedge(pool_, f32(z), offsets, p);
  gemm_bias(pool_, p, transposed(layer.weight.value), layer.bias.value.data, f32(g),
            [&](const Tile& tile) {
              for (int64_t i = 0; i < tile.mat.rows; ++i) {
                if (offsets.valid(tile.row + i) > 0) continue;
                std::fill_n(tile.mat.row(i), tile.mat.cols, 0.0f);
              }
            });
}

void CpuOps::plucker_backward(const Act& dg_act, const Act& z_act, int64_t, int64_t length,
                              const Windows& windows, const Linear& layer, const Act& p_act,
                              const Act& dp_act, const Act& dz_act) {
  const Range range(device_, "plucker_backward");
  const Mat dg = f32(dg_act), z = f32(z_act), p = f32(p_act), dp = f32(dp_act), dz = f32(dz_act);
  const Offsets offsets{windows, length};
  wedge(pool_, z, offsets, p);
  gemm(pool_, transposed(dg), p, 0.0f, layer.weight.grad);

  const ColumnSums bias(partials_, dg.rows, 1, dg.cols);
  for_row_parts(pool_, dg.rows, [&](int64_t part, int64_t first, int64_t end) {
    for (int64_t row = first; row < end; ++row) {
      if (offsets.valid(row) > 0) add_row(dg.row(row), dg.cols, bias.of_part(part, 0));
    }
  });
  bias.write(0, layer.bias.grad);

  gemm(pool_, dg, layer.weight.value, 0.0f, dp);
  const int64_t owed = offsets.count() * z.cols;
  const auto memory = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(z.rows * owed));
  const Mat dv{memory.get(), z.rows, owed, owed};
  const ColumnSums weights(partials_, z.rows, 1, windows.heads * offsets.count());
  for_row_parts(pool_, z.rows, [&](int64_t part, int64_t first, int64_t end) {
    Token token(z.cols / windows.heads, offsets.count());
    float* dweight = windows.is_learned() ? weights.of_part(part, 0) : nullptr;
    wedge_backward_rows(z, offsets, dp, first, end, token, {dz, dv, dweight});
  });
  if (windows.is_learned()) weights.write(0, windows.weight.grad);
  for_row_parts(pool_, z.rows, [&](int64_t, int64_t first, int64_t end) {
    gather_rows(dv, offsets, first, end, dz);
  });
}

}  // namespace gf
