// Products with few rows, such as one sample through a dense layer: b is read once, where it stands, for packing it
// would cost three times the reading. Bound by memory.
//
//   rows of b contiguous:     c[j..] += sum over kStreams k's of a[k] * b[k][j..]   so many rows are read side by side
//   columns of b contiguous:  c[j] = sum over vectors of k, then over lanes     kDots columns at a time
//
// Tasks: blocks of columns; relu is taken of a block while it is in cache.
#pragma once
#include "common/parallel.h"
#include "kernels/pack.h"

namespace lamina {
namespace {

constexpr Index kFewRows = 2;
constexpr int kStreams = 8, kDots = 4;
constexpr Index kRowPart = 512, kGemvColumns = 64;  // of a task, where rows, and where columns of b are contiguous

// What a sum starts from: c itself, the bias, or nothing.
template <class T>
struct Start {
  const T* bias;
  bool accumulate;
  LAMINA_INLINE Vec<T> vector(const T* c, Index j, int n) const {
    return accumulate ? load_some(c + j, n) : bias ? load_some(bias + j, n) : splat(T(0));
  }
  LAMINA_INLINE T element(const T* c, Index j) const { return accumulate ? c[j] : bias ? bias[j] : T(0); }
};

// c (columns begin to end) += the rows k..k+R of b; or from `start` at the first.
template <class T, int R>
LAMINA_INLINE void add_rows(Index k, const T* a, Index step, const T* b, Index ldb, Index begin, Index end,
                            Start<T> start, T* c) {
  Vec<T> x[R];
  LAMINA_UNROLL for (int r = 0; r < R; ++r) x[r] = splat(a[(k + r) * step]);
  for_vectors<T>(begin, end, [&](Index j, int n) LAMINA_STEP {
    Vec<T> acc = k == 0 ? start.vector(c, j, n) : load_some(c + j, n);
    LAMINA_UNROLL for (int r = 0; r < R; ++r) acc += x[r] * load_some(b + (k + r) * ldb + j, n);
    store_some(c + j, acc, n);
  });
}

template <class T>
void row_times_rows(Index K, const T* a, Index step, const T* b, Index ldb, Index begin, Index end, Start<T> start,
                    T* c) {
  Index k = 0;
  if (K == 0)
    for_vectors<T>(begin, end, [&](Index j, int n) LAMINA_STEP { store_some(c + j, start.vector(c, j, n), n); });
  for (; k + kStreams <= K; k += kStreams) add_rows<T, kStreams>(k, a, step, b, ldb, begin, end, start, c);
  for (; k < K; ++k) add_rows<T, 1>(k, a, step, b, ldb, begin, end, start, c);
}

template <class T, int N>
LAMINA_INLINE void dots(Index K, const T* a, const T* b, Index ldb, Index j, Start<T> start, T* c) {
  Vec<T> acc[N];
  LAMINA_UNROLL for (int q = 0; q < N; ++q) acc[q] = splat(T(0));
  for_vectors<T>(0, K, [&](Index k, int n) LAMINA_STEP {
    const Vec<T> x = load_some(a + k, n);
    LAMINA_UNROLL for (int q = 0; q < N; ++q) acc[q] += x * load_some(b + (j + q) * ldb + k, n);
  });
  LAMINA_UNROLL for (int q = 0; q < N; ++q) c[j + q] = start.element(c, j + q) + hsum<T>(acc[q]);
}

template <class T>
void row_times_columns(Index K, const T* a, const T* b, Index ldb, Index begin, Index end, Start<T> start, T* c) {
  Index j = begin;
  for (; j + kDots <= end; j += kDots) dots<T, kDots>(K, a, b, ldb, j, start, c);
  for (; j < end; ++j) dots<T, 1>(K, a, b, ldb, j, start, c);
}

template <class T>
LAMINA_INLINE bool suits_gemv(Index M, const MatrixView<T>& a, const MatrixView<T>& b) {
  return M <= kFewRows && (b.cs == 1 || (b.rs == 1 && a.cs == 1));
}

template <class T>
void gemv(Index M, Index N, Index K, MatrixView<T> a, MatrixView<T> b, T* c, Index ldc, const T* bias, bool accumulate,
          bool relu) {
  const Start<T> start{bias, accumulate};
  const Index columns = b.cs == 1 ? kRowPart : kGemvColumns;
  parallel_blocks(N, columns, kByte * sizeof(T) * static_cast<double>(K), [&](Index begin, Index end) {
    for (Index i = 0; i < M; ++i) {
      if (b.cs == 1)
        row_times_rows(K, a.data + i * a.rs, a.cs, b.data, b.rs, begin, end, start, c + i * ldc);
      else
        row_times_columns(K, a.data + i * a.rs, b.data, b.cs, begin, end, start, c + i * ldc);
      if (!relu) continue;
      T* const row = c + i * ldc;
      for_vectors<T>(begin, end,
                     [&](Index j, int n) LAMINA_STEP { store_some(row + j, vrelu(load_some(row + j, n)), n); });
    }
  });
}

}  // namespace
}  // namespace lamina
