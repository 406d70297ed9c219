// Units [begin, end) of one row at one step of a whole sequence: what a cell makes of its pre-activations, and the way
// back.
// Equations and layouts stand in sequence.h. With kZone a unit keeps its former state where the mask is not 0
// (zoneout, Krueger et al. 2017). Never inlined: one body, one rounding.
#pragma once
#include "kernels/elementwise.h"
#include "kernels/kernels.h"
#include "simd/math.h"

namespace lamina {
namespace {

constexpr bool is_rnn(Cell cell) { return cell < Cell::gru; }
constexpr bool is_gru(Cell cell) { return cell == Cell::gru || cell == Cell::gru_before; }

template <class T>
struct UnitRow {
  T *gates, *h, *c, *m;  // of this step
  const T *h_before, *c_before;
  const T* h_in;  // h_before as it enters the products: masked by recurrent dropout
  const T *zone_h, *zone_c;
};
template <class T>
struct UnitGradient {
  const T* dy;           // from above
  T *carry_h, *carry_c;  // from the step after; then for the step before, carry_h what goes past the products
  T *da, *dm;            // of the pre-activations
};

// kept where the mask is not 0, else made.
template <class T>
LAMINA_INLINE Vec<T> choose(const T* mask, Index j, int lanes, Vec<T> kept, Vec<T> made) {
  return load_some(mask + j, lanes) != 0 ? kept : made;
}

template <class T, Cell kCell, bool kZone>
__attribute__((noinline)) void activate(Index H, Index begin, Index end, const UnitRow<T>& u) {
  for_vectors<T>(begin, end, [&](Index j, int lanes) LAMINA_STEP {
    const auto gate = [&](Index k) { return load_some(u.gates + k * H + j, lanes); };
    const auto keep = [&](Index k, Vec<T> value) { store_some(u.gates + k * H + j, value, lanes); };
    const auto leave = [&](Vec<T> h) {
      if constexpr (kZone) h = choose(u.zone_h, j, lanes, load_some(u.h_before + j, lanes), h);
      store_some(u.h + j, h, lanes);
    };
    if constexpr (is_rnn(kCell)) {
      const Vec<T> a = gate(0), zero = splat(T(0)), one = splat(T(1));
      const Vec<T> h = kCell == Cell::rnn_tanh   ? vtanh<T>(a)
                       : kCell == Cell::rnn_relu ? (a <= 0 ? zero : a)
                                                 : (a <= 0 ? zero : (a >= 1 ? one : a));
      keep(0, h);
      leave(h);
    } else if constexpr (kCell == Cell::lstm) {
      const Vec<T> i = vsigmoid<T>(gate(0)), f = vsigmoid<T>(gate(1)), g = vtanh<T>(gate(2)), o = vsigmoid<T>(gate(3));
      const Vec<T> before = load_some(u.c_before + j, lanes), c = f * before + i * g;
      keep(0, i), keep(1, f), keep(2, g), keep(3, o);
      store_some(u.c + j, kZone ? choose(u.zone_c, j, lanes, before, c) : c, lanes);
      leave(o * vtanh<T>(c));
    } else {
      Vec<T> a = gate(2);
      const Vec<T> z = vsigmoid<T>(gate(1));
      if constexpr (kCell == Cell::gru) {
        const Vec<T> r = vsigmoid<T>(gate(0));
        a += r * load_some(u.m + j, lanes);
        keep(0, r);
      }
      const Vec<T> n = vtanh<T>(a);
      keep(1, z), keep(2, n);
      leave(n + z * (load_some(u.h_before + j, lanes) - n));
    }
  });
}

template <class T, Cell kCell, bool kZone>
__attribute__((noinline)) void activate_backward(Index H, Index begin, Index end, const UnitRow<T>& u,
                                                 const UnitGradient<T>& d) {
  const Vec<T> zero = splat(T(0)), one = splat(T(1));
  for_vectors<T>(begin, end, [&](Index j, int lanes) LAMINA_STEP {
    const auto gate = [&](Index k) { return load_some(u.gates + k * H + j, lanes); };
    const auto give = [&](Index k, Vec<T> value) { store_some(d.da + k * H + j, value, lanes); };
    Vec<T> dh = load_some(d.dy + j, lanes) + load_some(d.carry_h + j, lanes), held = zero;
    if constexpr (kZone) {
      held = choose(u.zone_h, j, lanes, dh, zero);
      dh = choose(u.zone_h, j, lanes, zero, dh);
    }
    if constexpr (is_rnn(kCell)) {
      const Vec<T> h = gate(0);
      give(0, kCell == Cell::rnn_tanh   ? dh * (one - h * h)
              : kCell == Cell::rnn_relu ? (h <= 0 ? zero : dh)
                                        : (h <= 0 ? zero : (h >= 1 ? zero : dh)));
      if constexpr (kZone) store_some(d.carry_h + j, held, lanes);
    } else if constexpr (kCell == Cell::lstm) {
      const Vec<T> i = gate(0), f = gate(1), g = gate(2), o = gate(3), before = load_some(u.c_before + j, lanes);
      Vec<T> dc = load_some(d.carry_c + j, lanes), held_c = zero;
      if constexpr (kZone) {
        held_c = choose(u.zone_c, j, lanes, dc, zero);
        dc = choose(u.zone_c, j, lanes, zero, dc);
      }
      const Vec<T> squashed = vtanh<T>(kZone ? f * before + i * g : load_some(u.c + j, lanes));
      dc += dh * o * (one - squashed * squashed);
      give(0, dc * g * i * (one - i));
      give(1, dc * before * f * (one - f));
      give(2, dc * i * (one - g * g));
      give(3, dh * squashed * o * (one - o));
      store_some(d.carry_c + j, kZone ? dc * f + held_c : dc * f, lanes);
      if constexpr (kZone) store_some(d.carry_h + j, held, lanes);
    } else {
      const Vec<T> z = gate(1), n = gate(2), dn = dh * (one - z) * (one - n * n);
      give(1, dh * (load_some(u.h_before + j, lanes) - n) * z * (one - z));
      give(2, dn);
      if constexpr (kCell == Cell::gru) {
        const Vec<T> r = gate(0);
        give(0, dn * load_some(u.m + j, lanes) * r * (one - r));
        store_some(d.dm + j, dn * r, lanes);
      }
      store_some(d.carry_h + j, kZone ? dh * z + held : dh * z, lanes);
    }
  });
}

// The reset gate before the product: m = r h.
template <class T>
__attribute__((noinline)) void reset(Index begin, Index end, const UnitRow<T>& u) {
  for_vectors<T>(begin, end, [&](Index j, int lanes) LAMINA_STEP {
    const Vec<T> r = vsigmoid<T>(load_some(u.gates + j, lanes));
    store_some(u.gates + j, r, lanes);
    store_some(u.m + j, r * load_some(u.h_in + j, lanes), lanes);
  });
}
// dm becomes what reaches h by this way.
template <class T>
__attribute__((noinline)) void reset_backward(Index begin, Index end, const UnitRow<T>& u, T* dm, T* da) {
  const Vec<T> one = splat(T(1));
  for_vectors<T>(begin, end, [&](Index j, int lanes) LAMINA_STEP {
    const Vec<T> r = load_some(u.gates + j, lanes), d = load_some(dm + j, lanes);
    store_some(da + j, d * load_some(u.h_in + j, lanes) * r * (one - r), lanes);
    store_some(dm + j, d * r, lanes);
  });
}

// to = h, or h * mask.
template <class T>
__attribute__((noinline)) void enter(Index begin, Index end, const T* h, const T* mask, T* to) {
  if (!mask) return copy(h + begin, to + begin, end - begin);
  for_vectors<T>(begin, end, [&](Index j, int lanes) LAMINA_STEP {
    store_some(to + j, load_some(h + j, lanes) * load_some(mask + j, lanes), lanes);
  });
}
// carry = back, masked as h was on its way in, and added to what carry holds if it holds anything.
template <class T>
__attribute__((noinline)) void enter_backward(Index begin, Index end, const T* back, const T* mask, bool add,
                                              T* carry) {
  for_vectors<T>(begin, end, [&](Index j, int lanes) LAMINA_STEP {
    Vec<T> d = load_some(back + j, lanes);
    if (mask) d *= load_some(mask + j, lanes);
    store_some(carry + j, add ? load_some(carry + j, lanes) + d : d, lanes);
  });
}

}  // namespace
}  // namespace lamina
