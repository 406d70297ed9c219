// One step of the recurrent cells: two products into the pre-activations, then one pass over them.
//
//   LSTM (gates in rows i, f, g, o):  a = x w_ih^T + h w_hh^T + b;  i, f, o = sigmoid(a), g = tanh(a)
//                                     c' = f c + i g;  h' = o tanh(c')
//   RNN:                              h' = tanh(x w_ih^T + h w_hh^T + b)
//
// x (N,D), h c (N,H), w_ih (G,D), w_hh (G,H), G = 4H or H; saved for backward: the activated gates (N,4H). Tasks: rows.
#pragma once
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/reduce.h"
#include "simd/math.h"

namespace lamina {
namespace {

template <class T>
LAMINA_INLINE void cell_products(const CellShape& s, Index G, const T* x, const T* h, const T* w_ih, const T* w_hh,
                                 const T* b, T* a) {
  gemm<T>(s.N, G, s.D, {x, s.D, 1}, {w_ih, 1, s.D}, a, G, b, false);
  gemm<T>(s.N, G, s.H, {h, s.H, 1}, {w_hh, 1, s.H}, a, G, nullptr, true);
}

// Everything behind the gradient da (N,G) of the pre-activations.
template <class T>
LAMINA_INLINE void cell_products_backward(const CellShape& s, Index G, const T* da, const T* x, const T* h,
                                          const T* w_ih, const T* w_hh, T* dx, T* dh, T* dw_ih, T* dw_hh, T* db) {
  gemm<T>(s.N, s.D, G, {da, G, 1}, {w_ih, s.D, 1}, dx, s.D, nullptr, false);
  gemm<T>(s.N, s.H, G, {da, G, 1}, {w_hh, s.H, 1}, dh, s.H, nullptr, false);
  gemm<T>(G, s.D, s.N, {da, 1, G}, {x, s.D, 1}, dw_ih, s.D, nullptr, false);
  gemm<T>(G, s.H, s.N, {da, 1, G}, {h, s.H, 1}, dw_hh, s.H, nullptr, false);
  sum_rows(s.N, G, da, db);
}

template <class T>
void lstm_cell(const CellShape& s, const T* x, const T* h, const T* c, const T* w_ih, const T* w_hh, const T* b,
               T* h_next, T* c_next, T* gates) {
  const Index H = s.H;
  cell_products(s, 4 * H, x, h, w_ih, w_hh, b, gates);
  parallel_for(s.N, 40 * kByte * sizeof(T) * static_cast<double>(H), [&](Index n) {
    T* a = gates + n * 4 * H;
    for_vectors<T>(0, H, [&](Index j, int lanes) LAMINA_STEP {
      const Vec<T> i = vsigmoid<T>(load_some(a + j, lanes)), f = vsigmoid<T>(load_some(a + H + j, lanes));
      const Vec<T> g = vtanh<T>(load_some(a + 2 * H + j, lanes)), o = vsigmoid<T>(load_some(a + 3 * H + j, lanes));
      const Vec<T> cell = f * load_some(c + n * H + j, lanes) + i * g;
      store_some(a + j, i, lanes);
      store_some(a + H + j, f, lanes);
      store_some(a + 2 * H + j, g, lanes);
      store_some(a + 3 * H + j, o, lanes);
      store_some(c_next + n * H + j, cell, lanes);
      store_some(h_next + n * H + j, o * vtanh<T>(cell), lanes);
    });
  });
}

template <class T>
void lstm_cell_backward(const CellShape& s, const T* dh_next, const T* dc_next, const T* x, const T* h, const T* c,
                        const T* w_ih, const T* w_hh, const T* c_next, const T* gates, T* dx, T* dh, T* dc, T* dw_ih,
                        T* dw_hh, T* db) {
  const Index H = s.H;
  Buffer buffer(sizeof(T) * static_cast<std::size_t>(s.N * 4 * H));
  T* const da = buffer.as<T>();
  parallel_for(s.N, 30 * kByte * sizeof(T) * static_cast<double>(H), [&](Index n) {
    const T* a = gates + n * 4 * H;
    T* d = da + n * 4 * H;
    for_vectors<T>(0, H, [&](Index j, int lanes) LAMINA_STEP {
      const Vec<T> one = splat(T(1));
      const Vec<T> i = load_some(a + j, lanes), f = load_some(a + H + j, lanes);
      const Vec<T> g = load_some(a + 2 * H + j, lanes), o = load_some(a + 3 * H + j, lanes);
      const Vec<T> squashed = vtanh<T>(load_some(c_next + n * H + j, lanes)),
                   dy = load_some(dh_next + n * H + j, lanes);
      const Vec<T> dcell = load_some(dc_next + n * H + j, lanes) + dy * o * (one - squashed * squashed);
      store_some(d + j, dcell * g * i * (one - i), lanes);
      store_some(d + H + j, dcell * load_some(c + n * H + j, lanes) * f * (one - f), lanes);
      store_some(d + 2 * H + j, dcell * i * (one - g * g), lanes);
      store_some(d + 3 * H + j, dy * squashed * o * (one - o), lanes);
      store_some(dc + n * H + j, dcell * f, lanes);
    });
  });
  cell_products_backward(s, 4 * H, da, x, h, w_ih, w_hh, dx, dh, dw_ih, dw_hh, db);
}

template <class T>
void rnn_cell(const CellShape& s, const T* x, const T* h, const T* w_ih, const T* w_hh, const T* b, T* h_next) {
  cell_products(s, s.H, x, h, w_ih, w_hh, b, h_next);
  map1(s.N * s.H, h_next, h_next, 8 * kByte * sizeof(T), [](Vec<T> v) { return vtanh<T>(v); });
}

template <class T>
void rnn_cell_backward(const CellShape& s, const T* dh_next, const T* x, const T* h, const T* w_ih, const T* w_hh,
                       const T* h_next, T* dx, T* dh, T* dw_ih, T* dw_hh, T* db) {
  Buffer da(sizeof(T) * static_cast<std::size_t>(s.N * s.H));
  tanh_backward(s.N * s.H, dh_next, h_next, da.as<T>());
  cell_products_backward(s, s.H, da.as<T>(), x, h, w_ih, w_hh, dx, dh, dw_ih, dw_hh, db);
}

}  // namespace
}  // namespace lamina
