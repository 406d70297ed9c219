// Group normalisation (Wu & He 2018) of samples x (N,P,C): P pixels of C channels in G groups. With P = 1 and G = 1 it
// is layer normalisation (Ba, Kiros & Hinton 2016).
//
//   y = xhat gamma + beta,   xhat = (x - mean) inv,   inv = 1 / sqrt(var + eps), of each sample and group
//   dx = inv (g - mean of g - xhat (mean of g xhat)),   g = dy gamma;   dgamma = sum dy xhat,   dbeta = sum dy
//
// Tasks: blocks of samples. Sums over a group go in vectors over at most kSumRows pixels, then in float64.
#pragma once
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/pack.h"

namespace lamina {
namespace {

template <class T, class F>
void for_samples(const GroupNormShape& s, double passes, F&& f) {
  norm_blocks<T>(s.N, s.P * s.C, passes, f);
}

// term(offset in the sample, channel, lanes), summed over a group; lanes beyond its end must be 0.
template <class T, class F>
LAMINA_INLINE double group_sum(const GroupNormShape& s, Index g, F&& term) {
  const Index width = s.C / s.G;
  double total = 0;
  for (Index first = 0; first < s.P; first += kSumRows) {
    Vec<T> sum = splat(T(0));
    for (Index p = first; p < least(s.P, first + kSumRows); ++p)
      for_vectors<T>(g * width, (g + 1) * width, [&](Index c, int n) LAMINA_STEP { sum += term(p * s.C + c, c, n); });
    total += static_cast<double>(hsum<T>(sum));
  }
  return total;
}
template <class T, class F>
LAMINA_INLINE void for_group(const GroupNormShape& s, Index g, F&& f) {
  const Index width = s.C / s.G;
  for (Index p = 0; p < s.P; ++p)
    for_vectors<T>(g * width, (g + 1) * width, [&](Index c, int n) LAMINA_STEP { f(p * s.C + c, c, n); });
}

// A number in every lane, of which load_some leaves 0 in the lanes that do not exist.
template <class T>
struct Lanes {
  T lane[kLanes<T>];
  explicit Lanes(T x) { store(lane, splat(x)); }
};

template <class T>
void group_norm(const GroupNormShape& s, const T* x, const T* gamma, const T* beta, double eps, T* y, T* mean, T* inv) {
  const double count = static_cast<double>(s.P * (s.C / s.G));
  for_samples<T>(s, 3, [&](Index begin, Index end, Index) {
    for (Index at = begin * s.G; at < end * s.G; ++at) {
      const Index g = at % s.G;
      const T* const from = x + at / s.G * s.P * s.C;
      T* const to = y + at / s.G * s.P * s.C;
      const double sum = group_sum<T>(s, g, [&](Index i, Index, int n) LAMINA_STEP { return load_some(from + i, n); });
      mean[at] = static_cast<T>(sum / count);
      const Lanes<T> means(mean[at]);
      const double squares = group_sum<T>(s, g, [&](Index i, Index, int n) LAMINA_STEP {
        const Vec<T> d = load_some(from + i, n) - load_some(means.lane, n);
        return d * d;
      });
      inv[at] = static_cast<T>(1 / std::sqrt(squares / count + eps));
      const Vec<T> m = splat(mean[at]), by = splat(inv[at]);
      for_group<T>(s, g, [&](Index i, Index c, int n) LAMINA_STEP {
        const Vec<T> xhat = (load_some(from + i, n) - m) * by;
        store_some(to + i, xhat * load_some(gamma + c, n) + load_some(beta + c, n), n);
      });
    }
  });
}

template <class T>
void group_norm_backward(const GroupNormShape& s, const T* dy, const T* x, const T* gamma, const T* mean, const T* inv,
                         T* dx, T* dgamma, T* dbeta) {
  const double count = static_cast<double>(s.P * (s.C / s.G));
  const Index blocks = ceil_div(s.N, norm_rows(s.P * s.C));
  Buffer partial(sizeof(T) * static_cast<std::size_t>(2 * (blocks + 1) * s.C));
  T *const parts = partial.as<T>(), *const sums = parts + 2 * blocks * s.C;
  for_samples<T>(s, 4, [&](Index begin, Index end, Index block) {
    T *const dg = parts + 2 * block * s.C, *const db = dg + s.C;
    fill_zero(dg, 2 * s.C);
    for (Index at = begin * s.G; at < end * s.G; ++at) {
      const Index g = at % s.G, sample = at / s.G * s.P * s.C;
      const T *const from = x + sample, *const grad = dy + sample;
      const Vec<T> m = splat(mean[at]), by = splat(inv[at]);
      const double sum = group_sum<T>(
          s, g, [&](Index i, Index c, int n) LAMINA_STEP { return load_some(grad + i, n) * load_some(gamma + c, n); });
      const double product = group_sum<T>(s, g, [&](Index i, Index c, int n) LAMINA_STEP {
        return load_some(grad + i, n) * load_some(gamma + c, n) * ((load_some(from + i, n) - m) * by);
      });
      const Vec<T> less = splat(static_cast<T>(sum / count)), slope = splat(static_cast<T>(product / count));
      for_group<T>(s, g, [&](Index i, Index c, int n) LAMINA_STEP {
        const Vec<T> xhat = (load_some(from + i, n) - m) * by, d = load_some(grad + i, n);
        store_some(dg + c, load_some(dg + c, n) + d * xhat, n);
        store_some(db + c, load_some(db + c, n) + d, n);
        store_some(dx + sample + i, by * (d * load_some(gamma + c, n) - less - xhat * slope), n);
      });
    }
  });
  if (blocks == 0) fill_zero(parts, 2 * s.C);
  sum_rows(greatest(blocks, 1), 2 * s.C, parts, sums);
  copy(sums, dgamma, s.C);
  copy(sums + s.C, dbeta, s.C);
}

}  // namespace
}  // namespace lamina
