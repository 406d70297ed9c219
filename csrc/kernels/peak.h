// What the processor can do at most: multiply-adds in registers, and reading memory. The benchmark's yardsticks.
#pragma once
#include "common/parallel.h"
#include "simd/vec.h"

namespace lamina {
namespace {

#if defined(__aarch64__)
#define LAMINA_REGISTER(v) "+w"(v)
#elif defined(__x86_64__)
#define LAMINA_REGISTER(v) "+v"(v)
#else
#define LAMINA_REGISTER(v) "+m"(v)
#endif

constexpr int kChains = 12;  // independent sums: enough to hide the latency of two FMA units

// `rounds` multiply-adds on each of kChains vectors; the operations done. The factors are hidden from the compiler, or
// it would fold a chain away and the machine would seem faster than it is; `sink` keeps the sums alive.
template <class T>
double multiply_adds(Index rounds, T* sink) {
  Vec<T> acc[kChains];
  LAMINA_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = splat(static_cast<T>(i));
  Vec<T> a = splat(sink[0]), b = splat(sink[1]);
  for (Index r = 0; r < rounds; ++r) {
    asm volatile("" : LAMINA_REGISTER(a), LAMINA_REGISTER(b));
    LAMINA_UNROLL for (int i = 0; i < kChains; ++i) {
      acc[i] += a * b;
      asm volatile("" : LAMINA_REGISTER(acc[i]));
    }
  }
  Vec<T> sum = acc[0];
  LAMINA_UNROLL for (int i = 1; i < kChains; ++i) sum += acc[i];
  sink[0] = hsum<T>(sum) * T(1e-30);
  return 2.0 * kChains * kLanes<T> * static_cast<double>(rounds);
}

template <class T>
T sum_memory(Index n, const T* x) {
  Vec<T> sum[4] = {splat(T(0)), splat(T(0)), splat(T(0)), splat(T(0))};
  for (Index i = 0; i + 4 * kLanes<T> <= n; i += 4 * kLanes<T>)
    LAMINA_UNROLL for (int j = 0; j < 4; ++j) sum[j] += load(x + i + j * kLanes<T>);
  return hsum<T>(sum[0] + sum[1] + sum[2] + sum[3]);
}

}  // namespace
}  // namespace lamina
