// Sums of two arrays, element by element: bound by memory on every instruction set, so one build serves all.
#include "common/parallel.h"
#include "kernels/kernels.h"

namespace lamina {

template <class T>
void add(Index n, const T* a, const T* b, T* y) {
  parallel_blocks(n, Index{1} << 14, 3 * kByte * sizeof(T), [=](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) y[i] = a[i] + b[i];
  });
}

template void add(Index, const float*, const float*, float*);
template void add(Index, const double*, const double*, double*);

}  // namespace lamina
