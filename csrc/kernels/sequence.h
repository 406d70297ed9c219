// Whole sequences through one recurrent layer in one direction, forward and backward.
//
// Rows come packed by time: step s holds rows(s) sequences, the longest first, so that rows(s) never grows, and a
// padded step does not exist. Packed arrays have one row a sequence and step: x (P,D), gates (P,GH), h and c (P,H).
//
//   a_s = x_s w_ih^T + b + h_{s-1} w_hh^T       one product for all steps, then one a step
//   RNN   h = tanh(a) or max(a, 0)                                                       rows of w: (h)
//   LSTM  i, f, o = sigmoid(a), g = tanh(a);  c' = f c + i g;  h = o tanh(c')             rows: i, f, g, o
//   GRU   r, z = sigmoid(a);  n = tanh(a_n + r m), m = h w_hn^T + b_m;  h' = n + z (h - n)   rows: r, z, n; b also m
//
// Saved for backward: the activated gates, c, and m. The parallel axis: sequences. A thread takes its rows through all
// steps without ever waiting for another, and an element's sum is one chain over k whichever rows are beside it, so
// bits do not depend on the number of threads. After the loop back, the gradients of the weights are one product each.
#pragma once
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/reduce.h"
#include "simd/math.h"

namespace lamina {
namespace {

// Rows of a thread's own are this much further apart than they are long, or they would collide in the cache.
template <class T>
constexpr Index kApart = kLanes<T>;

// Sequences cut into parts of about the same number of steps: part k has rows [begin(k), begin(k + 1)).
class RowParts {
 public:
  RowParts(const SequenceShape& s, double cost_per_step) : s_(s) {
    const double total = cost_per_step * static_cast<double>(s.total());
    count = plan_threads(s.N, total / static_cast<double>(greatest(s.N, 1)));
  }
  Index begin(Index k) const {
    if (k >= count) return s_.N;
    const double goal = static_cast<double>(s_.total()) * static_cast<double>(k) / static_cast<double>(count);
    Index row = 0, last = s_.steps;
    for (double before = 0; row < s_.N; ++row) {
      while (last > 0 && s_.rows(last - 1) <= row) --last;  // steps of this row
      if (before + 0.5 * static_cast<double>(last) >= goal) break;
      before += static_cast<double>(last);
    }
    return row;
  }
  Index count;

 private:
  const SequenceShape& s_;
};

// w_hh as a step needs it: panels of h (N,H) times w_hh^T, the columns [first, first + columns) of the result.
template <class T>
struct RecurrentPanels {
  Buffer packed;
  RecurrentPanels(const T* w_hh, Index H, Index first, Index columns)
      : packed(sizeof(T) * static_cast<std::size_t>(panel_count<T>(columns) * kPanel<T> * H)) {
    pack_b<T>({w_hh + first * H, 1, H}, H, columns, packed.as<T>());
  }
};
// out (rows, columns) = or += state (rows, depth) times packed panels.
template <class T>
void times_panels(const T* state, Index ld, Index rows, Index depth, const T* panels, Index columns, T* out, Index ldo,
                  const T* bias, bool accumulate) {
  const GemmSlice<T> slice{panels, {state, ld, 1}, ReadA::kRows, depth};
  gemm_block(slice, 0, rows, 0, panel_count<T>(columns), columns, out, ldo, bias, accumulate);
}

// One row of units at one step: what a cell makes of its pre-activations. Never inlined: one body, one rounding.
template <class T>
struct UnitRow {
  T *gates, *h, *c, *m;  // of this step
  const T *h_before, *c_before;
};
template <class T>
struct UnitGradient {
  const T* dy;           // from above
  T *carry_h, *carry_c;  // from the step after; then for the step before
  T *da, *dm;            // of the pre-activations
};

template <class T, Cell kCell>
__attribute__((noinline)) void activate(Index H, const UnitRow<T>& u) {
  for_vectors<T>(0, H, [&](Index j, int lanes) LAMINA_STEP {
    if constexpr (kCell == Cell::rnn_tanh || kCell == Cell::rnn_relu) {
      const Vec<T> a = load_some(u.gates + j, lanes);
      const Vec<T> h = kCell == Cell::rnn_tanh ? vtanh<T>(a) : (a <= 0 ? splat(T(0)) : a);
      store_some(u.h + j, h, lanes);
    } else if constexpr (kCell == Cell::lstm) {
      const Vec<T> i = vsigmoid<T>(load_some(u.gates + j, lanes)), f = vsigmoid<T>(load_some(u.gates + H + j, lanes));
      const Vec<T> g = vtanh<T>(load_some(u.gates + 2 * H + j, lanes)),
                   o = vsigmoid<T>(load_some(u.gates + 3 * H + j, lanes));
      const Vec<T> c = f * load_some(u.c_before + j, lanes) + i * g;
      store_some(u.gates + j, i, lanes);
      store_some(u.gates + H + j, f, lanes);
      store_some(u.gates + 2 * H + j, g, lanes);
      store_some(u.gates + 3 * H + j, o, lanes);
      store_some(u.c + j, c, lanes);
      store_some(u.h + j, o * vtanh<T>(c), lanes);
    } else {
      const Vec<T> r = vsigmoid<T>(load_some(u.gates + j, lanes)), z = vsigmoid<T>(load_some(u.gates + H + j, lanes));
      const Vec<T> n = vtanh<T>(load_some(u.gates + 2 * H + j, lanes) + r * load_some(u.m + j, lanes));
      store_some(u.gates + j, r, lanes);
      store_some(u.gates + H + j, z, lanes);
      store_some(u.gates + 2 * H + j, n, lanes);
      store_some(u.h + j, n + z * (load_some(u.h_before + j, lanes) - n), lanes);
    }
  });
}

template <class T, Cell kCell>
__attribute__((noinline)) void activate_backward(Index H, const UnitRow<T>& u, const UnitGradient<T>& d) {
  const Vec<T> one = splat(T(1));
  for_vectors<T>(0, H, [&](Index j, int lanes) LAMINA_STEP {
    const Vec<T> dh = load_some(d.dy + j, lanes) + load_some(d.carry_h + j, lanes);
    if constexpr (kCell == Cell::rnn_tanh || kCell == Cell::rnn_relu) {
      const Vec<T> h = load_some(u.h + j, lanes);
      store_some(d.da + j, kCell == Cell::rnn_tanh ? dh * (one - h * h) : (h <= 0 ? splat(T(0)) : dh), lanes);
    } else if constexpr (kCell == Cell::lstm) {
      const Vec<T> i = load_some(u.gates + j, lanes), f = load_some(u.gates + H + j, lanes);
      const Vec<T> g = load_some(u.gates + 2 * H + j, lanes), o = load_some(u.gates + 3 * H + j, lanes);
      const Vec<T> squashed = vtanh<T>(load_some(u.c + j, lanes));
      const Vec<T> dc = load_some(d.carry_c + j, lanes) + dh * o * (one - squashed * squashed);
      store_some(d.da + j, dc * g * i * (one - i), lanes);
      store_some(d.da + H + j, dc * load_some(u.c_before + j, lanes) * f * (one - f), lanes);
      store_some(d.da + 2 * H + j, dc * i * (one - g * g), lanes);
      store_some(d.da + 3 * H + j, dh * squashed * o * (one - o), lanes);
      store_some(d.carry_c + j, dc * f, lanes);
    } else {
      const Vec<T> r = load_some(u.gates + j, lanes), z = load_some(u.gates + H + j, lanes);
      const Vec<T> n = load_some(u.gates + 2 * H + j, lanes), m = load_some(u.m + j, lanes);
      const Vec<T> dn = dh * (one - z) * (one - n * n);
      store_some(d.da + j, dn * m * r * (one - r), lanes);
      store_some(d.da + H + j, dh * (load_some(u.h_before + j, lanes) - n) * z * (one - z), lanes);
      store_some(d.da + 2 * H + j, dn, lanes);
      store_some(d.dm + j, dn * r, lanes);
      store_some(d.carry_h + j, dh * z, lanes);
    }
  });
}

// The state before step s, row by row: rows of h (or c) one step earlier, or the initial one.
template <class T>
LAMINA_INLINE const T* before(const SequenceShape& s, Index step, const T* initial, const T* packed) {
  return step == 0 ? initial : packed + s.offset[step - 1] * s.H;
}

template <class T, Cell kCell>
void run_sequence(const SequenceShape& s, const Sequence<T>& q) {
  constexpr Index G = gate_count(kCell);
  const Index H = s.H, ld = H + kApart<T>, accumulated = kCell == Cell::gru ? 2 * H : G * H;
  gemm<T>(s.total(), G * H, s.D, {q.x, s.D, 1}, {q.w_ih, 1, s.D}, q.gates, G * H, q.b, false);
  const RecurrentPanels<T> panels(q.w_hh, H, 0, accumulated);
  const RecurrentPanels<T> panels_m(q.w_hh, H, accumulated, G * H - accumulated);
  const RowParts parts(s, 2.0 * static_cast<double>(G * H * H));
  const double cost = 2.0 * static_cast<double>(G * H * H * s.total()) / static_cast<double>(parts.count);
  parallel_for_scratch(parts.count, cost, sizeof(T) * static_cast<std::size_t>(s.N * ld), [&](Index part, void* mine) {
    const Index first = parts.begin(part), end = parts.begin(part + 1);
    T* const state = static_cast<T*>(mine);
    for (Index r = first; r < end; ++r) copy(q.h0 + r * H, state + (r - first) * ld, H);
    for (Index step = 0; step < s.steps; ++step) {
      const Index rows = least(end, s.rows(step)) - first, at = s.offset[step] + first;
      if (rows <= 0) break;
      times_panels(state, ld, rows, H, panels.packed.template as<T>(), accumulated, q.gates + at * G * H, G * H,
                   static_cast<const T*>(nullptr), true);
      if constexpr (kCell == Cell::gru)
        times_panels(state, ld, rows, H, panels_m.packed.template as<T>(), H, q.m + at * H, H, q.b + 3 * H, false);
      for (Index r = 0; r < rows; ++r) {
        const Index row = at + r;
        T* const h = q.h + row * H;
        activate<T, kCell>(H, {q.gates + row * G * H, h, kCell == Cell::lstm ? q.c + row * H : nullptr,
                               kCell == Cell::gru ? q.m + row * H : nullptr, state + r * ld,
                               kCell == Cell::lstm ? before(s, step, q.c0, q.c) + (first + r) * H : nullptr});
        copy(h, state + r * ld, H);
      }
    }
  });
}

// h one step earlier for every packed row: where it stands if all sequences are equally long and h0 stands before h.
template <class T>
void states_before(const SequenceShape& s, const T* h0, const T* h, T* out) {
  parallel_for(s.steps, kByte * 2 * sizeof(T) * static_cast<double>(s.N * s.H),
               [&](Index step) { copy(before(s, step, h0, h), out + s.offset[step] * s.H, s.rows(step) * s.H); });
}

template <class T, Cell kCell>
void run_sequence_backward(const SequenceShape& s, const Sequence<T>& q, const SequenceGradient<T>& d) {
  constexpr Index G = gate_count(kCell);
  const Index H = s.H, P = s.total(), ld = G * H + kApart<T>, kept = kCell == Cell::gru ? 2 * H : G * H;
  Buffer da_buffer(sizeof(T) * static_cast<std::size_t>(P * G * H)),
      dm_buffer(kCell == Cell::gru ? sizeof(T) * static_cast<std::size_t>(P * H) : 0);
  T *const da = da_buffer.as<T>(), *const dm = dm_buffer.as<T>();
  Buffer panels(sizeof(T) * static_cast<std::size_t>(panel_count<T>(H) * kPanel<T> * G * H));
  pack_b<T>({q.w_hh, H, 1}, G * H, H, panels.as<T>());
  const RowParts parts(s, 2.0 * static_cast<double>(G * H * H));
  const double cost = 2.0 * static_cast<double>(G * H * H * P) / static_cast<double>(parts.count);
  parallel_for_scratch(parts.count, cost, sizeof(T) * static_cast<std::size_t>(s.N * ld), [&](Index part, void* mine) {
    const Index first = parts.begin(part), end = parts.begin(part + 1);
    T* const recurrent = static_cast<T*>(mine);  // what goes through w_hh
    copy(d.dh_last + first * H, d.dh0 + first * H, (end - first) * H);
    if constexpr (kCell == Cell::lstm) copy(d.dc_last + first * H, d.dc0 + first * H, (end - first) * H);
    for (Index step = s.steps - 1; step >= 0; --step) {
      const Index rows = least(end, s.rows(step)) - first, at = s.offset[step] + first;
      if (rows <= 0) continue;
      for (Index r = 0; r < rows; ++r) {
        const Index row = at + r;
        T *const out = da + row * G * H, *const to = recurrent + r * ld;
        activate_backward<T, kCell>(
            H,
            {q.gates + row * G * H, q.h + row * H, kCell == Cell::lstm ? q.c + row * H : nullptr,
             kCell == Cell::gru ? q.m + row * H : nullptr,
             kCell == Cell::gru ? before(s, step, q.h0, q.h) + (first + r) * H : nullptr,
             kCell == Cell::lstm ? before(s, step, q.c0, q.c) + (first + r) * H : nullptr},
            {d.dh + row * H, d.dh0 + (first + r) * H, kCell == Cell::lstm ? d.dc0 + (first + r) * H : nullptr, out,
             kCell == Cell::gru ? dm + row * H : nullptr});
        copy(out, to, kept);
        if constexpr (kCell == Cell::gru) copy(dm + row * H, to + kept, H);
      }
      times_panels(recurrent, ld, rows, G * H, panels.as<T>(), H, d.dh0 + first * H, H, static_cast<const T*>(nullptr),
                   kCell == Cell::gru);
    }
  });
  Buffer earlier(sizeof(T) * static_cast<std::size_t>(P * H));
  states_before(s, q.h0, static_cast<const T*>(q.h), earlier.as<T>());
  gemm<T>(P, s.D, G * H, {da, G * H, 1}, {q.w_ih, s.D, 1}, d.dx, s.D, nullptr, false);
  gemm<T>(G * H, s.D, P, {da, 1, G * H}, {q.x, s.D, 1}, d.dw_ih, s.D, nullptr, false);
  gemm<T>(kept, H, P, {da, 1, G * H}, {earlier.as<T>(), H, 1}, d.dw_hh, H, nullptr, false);
  sum_rows(P, G * H, da, d.db);
  if constexpr (kCell == Cell::gru) {
    gemm<T>(H, H, P, {dm, 1, H}, {earlier.as<T>(), H, 1}, d.dw_hh + kept * H, H, nullptr, false);
    sum_rows(P, H, dm, d.db + 3 * H);
  }
}

template <class T>
void sequence(Cell cell, const SequenceShape& s, const Sequence<T>& q) {
  switch (cell) {
    case Cell::rnn_tanh:
      return run_sequence<T, Cell::rnn_tanh>(s, q);
    case Cell::rnn_relu:
      return run_sequence<T, Cell::rnn_relu>(s, q);
    case Cell::gru:
      return run_sequence<T, Cell::gru>(s, q);
    case Cell::lstm:
      return run_sequence<T, Cell::lstm>(s, q);
  }
}
template <class T>
void sequence_backward(Cell cell, const SequenceShape& s, const Sequence<T>& q, const SequenceGradient<T>& d) {
  switch (cell) {
    case Cell::rnn_tanh:
      return run_sequence_backward<T, Cell::rnn_tanh>(s, q, d);
    case Cell::rnn_relu:
      return run_sequence_backward<T, Cell::rnn_relu>(s, q, d);
    case Cell::gru:
      return run_sequence_backward<T, Cell::gru>(s, q, d);
    case Cell::lstm:
      return run_sequence_backward<T, Cell::lstm>(s, q, d);
  }
}

// out[i] = x[index[i]], rows of `columns` elements; zeros for index -1.
template <class T>
void take_rows(Index rows, Index columns, const T* x, const std::int64_t* index, T* out) {
  constexpr Index kRows = 16;
  parallel_for(ceil_div(rows, kRows), kByte * 2 * sizeof(T) * static_cast<double>(kRows * columns), [&](Index block) {
    for (Index i = block * kRows; i < least(rows, (block + 1) * kRows); ++i) {
      if (index[i] < 0)
        fill_zero(out + i * columns, columns);
      else
        copy(x + index[i] * columns, out + i * columns, columns);
    }
  });
}

}  // namespace
}  // namespace lamina
