// Optimiser steps over flat parameter memory, in place, one pass.
//
//   SGD:   g' = g + decay p;  v = momentum v + g';  p -= lr (nesterov ? g' + momentum v : v)
//   Adam:  m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2;  p -= lr m^ / (sqrt(v^) + eps),  m^ = m / (1-b1^t), v^ = v /
//   (1-b2^t)
//          (Kingma & Ba 2015); decoupled decay (Loshchilov & Hutter 2019): g' = g and p *= 1 - lr decay first.
//   RMS:   v = keep v + add g^2;  p -= lr g / (sqrt(v) + eps);  RMSprop: add = 1 - keep, Adagrad: keep = add = 1
//   Adadelta:  v = keep v + (1-keep) g'^2;  d = g' sqrt(u + eps) / sqrt(v + eps);  u = keep u + (1-keep) d^2;  p -= lr d
#pragma once
#include "kernels/elementwise.h"

namespace lamina {
namespace {

template <class T>
LAMINA_INLINE Vec<T> vsqrt(Vec<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return _mm512_maskz_sqrt_ps(0xffff, v);
  else
    return _mm512_maskz_sqrt_pd(0xff, v);
#else
  Vec<T> r;
  for (int i = 0; i < kLanes<T>; ++i)
    r[i] = sizeof(T) == 4 ? static_cast<T>(__builtin_sqrtf(static_cast<float>(v[i])))
                          : static_cast<T>(__builtin_sqrt(v[i]));
  return r;
#endif
}

template <class T>
void sgd_step(Index n, T* p, const T* g, T* v, double lr, double momentum, bool nesterov, double decay) {
  const Vec<T> rate = splat(static_cast<T>(lr)), mu = splat(static_cast<T>(momentum)),
               wd = splat(static_cast<T>(decay));
  parallel_blocks(n, kElements, 5 * kByte * sizeof(T), [&](Index begin, Index end) {
    for_vectors<T>(begin, end, [&](Index i, int lanes) LAMINA_STEP {
      const Vec<T> old = load_some(p + i, lanes);
      const Vec<T> grad = load_some(g + i, lanes) + wd * old;
      Vec<T> step = grad;
      if (v) {
        const Vec<T> speed = mu * load_some(v + i, lanes) + grad;
        store_some(v + i, speed, lanes);
        step = nesterov ? grad + mu * speed : speed;
      }
      store_some(p + i, old - rate * step, lanes);
    });
  });
}

template <class T>
void adam_step(Index n, T* p, const T* g, T* m, T* v, double lr, double beta1, double beta2, double eps, double decay,
               bool decoupled, Index step) {
  const double t = static_cast<double>(step);
  const double c1 = 1 - __builtin_pow(beta1, t), c2 = 1 - __builtin_pow(beta2, t);
  const Vec<T> b1 = splat(static_cast<T>(beta1)), a1 = splat(static_cast<T>(1 - beta1));
  const Vec<T> b2 = splat(static_cast<T>(beta2)), a2 = splat(static_cast<T>(1 - beta2));
  const Vec<T> rate = splat(static_cast<T>(lr / c1)), root = splat(static_cast<T>(1 / __builtin_sqrt(c2))),
               e = splat(static_cast<T>(eps));
  const Vec<T> coupled = splat(static_cast<T>(decoupled ? 0 : decay)),
               keep = splat(static_cast<T>(decoupled ? 1 - lr * decay : 1));
  parallel_blocks(n, kElements, 7 * kByte * sizeof(T), [&](Index begin, Index end) {
    for_vectors<T>(begin, end, [&](Index i, int lanes) LAMINA_STEP {
      const Vec<T> old = load_some(p + i, lanes);
      const Vec<T> grad = load_some(g + i, lanes) + coupled * old;
      const Vec<T> mean = b1 * load_some(m + i, lanes) + a1 * grad;
      const Vec<T> square = b2 * load_some(v + i, lanes) + a2 * (grad * grad);
      store_some(m + i, mean, lanes);
      store_some(v + i, square, lanes);
      store_some(p + i, keep * old - rate * mean / (vsqrt<T>(square) * root + e), lanes);
    });
  });
}

template <class T>
void rms_step(Index n, T* p, const T* g, T* v, double lr, double keep, double add, double eps) {
  const Vec<T> k = splat(static_cast<T>(keep)), a = splat(static_cast<T>(add));
  const Vec<T> rate = splat(static_cast<T>(lr)), e = splat(static_cast<T>(eps));
  parallel_blocks(n, kElements, 5 * kByte * sizeof(T), [&](Index begin, Index end) {
    for_vectors<T>(begin, end, [&](Index i, int lanes) LAMINA_STEP {
      const Vec<T> grad = load_some(g + i, lanes);
      const Vec<T> square = k * load_some(v + i, lanes) + a * (grad * grad);
      store_some(v + i, square, lanes);
      store_some(p + i, load_some(p + i, lanes) - rate * grad / (vsqrt<T>(square) + e), lanes);
    });
  });
}

template <class T>
void adadelta_step(Index n, T* p, const T* g, T* v, T* u, double lr, double keep, double eps, double decay) {
  const Vec<T> k = splat(static_cast<T>(keep)), a = splat(static_cast<T>(1 - keep));
  const Vec<T> rate = splat(static_cast<T>(lr)), e = splat(static_cast<T>(eps)), wd = splat(static_cast<T>(decay));
  parallel_blocks(n, kElements, 7 * kByte * sizeof(T), [&](Index begin, Index end) {
    for_vectors<T>(begin, end, [&](Index i, int lanes) LAMINA_STEP {
      const Vec<T> old = load_some(p + i, lanes);
      const Vec<T> grad = load_some(g + i, lanes) + wd * old;
      const Vec<T> square = k * load_some(v + i, lanes) + a * (grad * grad);
      const Vec<T> moved = load_some(u + i, lanes);
      const Vec<T> step = vsqrt<T>(moved + e) / vsqrt<T>(square + e) * grad;
      store_some(v + i, square, lanes);
      store_some(u + i, k * moved + a * (step * step), lanes);
      store_some(p + i, old - rate * step, lanes);
    });
  });
}

}  // namespace
}  // namespace lamina
