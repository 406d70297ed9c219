// Activations beside those of elementwise.h, whose way back needs x itself:
//
//   leaky_relu  x or a x      elu  x or a (exp(x) - 1)      softplus  log(1 + exp(x))      silu  x sigmoid(x)
//   gelu        x Phi(x), Phi the normal distribution       gelu_tanh  x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
#pragma once
#include "kernels/elementwise.h"

namespace lamina {
namespace {

// erf(x)/x and exp(x^2) erfc(x), 0 <= x <= 1 and 1 <= x <= 8, as quotients of polynomials (Moshier, Cephes).
template <class T, int N>
LAMINA_INLINE Vec<T> polynomial(Vec<T> x, const double (&c)[N]) {
  Vec<T> p = splat(static_cast<T>(c[0]));
  LAMINA_UNROLL for (int i = 1; i < N; ++i) p = p * x + splat(static_cast<T>(c[i]));
  return p;
}
constexpr double kErfTop[] = {9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3,
                              7.00332514112805075473e3, 5.55923013010394962768e4};
constexpr double kErfBelow[] = {1,
                                3.35617141647503099647e1,
                                5.21357949780152679795e2,
                                4.59432382970980127987e3,
                                2.26290000613890934246e4,
                                4.92673942608635921086e4};
constexpr double kErfcTop[] = {2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0,
                               4.86371970985681366614e1,   1.96520832956077098242e2,  5.26445194995477358631e2,
                               9.34528527171957607540e2,   1.02755188689515710272e3,  5.57535335369399327526e2};
constexpr double kErfcBelow[] = {1,
                                 1.32281951154744992508e1,
                                 8.67072140885989742329e1,
                                 3.54937778887819891062e2,
                                 9.75708501743205489753e2,
                                 1.82390916687909736289e3,
                                 2.24633760818710981792e3,
                                 1.65666309194161350182e3,
                                 5.57535340817727675546e2};

// The normal distribution: the share of it below x.
template <class T>
LAMINA_INLINE Vec<T> normal_below(Vec<T> x) {
  const Vec<T> half = splat(T(0.5)), one = splat(T(1)), eight = splat(T(8));
  const Vec<T> z = x * splat(T(0.70710678118654752)), a = vabs<T>(z), square = z * z;
  const Vec<T> c = a > eight ? eight : a;
  const Vec<T> erfc = vexp<T>(-square) * polynomial<T>(c, kErfcTop) / polynomial<T>(c, kErfcBelow);
  const Vec<T> outer = x < 0 ? half * erfc : one - half * erfc;
  const Vec<T> s = a > one ? one : square;
  const Vec<T> inner = half + half * z * polynomial<T>(s, kErfTop) / polynomial<T>(s, kErfBelow);
  return a > one ? outer : inner;
}

template <class T>
struct LeakyReLU {
  static constexpr double cost = 2;
  static LAMINA_INLINE Vec<T> value(Vec<T> x, Vec<T> a) { return x < 0 ? a * x : x; }
  static LAMINA_INLINE Vec<T> slope(Vec<T> x, Vec<T> a) { return x > 0 ? splat(T(1)) : a; }
};
template <class T>
struct ELU {
  static constexpr double cost = 8;
  static LAMINA_INLINE Vec<T> below(Vec<T> x) { return x > 0 ? splat(T(0)) : x; }
  static LAMINA_INLINE Vec<T> value(Vec<T> x, Vec<T> a) { return x > 0 ? x : a * vexpm1_negative<T>(below(x)); }
  static LAMINA_INLINE Vec<T> slope(Vec<T> x, Vec<T> a) { return x > 0 ? splat(T(1)) : a * vexp<T>(below(x)); }
};
// max(x, 0) + log(1 + e), e = exp(-|x|); log(1 + e) with what 1 + e lost.
template <class T>
struct Softplus {
  static constexpr double cost = 16;
  static LAMINA_INLINE Vec<T> value(Vec<T> x, Vec<T>) {
    const Vec<T> one = splat(T(1)), e = vexp<T>(-vabs<T>(x)), w = one + e;
    const Vec<T> tail = vlog<T>(w) + (e - (w - one)) / w;
    return x > 0 ? x + tail : tail;
  }
  static LAMINA_INLINE Vec<T> slope(Vec<T> x, Vec<T>) { return vsigmoid<T>(x); }
};
template <class T>
struct SiLU {
  static constexpr double cost = 8;
  static LAMINA_INLINE Vec<T> value(Vec<T> x, Vec<T>) { return x * vsigmoid<T>(x); }
  static LAMINA_INLINE Vec<T> slope(Vec<T> x, Vec<T>) {
    const Vec<T> s = vsigmoid<T>(x);
    return s * (splat(T(1)) + x * (splat(T(1)) - s));
  }
};
template <class T>
struct GELU {
  static constexpr double cost = 24;
  static LAMINA_INLINE Vec<T> value(Vec<T> x, Vec<T>) { return x * normal_below<T>(x); }
  static LAMINA_INLINE Vec<T> slope(Vec<T> x, Vec<T>) {
    const Vec<T> density = splat(T(0.39894228040143268)) * vexp<T>(splat(T(-0.5)) * x * x);
    return normal_below<T>(x) + x * density;
  }
};
template <class T>
struct GELUTanh {
  static constexpr double cost = 12;
  static constexpr T root = T(0.79788456080286536), cube = T(0.044715);  // sqrt(2/pi)
  static LAMINA_INLINE Vec<T> inside(Vec<T> x) { return splat(root) * x * (splat(T(1)) + splat(cube) * x * x); }
  static LAMINA_INLINE Vec<T> value(Vec<T> x, Vec<T>) {
    return splat(T(0.5)) * x * (splat(T(1)) + vtanh<T>(inside(x)));
  }
  static LAMINA_INLINE Vec<T> slope(Vec<T> x, Vec<T>) {
    const Vec<T> one = splat(T(1)), t = vtanh<T>(inside(x));
    const Vec<T> steep = splat(root) * (one + splat(3 * cube) * x * x);
    return splat(T(0.5)) * (one + t + x * (one - t * t) * steep);
  }
};

template <class F, class T>
void curve_of(Index n, const T* x, T a, T* y) {
  map1(n, x, y, F::cost * kByte * sizeof(T), [&](Vec<T> v) { return F::value(v, splat(a)); });
}
template <class F, class T>
void curve_of_backward(Index n, const T* dy, const T* x, T a, T* dx) {
  map2(n, dy, x, dx, F::cost * kByte * sizeof(T), [&](Vec<T> d, Vec<T> v) { return d * F::slope(v, splat(a)); });
}

template <class T>
void curve(Curve kind, Index n, const T* x, T a, T* y) {
  switch (kind) {
    case Curve::leaky_relu:
      return curve_of<LeakyReLU<T>>(n, x, a, y);
    case Curve::elu:
      return curve_of<ELU<T>>(n, x, a, y);
    case Curve::softplus:
      return curve_of<Softplus<T>>(n, x, a, y);
    case Curve::silu:
      return curve_of<SiLU<T>>(n, x, a, y);
    case Curve::gelu:
      return curve_of<GELU<T>>(n, x, a, y);
    case Curve::gelu_tanh:
      return curve_of<GELUTanh<T>>(n, x, a, y);
  }
}
template <class T>
void curve_backward(Curve kind, Index n, const T* dy, const T* x, T a, T* dx) {
  switch (kind) {
    case Curve::leaky_relu:
      return curve_of_backward<LeakyReLU<T>>(n, dy, x, a, dx);
    case Curve::elu:
      return curve_of_backward<ELU<T>>(n, dy, x, a, dx);
    case Curve::softplus:
      return curve_of_backward<Softplus<T>>(n, dy, x, a, dx);
    case Curve::silu:
      return curve_of_backward<SiLU<T>>(n, dy, x, a, dx);
    case Curve::gelu:
      return curve_of_backward<GELU<T>>(n, dy, x, a, dx);
    case Curve::gelu_tanh:
      return curve_of_backward<GELUTanh<T>>(n, dy, x, a, dx);
  }
}

}  // namespace
}  // namespace lamina
