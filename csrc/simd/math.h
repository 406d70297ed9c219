// exp, tanh and the logistic sigmoid on vectors. Greatest errors against long double, over every binade
// (tests/ops/test_activations.py): exp 2 ULP, sigmoid 3 ULP, tanh 3 ULP (double: 5); results below the least normal number are
// flushed to zero; NaN stays NaN. Polynomials and reductions: S. L. Moshier, Cephes Math Library.
#pragma once
#include "simd/vec.h"

namespace lamina {
namespace {

template <class T>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  static constexpr float low = -104.0f, high = 88.7228394f;  // beyond: 0 and infinity
  static constexpr float least_normal = -87.3365448f;        // exp of it is the least normal number
  static constexpr float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  static constexpr int mantissa = 23, bias = 127;
};
template <>
struct ExpConstants<double> {
  static constexpr double low = -750.0, high = 709.782712893383973;
  static constexpr double least_normal = -708.39641853226408;
  static constexpr double log2e = 1.4426950408889634, ln2_high = 6.93145751953125e-1,
                          ln2_low = 1.42860682030941723212e-6;
  static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr int mantissa = 52, bias = 1023;
};

// exp(r) - 1 for |r| <= ln(2) / 2.
LAMINA_INLINE Vec<float> exp_reduced_minus_1(Vec<float> r) {
  Vec<float> p = splat(1.9875691500e-4f);
  p = p * r + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  return p * (r * r) + r;
}
LAMINA_INLINE Vec<double> exp_reduced_minus_1(Vec<double> r) {
  const Vec<double> z = r * r;
  Vec<double> p = splat(1.26177193074810590878e-4);
  p = p * z + splat(3.02994407707441961300e-2);
  p = (p * z + splat(9.99999999999999999910e-1)) * r;
  Vec<double> q = splat(3.00198505138664455042e-6);
  q = q * z + splat(2.52448340349684104192e-3);
  q = q * z + splat(2.27265548208155028766e-1);
  q = q * z + splat(2.00000000000000000009e0);
  return splat(2.0) * (p / (q - p));
}
LAMINA_INLINE Vec<float> exp_reduced(Vec<float> r) { return exp_reduced_minus_1(r) + splat(1.0f); }
LAMINA_INLINE Vec<double> exp_reduced(Vec<double> r) { return exp_reduced_minus_1(r) + splat(1.0); }

// x = n ln(2) + r: r, and n as an integer.
template <class T>
struct Reduced {
  Vec<T> r;
  IntVec<T> n;
};
template <class T>
LAMINA_INLINE Reduced<T> reduce(Vec<T> x) {
  using K = ExpConstants<T>;
  const Vec<T> magic = splat(K::magic), t = x * splat(K::log2e) + magic, n = t - magic;
  return {(x - n * splat(K::ln2_high)) - n * splat(K::ln2_low),
          reinterpret_cast<IntVec<T>>(t) - reinterpret_cast<IntVec<T>>(magic)};
}
template <class T>
LAMINA_INLINE Vec<T> power_of_two(IntVec<T> n) {
  using K = ExpConstants<T>;
  return reinterpret_cast<Vec<T>>((n + K::bias) << K::mantissa);
}

template <class T>
LAMINA_INLINE Vec<T> vexp(Vec<T> x) {
  using K = ExpConstants<T>;
  const Vec<T> low = splat(K::low), high = splat(K::high);
  Vec<T> c = x < low ? low : x;  // NaN passes both
  c = c > high ? high : c;
  const Reduced<T> by = reduce<T>(c);
  const IntVec<T> half = by.n >> 1;  // 2^n in two factors: n may pass the exponent's range
  const Vec<T> y = exp_reduced(by.r) * power_of_two<T>(half) * power_of_two<T>(by.n - half);
  return x > high ? splat(static_cast<T>(__builtin_inf())) : y;
}
// exp(x) where it is a normal number.
template <class T>
LAMINA_INLINE Vec<T> vexp_normal(Vec<T> x) {
  const Reduced<T> by = reduce<T>(x);
  return exp_reduced(by.r) * power_of_two<T>(by.n);
}

// exp(x) - 1 for x <= 0, without its cancellation near 0.
template <class T>
LAMINA_INLINE Vec<T> vexpm1_negative(Vec<T> x) {
  const Vec<T> near = splat(T(-0.34)), small = exp_reduced_minus_1(x < near ? near : x);
  return x < near ? vexp<T>(x) - splat(T(1)) : small;
}

// log(1 + z) for sqrt(1/2) <= 1 + z < sqrt(2), without its first terms z - z^2 / 2.
LAMINA_INLINE Vec<float> log_reduced(Vec<float> z) {
  Vec<float> p = splat(7.0376836292e-2f);
  p = p * z + splat(-1.1514610310e-1f);
  p = p * z + splat(1.1676998740e-1f);
  p = p * z + splat(-1.2420140846e-1f);
  p = p * z + splat(1.4249322787e-1f);
  p = p * z + splat(-1.6668057665e-1f);
  p = p * z + splat(2.0000714765e-1f);
  p = p * z + splat(-2.4999993993e-1f);
  p = p * z + splat(3.3333331174e-1f);
  return p * z * (z * z);
}
LAMINA_INLINE Vec<double> log_reduced(Vec<double> z) {
  Vec<double> p = splat(1.01875663804580931796e-4);
  p = p * z + splat(4.97494994976747001425e-1);
  p = p * z + splat(4.70579119878881725854e0);
  p = p * z + splat(1.44989225341610930846e1);
  p = p * z + splat(1.79368678507819816313e1);
  p = p * z + splat(7.70838733755885391666e0);
  Vec<double> q = z + splat(1.12873587189167450590e1);
  q = q * z + splat(4.52279145837532221105e1);
  q = q * z + splat(8.29875266912776603211e1);
  q = q * z + splat(7.11544750618563894466e1);
  q = q * z + splat(2.31251620126765340583e1);
  return z * (z * z * p / q);
}

// The natural logarithm of normal numbers above 0; infinity and NaN stay.
template <class T>
LAMINA_INLINE Vec<T> vlog(Vec<T> x) {
  using K = ExpConstants<T>;
  typedef IntVec<T> Bits;
  const Bits bits = reinterpret_cast<Bits>(x), root = reinterpret_cast<Bits>(splat(T(0.70710678118654752)));
  const Bits exponent = (bits - root) >> K::mantissa;  // so that the rest lies about 1
  const Vec<T> z = reinterpret_cast<Vec<T>>(bits - (exponent << K::mantissa)) - splat(T(1));
  const Vec<T> e = __builtin_convertvector(exponent, Vec<T>);
  const Vec<T> tail = log_reduced(z) + e * splat(K::ln2_low) - splat(T(0.5)) * z * z;
  const Vec<T> y = z + tail + e * splat(K::ln2_high);
  return x < splat(static_cast<T>(__builtin_inf())) ? y : x;
}

// The sign bit of each lane, and x without it. By bits, so that -0 is told from 0.
template <class T>
LAMINA_INLINE IntVec<T> sign_of(Vec<T> x) {
  return reinterpret_cast<IntVec<T>>(x) & reinterpret_cast<IntVec<T>>(splat(T(-0.0)));
}
template <class T>
LAMINA_INLINE Vec<T> vabs(Vec<T> x) {
  return reinterpret_cast<Vec<T>>(reinterpret_cast<IntVec<T>>(x) ^ sign_of<T>(x));
}

template <class T>
LAMINA_INLINE Vec<T> vsigmoid(Vec<T> x) {
  const Vec<T> one = splat(T(1)), least = splat(ExpConstants<T>::least_normal);
  const Vec<T> a = -vabs<T>(x);  // of which exp never overflows
  Vec<T> e = vexp_normal<T>(a < least ? least : a);
  e = a < least ? splat(T(0)) : e;
  return (x < 0 ? e : one) / (one + e);  // NaN: abs, exp and the quotient all keep it
}

// q / (2 - q) by q = 1 - exp(-2 |x|), which has no cancellation near 0: q = (1 - 2^n) - 2^n (exp(r) - 1).
template <class T>
LAMINA_INLINE Vec<T> vtanh(Vec<T> x) {
  const Vec<T> one = splat(T(1)), two = splat(T(2)), enough = splat(T(44));  // from where on q is 1
  const Vec<T> a = vabs<T>(x);
  const Reduced<T> by = reduce<T>(splat(T(-2)) * (a > enough ? enough : a));
  const Vec<T> scale = power_of_two<T>(by.n), q = (one - scale) - exp_reduced_minus_1(by.r) * scale;
  return reinterpret_cast<Vec<T>>(reinterpret_cast<IntVec<T>>(q / (two - q)) | sign_of<T>(x));
}

}  // namespace
}  // namespace lamina
