// Sums over rows, ld elements apart: out[j] = sum over i of x[i][j]. Rows are summed in blocks of kSumRows, block sums then in order.
#pragma once
#include "common/parallel.h"
#include "simd/vec.h"

namespace lamina {
namespace {

constexpr Index kSumRows = 512;

template <class T>
void sum_rows(Index M, Index N, const T* x, T* out, Index ld) {
  const Index blocks = greatest(1, ceil_div(M, kSumRows));
  Buffer partial(sizeof(T) * static_cast<std::size_t>(blocks * N));
  T* const sums = partial.as<T>();
  parallel_for(blocks, kByte * sizeof(T) * static_cast<double>(least(M, kSumRows) * N), [&](Index block) {
    T* row = sums + block * N;
    for_vectors<T>(0, N, [&](Index j, int n) LAMINA_STEP {
      Vec<T> sum = splat(T(0));
      for (Index i = block * kSumRows; i < least(M, (block + 1) * kSumRows); ++i) sum += load_some(x + i * ld + j, n);
      store_some(row + j, sum, n);
    });
  });
  for_vectors<T>(0, N, [&](Index j, int n) LAMINA_STEP {
    Vec<T> sum = load_some(sums + j, n);
    for (Index b = 1; b < blocks; ++b) sum += load_some(sums + b * N + j, n);
    store_some(out + j, sum, n);
  });
}

template <class T>
void sum_rows(Index M, Index N, const T* x, T* out) {
  sum_rows(M, N, x, out, N);
}

}  // namespace
}  // namespace lamina
