// Mean squared error: mean((x - t)^2). Blocks of kElements are summed in vectors, the blocks' sums in order in float64.
#pragma once
#include "kernels/elementwise.h"

namespace lamina {
namespace {

template <class T>
T mean_squared_error(Index n, const T* x, const T* target) {
  const Index blocks = ceil_div(n, kElements);
  Buffer partial(sizeof(double) * static_cast<std::size_t>(blocks));
  parallel_blocks(n, kElements, 2 * kByte * sizeof(T), [&](Index begin, Index end) {
    Vec<T> sum = splat(T(0));
    for_vectors<T>(begin, end, [&](Index i, int lanes) LAMINA_STEP {
      const Vec<T> d = load_some(x + i, lanes) - load_some(target + i, lanes);
      sum += d * d;
    });
    partial.as<double>()[begin / kElements] = static_cast<double>(hsum<T>(sum));
  });
  double total = 0;
  for (Index b = 0; b < blocks; ++b) total += partial.as<double>()[b];
  return static_cast<T>(total / static_cast<double>(n));
}

template <class T>
void mean_squared_error_backward(Index n, double dloss, const T* x, const T* target, T* dx) {
  const Vec<T> scale = splat(static_cast<T>(2 * dloss / static_cast<double>(n)));
  map2(n, x, target, dx, 3 * kByte * sizeof(T), [&](Vec<T> a, Vec<T> t) { return scale * (a - t); });
}

}  // namespace
}  // namespace lamina
