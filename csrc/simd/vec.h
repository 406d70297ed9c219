// vec<T>: as many T as the unit's registers hold, by the compilers' vector extensions; + - * / and comparisons are the
// language's own. Included by the per-ISA units only, which define LAMINA_VEC_BYTES.
#pragma once
#include "common/types.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define LAMINA_INLINE inline __attribute__((always_inline))
#define LAMINA_STEP __attribute__((always_inline))  // of a lambda that is called for whole vectors and for the rest
#define LAMINA_UNROLL _Pragma("GCC unroll 32")

namespace lamina {
namespace {

template <class T>
struct Simd {
  static constexpr int W = LAMINA_VEC_BYTES / static_cast<int>(sizeof(T));
  typedef T V __attribute__((vector_size(LAMINA_VEC_BYTES)));
  typedef T Unaligned __attribute__((vector_size(LAMINA_VEC_BYTES), aligned(sizeof(T)), may_alias));
};
template <class T>
using Vec = typename Simd<T>::V;
template <class T>
constexpr int kLanes = Simd<T>::W;

// Integers as wide as T: bit patterns, masks, counts.
template <class T>
struct IntLanes;
template <>
struct IntLanes<float> {
  typedef std::int32_t V __attribute__((vector_size(LAMINA_VEC_BYTES)));
};
template <>
struct IntLanes<double> {
  typedef std::int64_t V __attribute__((vector_size(LAMINA_VEC_BYTES)));
};
template <class T>
using IntVec = typename IntLanes<T>::V;

template <class T>
LAMINA_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::Unaligned*>(p);
}
template <class T>
LAMINA_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename Simd<T>::Unaligned*>(p) = v;
}

// All lanes x. Not x + zero vector: that leaves a real addition in the code.
LAMINA_INLINE Vec<float> splat(float x) {
#if LAMINA_VEC_BYTES == 64
  return Vec<float>{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif LAMINA_VEC_BYTES == 32
  return Vec<float>{x, x, x, x, x, x, x, x};
#else
  return Vec<float>{x, x, x, x};
#endif
}
LAMINA_INLINE Vec<double> splat(double x) {
#if LAMINA_VEC_BYTES == 64
  return Vec<double>{x, x, x, x, x, x, x, x};
#elif LAMINA_VEC_BYTES == 32
  return Vec<double>{x, x, x, x};
#else
  return Vec<double>{x, x};
#endif
}

// The first n lanes, 0 < n <= W; the others read as zero and are not touched in memory.
template <class T>
LAMINA_INLINE Vec<T> load_n(const T* p, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
  else
    return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
#else
  T lanes[kLanes<T>] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
#endif
}
template <class T>
LAMINA_INLINE void store_n(T* p, Vec<T> v, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
  else
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
#else
  for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// Vectors of L lanes, a register or half of one: what a tile is made of.
template <class T>
constexpr int kHalfLanes = kLanes<T> >= 4 ? kLanes<T> / 2 : kLanes<T>;
template <class T, int L>
struct LanesOf {
  typedef T V __attribute__((vector_size(L * sizeof(T))));
  typedef T Unaligned __attribute__((vector_size(L * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <class T, int L>
using VecOf = typename LanesOf<T, L>::V;

template <class T, int L>
LAMINA_INLINE VecOf<T, L> load_of(const T* p) {
  return *reinterpret_cast<const typename LanesOf<T, L>::Unaligned*>(p);
}
template <class T, int L>
LAMINA_INLINE void store_of(T* p, VecOf<T, L> v) {
  *reinterpret_cast<typename LanesOf<T, L>::Unaligned*>(p) = v;
}
template <class T, int L, int N = L, int... I>
LAMINA_INLINE VecOf<T, L> splat_of(T x) {
  if constexpr (N == 0)
    return VecOf<T, L>{((void)I, x)...};
  else
    return splat_of<T, L, N - 1, I..., N>(x);
}
template <class T, int L>
LAMINA_INLINE VecOf<T, L> load_n_of(const T* p, int n) {
  if constexpr (L == kLanes<T>) return load_n(p, n);
#if defined(__AVX512VL__)
  if constexpr (L == 8 && sizeof(T) == 4) return _mm256_maskz_loadu_ps(static_cast<__mmask8>((1u << n) - 1), p);
  if constexpr (L == 4 && sizeof(T) == 8) return _mm256_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
#endif
  T lanes[L] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_of<T, L>(lanes);
}
template <class T, int L>
LAMINA_INLINE void store_n_of(T* p, VecOf<T, L> v, int n) {
  if constexpr (L == kLanes<T>) return store_n(p, v, n);
#if defined(__AVX512VL__)
  if constexpr (L == 8 && sizeof(T) == 4) return _mm256_mask_storeu_ps(p, static_cast<__mmask8>((1u << n) - 1), v);
  if constexpr (L == 4 && sizeof(T) == 8) return _mm256_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
#endif
  for (int i = 0; i < n; ++i) p[i] = v[i];
}

template <class V>
LAMINA_INLINE V vmax(V a, V b) {
  return a > b ? a : b;
}
template <class V>
LAMINA_INLINE V vmin(V a, V b) {
  return a < b ? a : b;
}
template <class V>
LAMINA_INLINE V vrelu(V v) {
  return v <= 0 ? V{} : v;  // NaN stays
}

// Sum and maximum of the lanes, in one order (halves folded).
template <class T>
LAMINA_INLINE T hsum(Vec<T> v) {
  T lanes[kLanes<T>];
  store(lanes, v);
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}
template <class T>
LAMINA_INLINE T hmax(Vec<T> v) {
  T best = v[0];
  for (int i = 1; i < kLanes<T>; ++i) best = v[i] > best ? v[i] : best;
  return best;
}

LAMINA_INLINE Index least(Index a, Index b) { return a < b ? a : b; }
LAMINA_INLINE Index greatest(Index a, Index b) { return a > b ? a : b; }
LAMINA_INLINE Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// f(i, v-of-lanes) over n elements in whole vectors, then once for the rest: step(i, lanes).
template <class T, class F>
LAMINA_INLINE void for_vectors(Index begin, Index end, F&& step) {
  Index i = begin;
  for (; i + kLanes<T> <= end; i += kLanes<T>) step(i, kLanes<T>);
  if (i < end) step(i, static_cast<int>(end - i));
}
template <class T>
LAMINA_INLINE Vec<T> load_some(const T* p, int n) {
  return n == kLanes<T> ? load(p) : load_n(p, n);
}
template <class T>
LAMINA_INLINE void store_some(T* p, Vec<T> v, int n) {
  if (n == kLanes<T>)
    store(p, v);
  else
    store_n(p, v, n);
}

}  // namespace
}  // namespace lamina
