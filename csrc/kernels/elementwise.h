// Activations, element by element; backward from the output y, which is all that these derivatives need.
#pragma once
#include "common/parallel.h"
#include "simd/math.h"

namespace lamina {
namespace {

constexpr Index kElements = 1 << 14;  // of a task

template <class T, class F>
LAMINA_INLINE void map1(Index n, const T* a, T* out, double cost, F&& f) {
  parallel_blocks(n, kElements, cost, [&](Index begin, Index end) {
    for_vectors<T>(begin, end,
                   [&](Index i, int lanes) LAMINA_STEP { store_some(out + i, f(load_some(a + i, lanes)), lanes); });
  });
}
template <class T, class F>
LAMINA_INLINE void map2(Index n, const T* a, const T* b, T* out, double cost, F&& f) {
  parallel_blocks(n, kElements, cost, [&](Index begin, Index end) {
    for_vectors<T>(begin, end, [&](Index i, int lanes) LAMINA_STEP {
      store_some(out + i, f(load_some(a + i, lanes), load_some(b + i, lanes)), lanes);
    });
  });
}

template <class T>
void relu(Index n, const T* x, T* y) {
  map1(n, x, y, 2 * kByte * sizeof(T), [](Vec<T> v) { return vrelu(v); });
}
template <class T>
void relu_backward(Index n, const T* dy, const T* y, T* dx) {
  map2(n, dy, y, dx, 3 * kByte * sizeof(T), [](Vec<T> d, Vec<T> v) { return v <= 0 ? splat(T(0)) : d; });
}

template <class T>
void sigmoid(Index n, const T* x, T* y) {
  map1(n, x, y, 8 * kByte * sizeof(T), [](Vec<T> v) { return vsigmoid<T>(v); });
}
template <class T>
void sigmoid_backward(Index n, const T* dy, const T* y, T* dx) {
  map2(n, dy, y, dx, 3 * kByte * sizeof(T), [](Vec<T> d, Vec<T> v) { return d * v * (splat(T(1)) - v); });
}

template <class T>
void tanh(Index n, const T* x, T* y) {
  map1(n, x, y, 8 * kByte * sizeof(T), [](Vec<T> v) { return vtanh<T>(v); });
}
template <class T>
void tanh_backward(Index n, const T* dy, const T* y, T* dx) {
  map2(n, dy, y, dx, 3 * kByte * sizeof(T), [](Vec<T> d, Vec<T> v) { return d * (splat(T(1)) - v * v); });
}

}  // namespace
}  // namespace lamina
