// The k greatest of each row. Selection first (linear), then only those k are sorted.
#include <algorithm>
#include <cmath>
#include <vector>

#include "common/parallel.h"
#include "kernels/kernels.h"

namespace lamina {
namespace {

template <class T>
void topk_row(Index N, Index k, const T* x, T* values, std::int64_t* indices, std::int64_t* order) {
  const auto before = [x](std::int64_t a, std::int64_t b) {
    const T u = x[a], v = x[b];
    const bool nan_u = std::isnan(u), nan_v = std::isnan(v);
    if (nan_u || nan_v) return nan_u != nan_v ? nan_u : a < b;
    return u != v ? u > v : a < b;
  };
  for (Index j = 0; j < N; ++j) order[j] = j;
  if (k < N) std::nth_element(order, order + k, order + N, before);
  std::sort(order, order + k, before);
  for (Index j = 0; j < k; ++j) {
    indices[j] = order[j];
    values[j] = x[order[j]];
  }
}

}  // namespace

template <class T>
void topk(Index M, Index N, Index k, const T* x, T* values, std::int64_t* indices) {
  parallel_for_scratch(M, 20.0 * static_cast<double>(N), sizeof(std::int64_t) * static_cast<std::size_t>(N),
                       [&](Index i, void* scratch) {
                         topk_row(N, k, x + i * N, values + i * k, indices + i * k,
                                  static_cast<std::int64_t*>(scratch));
                       });
}

template void topk(Index, Index, Index, const float*, float*, std::int64_t*);
template void topk(Index, Index, Index, const double*, double*, std::int64_t*);

}  // namespace lamina
