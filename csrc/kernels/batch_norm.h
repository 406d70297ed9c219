// Batch normalisation (Ioffe & Szegedy 2015) of the columns of x (M,C): in NHWC, rows are the pixels of all images.
//
//   z = (x - mean) scale + shift,   scale = gamma inv,   inv = 1 / sqrt(var + eps),   shift = beta;   y = z or relu(z)
//   dbeta = sum d,   dgamma = sum d (x - mean) inv,   d = dy where relu let it pass
//   dx = scale (d - (sum d)/M - (x - mean) inv^2 (sum d (x - mean))/M),   or scale d with frozen statistics
//
// Whether relu let an element pass is worked out anew from x, so that y is not read again. Tasks: blocks of rows, small
// enough to stay in cache between the sum of a block and its squares about its own mean; blocks add up in order.
#pragma once
#include <bit>
#include <type_traits>

#include "kernels/reduce.h"

namespace lamina {
namespace {

constexpr Index kNormElements = 1 << 14;  // of a block: 64 KB of float32

// A power of two, so that the mean of a whole block divides exactly.
LAMINA_INLINE Index norm_rows(Index C) {
  return static_cast<Index>(std::bit_floor(static_cast<std::size_t>(greatest(1, kNormElements / greatest(C, 1)))));
}

// f(begin, end, block) for blocks of rows.
template <class T, class F>
void norm_blocks(Index M, Index C, double passes, F&& f) {
  const Index rows = norm_rows(C);
  parallel_for(ceil_div(M, rows), passes * kByte * sizeof(T) * static_cast<double>(rows * C),
               [&](Index block) { f(block * rows, least(M, (block + 1) * rows), block); });
}

// f(c, lanes, NV) over C columns by panels of NV vectors: rows are read in stretches, and sums stay in registers.
template <class T, class F>
LAMINA_INLINE void for_panels(Index C, F&& f) {
  constexpr int W = kLanes<T>;
  Index c = 0;
  for (; c + 4 * W <= C; c += 4 * W) f(c, W, std::integral_constant<int, 4>{});
  for (; c + 2 * W <= C; c += 2 * W) f(c, W, std::integral_constant<int, 2>{});
  for (; c + W <= C; c += W) f(c, W, std::integral_constant<int, 1>{});
  if (c < C) f(c, static_cast<int>(C - c), std::integral_constant<int, 1>{});
}

template <class T, int NV>
LAMINA_INLINE void load_panel(const T* p, int n, Vec<T> (&out)[NV]) {
  LAMINA_UNROLL for (int v = 0; v < NV; ++v) out[v] = load_some(p + v * kLanes<T>, n);
}

// Of rows [begin, end): the means of the columns, and the sums of squares about them. Never inlined: one rounding.
template <class T>
__attribute__((noinline)) void block_moments(Index begin, Index end, Index C, const T* x, T* means, T* squares) {
  constexpr int W = kLanes<T>;
  const Vec<T> count = splat(static_cast<T>(end - begin));
  for_panels<T>(C, [&](Index c, int n, auto panel) LAMINA_STEP {
    constexpr int NV = decltype(panel)::value;
    Vec<T> sum[NV], rest[NV], square[NV];
    LAMINA_UNROLL for (int v = 0; v < NV; ++v) sum[v] = rest[v] = square[v] = splat(T(0));
    for (Index i = begin; i < end; ++i)
      LAMINA_UNROLL for (int v = 0; v < NV; ++v) sum[v] += load_some(x + i * C + c + v * W, n);
    LAMINA_UNROLL for (int v = 0; v < NV; ++v) sum[v] = sum[v] / count;
    for (Index i = begin; i < end; ++i) {
      LAMINA_UNROLL for (int v = 0; v < NV; ++v) {
        const Vec<T> d = load_some(x + i * C + c + v * W, n) - sum[v];
        rest[v] += d;
        square[v] += d * d;
      }
    }
    // What rounding took from the mean of the block.
    LAMINA_UNROLL for (int v = 0; v < NV; ++v) {
      sum[v] += rest[v] / count;
      square[v] -= rest[v] * rest[v] / count;
    }
    LAMINA_UNROLL for (int v = 0; v < NV; ++v) {
      store_some(means + c + v * W, sum[v], n);
      store_some(squares + c + v * W, square[v], n);
    }
  });
}

// The moments of blocks of rows of x (M,C), and of all of them.
template <class T>
class BlockMoments {
 public:
  BlockMoments(Index M, Index C, const T* x)
      : M_(M),
        C_(C),
        rows_(norm_rows(C)),
        count_(ceil_div(M, rows_)),
        x_(x),
        parts_(sizeof(T) * static_cast<std::size_t>(2 * count_ * C)) {}
  void add(Index block) const {
    block_moments(block * rows_, least(M_, (block + 1) * rows_), C_, x_, means(block), squares(block));
  }
  // Means and biased variances.
  void merge(T* mean, T* var) const {
    for (Index c = 0; c < C_; ++c) {
      double total = 0, about = 0;
      for (Index b = 0; b < count_; ++b) total += size(b) * static_cast<double>(means(b)[c]);
      const double m = total / static_cast<double>(M_);
      for (Index b = 0; b < count_; ++b) {
        const double d = static_cast<double>(means(b)[c]) - m;
        about += static_cast<double>(squares(b)[c]) + size(b) * d * d;
      }
      mean[c] = static_cast<T>(m);
      var[c] = static_cast<T>(about / static_cast<double>(M_));
    }
  }

 private:
  double size(Index block) const { return static_cast<double>(least(rows_, M_ - block * rows_)); }
  T* means(Index block) const { return parts_.as<T>() + 2 * block * C_; }
  T* squares(Index block) const { return means(block) + C_; }
  Index M_, C_, rows_, count_;
  const T* x_;
  Buffer parts_;
};

// Means and biased variances of the columns.
template <class T>
void column_moments(Index M, Index C, const T* x, T* mean, T* var) {
  const BlockMoments<T> moments(M, C, x);
  norm_blocks<T>(M, C, 2, [&](Index, Index, Index block) { moments.add(block); });
  moments.merge(mean, var);
}

// v where z passes relu, or everywhere if `all` is all bits.
template <class T>
LAMINA_INLINE Vec<T> let_pass(Vec<T> z, Vec<T> v, IntVec<T> all) {
  return (z <= 0) & ~all ? splat(T(0)) : v;  // NaN passes
}
template <class T>
LAMINA_INLINE IntVec<T> no_relu(bool relu) {
  return relu ? IntVec<T>{} : ~IntVec<T>{};
}

// Rows [0, rows) of x, or of y itself. Never inlined: one rounding.
template <class T>
__attribute__((noinline)) void normalise(Index rows, Index C, const T* x, const T* mean, const T* scale, const T* shift,
                                         bool relu, T* y) {
  constexpr int W = kLanes<T>;
  const IntVec<T> all = no_relu<T>(relu);
  for_panels<T>(C, [&](Index c, int n, auto panel) LAMINA_STEP {
    constexpr int NV = decltype(panel)::value;
    Vec<T> m[NV], a[NV], b[NV];
    load_panel<T, NV>(mean + c, n, m);
    load_panel<T, NV>(scale + c, n, a);
    load_panel<T, NV>(shift + c, n, b);
    for (Index i = 0; i < rows; ++i) {
      LAMINA_UNROLL for (int v = 0; v < NV; ++v) {
        const Vec<T> z = (load_some(x + i * C + c + v * W, n) - m[v]) * a[v] + b[v];
        store_some(y + i * C + c + v * W, let_pass<T>(z, z, all), n);
      }
    }
  });
}

template <class T>
void batch_norm(Index M, Index C, const T* x, const T* mean, const T* scale, const T* shift, bool relu, T* y) {
  norm_blocks<T>(M, C, 2, [&](Index begin, Index end, Index) {
    normalise(end - begin, C, x + begin * C, mean, scale, shift, relu, y + begin * C);
  });
}

// Gradients of x (M,C): first the sums over all rows, then those of some rows at a time.
template <class T>
class NormGradients {
 public:
  NormGradients(Index M, Index C, const T* dy, const T* x, const Normal<T>& n, T* dgamma, T* dbeta)
      : M_(M), C_(C), dy_(dy), x_(x), n_(n), slopes_(sizeof(T) * static_cast<std::size_t>(2 * C)) {
    const Index blocks = ceil_div(M, norm_rows(C));
    Buffer buffer(sizeof(T) * static_cast<std::size_t>(2 * (blocks + 1) * C));
    T *const parts = buffer.as<T>(), *const sums = parts + 2 * blocks * C;
    norm_blocks<T>(M, C, 2, [&](Index begin, Index end, Index b) { add_up(begin, end, parts + 2 * b * C); });
    sum_rows(blocks, 2 * C, parts, sums);
    for (Index c = 0; c < C; ++c) {
      dbeta[c] = sums[c];
      dgamma[c] = sums[C + c] * n.inv[c];
      less()[c] = n.frozen ? T(0) : n.scale[c] * sums[c] / static_cast<T>(M);
      slope()[c] = n.frozen ? T(0) : n.scale[c] * n.inv[c] * dgamma[c] / static_cast<T>(M);
    }
  }
  // Rows [begin, end) to dx, the first of them at its start. Never inlined: one rounding.
  __attribute__((noinline)) void make(Index begin, Index end, T* dx) const {
    constexpr int W = kLanes<T>;
    const IntVec<T> all = no_relu<T>(n_.relu);
    const T *const x = x_ + begin * C_, *const dy = dy_ + begin * C_;
    for_panels<T>(C_, [&](Index c, int n, auto panel) LAMINA_STEP {
      constexpr int NV = decltype(panel)::value;
      Vec<T> m[NV], a[NV], b[NV], rest[NV], by[NV];
      load_panel<T, NV>(n_.mean + c, n, m);
      load_panel<T, NV>(n_.scale + c, n, a);
      load_panel<T, NV>(n_.shift + c, n, b);
      load_panel<T, NV>(less() + c, n, rest);
      load_panel<T, NV>(slope() + c, n, by);
      for (Index i = 0; i < end - begin; ++i) {
        LAMINA_UNROLL for (int v = 0; v < NV; ++v) {
          const Vec<T> d = load_some(x + i * C_ + c + v * W, n) - m[v];
          const Vec<T> g = let_pass<T>(d * a[v] + b[v], load_some(dy + i * C_ + c + v * W, n), all);
          store_some(dx + i * C_ + c + v * W, g * a[v] - rest[v] - d * by[v], n);
        }
      }
    });
  }

 private:
  // sum d and sum d (x - mean) of rows [begin, end), (2,C).
  void add_up(Index begin, Index end, T* sums) const {
    constexpr int W = kLanes<T>;
    const IntVec<T> all = no_relu<T>(n_.relu);
    for_panels<T>(C_, [&](Index c, int n, auto panel) LAMINA_STEP {
      constexpr int NV = decltype(panel)::value;
      Vec<T> sum[NV], product[NV], m[NV], a[NV], b[NV];
      LAMINA_UNROLL for (int v = 0; v < NV; ++v) sum[v] = product[v] = splat(T(0));
      load_panel<T, NV>(n_.mean + c, n, m);
      load_panel<T, NV>(n_.scale + c, n, a);
      load_panel<T, NV>(n_.shift + c, n, b);
      for (Index i = begin; i < end; ++i) {
        LAMINA_UNROLL for (int v = 0; v < NV; ++v) {
          const Vec<T> d = load_some(x_ + i * C_ + c + v * W, n) - m[v];
          const Vec<T> g = let_pass<T>(d * a[v] + b[v], load_some(dy_ + i * C_ + c + v * W, n), all);
          sum[v] += g;
          product[v] += g * d;
        }
      }
      LAMINA_UNROLL for (int v = 0; v < NV; ++v) {
        store_some(sums + c + v * W, sum[v], n);
        store_some(sums + C_ + c + v * W, product[v], n);
      }
    });
  }
  T* less() const { return slopes_.as<T>(); }
  T* slope() const { return less() + C_; }
  Index M_, C_;
  const T *dy_, *x_;
  Normal<T> n_;
  Buffer slopes_;
};

template <class T>
void batch_norm_backward(Index M, Index C, const T* dy, const T* x, const Normal<T>& n, T* dx, T* dgamma, T* dbeta) {
  const NormGradients<T> gradients(M, C, dy, x, n, dgamma, dbeta);
  norm_blocks<T>(M, C, 3, [&](Index begin, Index end, Index) { gradients.make(begin, end, dx + begin * C); });
}

}  // namespace
}  // namespace lamina
