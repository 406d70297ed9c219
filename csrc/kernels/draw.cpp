// One index of each row of x (M,V), drawn with the probabilities softmax(x / temperature): the first whose cumulative
// weight exceeds u (M) of the whole, 0 <= u < 1. No SIMD in it, and all in double: rows are short beside the products
// that made them. The parallel axis: rows.
#include <cmath>

#include "common/parallel.h"
#include "kernels/kernels.h"

namespace lamina {
namespace {

// -1 if there is no finite greatest element, or a NaN.
template <class T>
Index greatest_of(Index V, const T* x) {
  Index best = 0;
  for (Index j = 0; j < V; ++j) {
    if (std::isnan(x[j])) return -1;
    if (x[j] > x[best]) best = j;
  }
  return V > 0 && std::isfinite(x[best]) ? best : -1;
}

template <class T>
Index draw_row(Index V, const T* x, double temperature, double u, double* sums) {
  const Index best = greatest_of(V, x);
  if (best < 0 || temperature == 0) return best;
  const double most = static_cast<double>(x[best]);
  double sum = 0;
  for (Index j = 0; j < V; ++j) sums[j] = sum += std::exp((static_cast<double>(x[j]) - most) / temperature);
  Index drawn = 0;
  while (drawn < V - 1 && sums[drawn] <= u * sum) ++drawn;
  while (drawn > 0 && sums[drawn] == sums[drawn - 1]) --drawn;  // u * sum was rounded up to the sum
  return drawn;
}

}  // namespace

template <class T>
void draw(Index M, Index V, const T* x, double temperature, const T* u, std::int64_t* indices) {
  parallel_for_scratch(
      M, 60.0 * static_cast<double>(V), sizeof(double) * static_cast<std::size_t>(V), [&](Index i, void* scratch) {
        indices[i] = draw_row(V, x + i * V, temperature, static_cast<double>(u[i]), static_cast<double*>(scratch));
      });
}

template void draw(Index, Index, const float*, double, const float*, std::int64_t*);
template void draw(Index, Index, const double*, double, const double*, std::int64_t*);

}  // namespace lamina
