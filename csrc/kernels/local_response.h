// Local response normalisation (Krizhevsky, Sutskever & Hinton 2012) of the rows of x (M,C), across channels:
//
//   y = x d^-beta,   d[c] = k + alpha (sum of x[j]^2 over the `size` channels j around c that exist)
//   dx[c] = dy[c] d[c]^-beta - 2 alpha beta x[c] (sum of t[j] over the same),   t = dy x d^(-beta - 1)
//
// d is kept for the way back. A row is copied between zeros, so that every window is whole. Tasks: blocks of rows.
#pragma once
#include "kernels/batch_norm.h"
#include "kernels/pack.h"

namespace lamina {
namespace {

template <class T>
LAMINA_INLINE Vec<T> vpower(Vec<T> x, T exponent) {
  return vexp<T>(splat(exponent) * vlog<T>(x));
}

// f(row, scratch) for each row, with zeroed scratch for a row and half a window on either side of it.
template <class T, class F>
void for_bordered_rows(Index M, Index C, Index size, F&& f) {
  const Index rows = norm_rows(C), length = C + size + kLanes<T>;
  parallel_for_scratch(ceil_div(M, rows), 30 * kByte * static_cast<double>(rows * C),
                       sizeof(T) * static_cast<std::size_t>(length), [&](Index block, void* scratch) {
                         T* const border = static_cast<T*>(scratch);
                         fill_zero(border, length);
                         for (Index i = block * rows; i < least(M, (block + 1) * rows); ++i) f(i * C, border);
                       });
}
template <class T>
LAMINA_INLINE Vec<T> window_sum(const T* first, Index size) {
  Vec<T> sum = load(first);
  for (Index j = 1; j < size; ++j) sum += load(first + j);
  return sum;
}

template <class T>
void local_response(Index M, Index C, const T* x, Index size, T alpha, T beta, T k, T* y, T* d) {
  for_bordered_rows<T>(M, C, size, [&](Index row, T* border) {
    for_vectors<T>(0, C, [&](Index c, int n) LAMINA_STEP {
      const Vec<T> v = load_some(x + row + c, n);
      store_some(border + size / 2 + c, v * v, n);
    });
    for_vectors<T>(0, C, [&](Index c, int n) LAMINA_STEP {
      const Vec<T> divisor = splat(k) + splat(alpha) * window_sum(border + c, size);
      store_some(d + row + c, divisor, n);
      store_some(y + row + c, load_some(x + row + c, n) * vpower<T>(divisor, -beta), n);
    });
  });
}

template <class T>
void local_response_backward(Index M, Index C, const T* dy, const T* x, const T* d, Index size, T alpha, T beta,
                             T* dx) {
  const Vec<T> factor = splat(2 * alpha * beta);
  for_bordered_rows<T>(M, C, size, [&](Index row, T* border) {
    for_vectors<T>(0, C, [&](Index c, int n) LAMINA_STEP {
      const Vec<T> divisor = load_some(d + row + c, n), power = vpower<T>(divisor, -beta);
      const Vec<T> g = load_some(dy + row + c, n) * power;
      store_some(dx + row + c, g, n);
      store_some(border + size / 2 + c, g * load_some(x + row + c, n) / divisor, n);
    });
    for_vectors<T>(0, C, [&](Index c, int n) LAMINA_STEP {
      const Vec<T> back = factor * load_some(x + row + c, n) * window_sum(border + c, size);
      store_some(dx + row + c, load_some(dx + row + c, n) - back, n);
    });
  });
}

}  // namespace
}  // namespace lamina
