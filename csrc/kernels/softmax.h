// Softmax, its logarithm, and the cross-entropy of its rows, each in one pass over memory per row (a row stays in
// cache).
//
//   p[j] = exp(x[j] - max) / sum        log p[j] = x[j] - max - log(sum)        loss = log(sum) + max - x[label]
//
// Tasks: groups of rows. The lanes of a row's sum are folded in one order.
#pragma once
#include "common/parallel.h"
#include "simd/math.h"

namespace lamina {
namespace {

constexpr Index kRowElements = 4096;  // of a task

template <class T, class F>
LAMINA_INLINE void for_rows(Index M, Index N, F&& f) {
  parallel_blocks(M, greatest(1, kRowElements / greatest(N, 1)), 12 * kByte * sizeof(T) * static_cast<double>(N),
                  [&](Index i, Index end) {
                    for (; i < end; ++i) f(i);
                  });
}

template <class T>
LAMINA_INLINE T row_max(const T* x, Index N) {
  constexpr int W = kLanes<T>;
  T best = x[0];
  Index j = 0;
  if (N >= W) {
    Vec<T> v = load(x);
    for (; j + W <= N; j += W) v = vmax(load(x + j), v);
    best = hmax<T>(v);
  }
  for (; j < N; ++j) best = x[j] > best ? x[j] : best;
  return best;
}

// y = exp(x - max); the sum of y.
template <class T>
LAMINA_INLINE T exp_row(const T* x, T max, Index N, T* y) {
  constexpr int W = kLanes<T>;
  Vec<T> sums = splat(T(0));
  Index j = 0;
  for (; j + W <= N; j += W) {
    const Vec<T> e = vexp<T>(load(x + j) - splat(max));
    sums += e;
    store(y + j, e);
  }
  T sum = hsum<T>(sums);
  if (j < N) {
    store_n(y + j, vexp<T>(load_n(x + j, static_cast<int>(N - j)) - splat(max)), static_cast<int>(N - j));
    for (; j < N; ++j) sum += y[j];
  }
  return sum;
}

template <class T>
LAMINA_INLINE void divide_row(T* y, Index N, T divisor) {
  for_vectors<T>(0, N, [&](Index j, int n) LAMINA_STEP { store_some(y + j, load_some(y + j, n) / splat(divisor), n); });
}

template <class T>
LAMINA_INLINE T natural_log(T x) {
  if constexpr (sizeof(T) == 4)
    return __builtin_logf(x);
  else
    return __builtin_log(x);
}

template <class T>
void softmax(Index M, Index N, const T* x, T* y) {
  for_rows<T>(M, N,
              [&](Index i) { divide_row(y + i * N, N, exp_row(x + i * N, row_max(x + i * N, N), N, y + i * N)); });
}

// The sum over a row of a*b.
template <class T>
LAMINA_INLINE T row_dot(const T* a, const T* b, Index N) {
  Vec<T> sum = splat(T(0));
  for_vectors<T>(0, N, [&](Index j, int n) LAMINA_STEP { sum += load_some(a + j, n) * load_some(b + j, n); });
  return hsum<T>(sum);
}

template <class T>
void softmax_backward(Index M, Index N, const T* dy, const T* y, T* dx) {
  for_rows<T>(M, N, [&](Index i) {
    const T *d = dy + i * N, *p = y + i * N;
    const Vec<T> dot = splat(row_dot(d, p, N));
    for_vectors<T>(0, N, [&](Index j, int n) LAMINA_STEP {
      store_some(dx + i * N + j, load_some(p + j, n) * (load_some(d + j, n) - dot), n);
    });
  });
}

template <class T>
void log_softmax(Index M, Index N, const T* x, T* y) {
  for_rows<T>(M, N, [&](Index i) {
    const T max = row_max(x + i * N, N);
    const T log_sum = natural_log(exp_row(x + i * N, max, N, y + i * N));
    for_vectors<T>(0, N, [&](Index j, int n) LAMINA_STEP {
      store_some(y + i * N + j, (load_some(x + i * N + j, n) - splat(max)) - splat(log_sum), n);
    });
  });
}

template <class T>
void log_softmax_backward(Index M, Index N, const T* dy, const T* y, T* dx) {
  for_rows<T>(M, N, [&](Index i) {
    Vec<T> sum = splat(T(0));
    for_vectors<T>(0, N, [&](Index j, int n) LAMINA_STEP { sum += load_some(dy + i * N + j, n); });
    const Vec<T> total = splat(hsum<T>(sum));
    for_vectors<T>(0, N, [&](Index j, int n) LAMINA_STEP {
      store_some(dx + i * N + j, load_some(dy + i * N + j, n) - vexp<T>(load_some(y + i * N + j, n)) * total, n);
    });
  });
}

template <class T>
void softmax_cross_entropy(Index M, Index N, const T* x, const std::int64_t* labels, T* loss, T* probabilities) {
  for_rows<T>(M, N, [&](Index i) {
    const T* row = x + i * N;
    T* p = probabilities + i * N;
    const T max = row_max(row, N), sum = exp_row(row, max, N, p);
    divide_row(p, N, sum);
    loss[i] = natural_log(sum) + (max - row[labels[i]]);
  });
}

template <class T>
void softmax_cross_entropy_backward(Index M, Index N, const T* dloss, const T* probabilities,
                                    const std::int64_t* labels, T* dx) {
  for_rows<T>(M, N, [&](Index i) {
    const Vec<T> scale = splat(dloss[i]);
    for_vectors<T>(0, N, [&](Index j, int n) LAMINA_STEP {
      store_some(dx + i * N + j, scale * load_some(probabilities + i * N + j, n), n);
    });
    dx[i * N + labels[i]] -= dloss[i];
  });
}

}  // namespace
}  // namespace lamina
