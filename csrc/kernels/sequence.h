// Whole sequences through one recurrent layer in one direction, forward and backward.
//
// x and y are (R,D) and (R,H), one row a sequence and step. Inside, rows are packed by time: step s holds rows(s)
// sequences, the longest first, so that rows(s) never grows and a padded step does not exist; packed row p stands for
// row source[p]. Packed arrays: xh (P,K) = [x_s | h_{s-1}], padded; gates (P,GH); c, m (P,H).
//
//   a_s = [x_s | h_{s-1}] [w_ih | w_hh]^T + b
//   RNN   h = tanh(a) or max(a, 0)                                                       rows of w: (h)
//   LSTM  i, f, o = sigmoid(a), g = tanh(a);  c' = f c + i g;  h = o tanh(c')             rows: i, f, g, o
//   GRU   r, z = sigmoid(a);  n = tanh(a_n + r m), m = h w_hn^T + b_m;  h' = n + z (h - n)   rows: r, z, n; b also m
//
// Tokens instead of x: xh has h alone, and x w_ih^T + b is a row of a table: the same bits as for vectors with a one.
//
// Saved for backward: xh, the activated gates, c or m. The parallel axis: sequences. A thread takes its rows through all
// steps without ever waiting for another, and an element's sum is one chain over k whichever rows are beside it, so
// bits do not depend on the number of threads. After the way back, the gradients of the weights are one product.
#pragma once
#include "kernels/embedding.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/reduce.h"
#include "simd/math.h"

namespace lamina {
namespace {

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

// Panels of a product with w^T, or with [w | more]^T: rows [first, first + columns) of w (., D) and more (., H).
template <class T>
struct ForwardPanels {
  Index columns, depth;
  Buffer packed;
  ForwardPanels(const T* w, Index D, const T* more, Index H, Index first, Index n)
      : columns(n),
        depth(D + H),
        packed(sizeof(T) * static_cast<std::size_t>(panel_count<T>(n) * kPanel<T> * (D + H))) {
    parallel_for(panel_count<T>(n), kByte * 4 * sizeof(T) * static_cast<double>(depth * kPanel<T>), [&](Index p) {
      const Index j = p * kPanel<T>;
      const int width = panel_width<T>(n, p), some = static_cast<int>(least(n - j, kPanel<T>));
      T* const to = packed.as<T>() + panel_offset<T>(p, depth);
      if (D > 0) pack_panel<T>({w + (first + j) * D, 1, D}, D, some, width, to);
      if (H > 0) pack_panel<T>({more + (first + j) * H, 1, H}, H, some, width, to + D * width);
    });
  }
};
// Panels of a product with rows [first, first + depth) of w (., columns).
template <class T>
struct BackwardPanels {
  Index columns, depth;
  Buffer packed;
  BackwardPanels(const T* w, Index first, Index n, Index D)
      : columns(D), depth(n), packed(sizeof(T) * static_cast<std::size_t>(panel_count<T>(D) * kPanel<T> * n)) {
    pack_b<T>({w + first * D, D, 1}, n, D, packed.as<T>());
  }
};
// out (rows, columns) = or += a (rows, depth) times the panels.
template <class T, class Panels>
void times(const T* a, Index lda, Index rows, const Panels& panels, T* out, Index ldo, const T* bias, bool accumulate) {
  const GemmSlice<T> slice{panels.packed.template as<T>(), {a, lda, 1}, ReadA::kRows, panels.depth};
  gemm_block(slice, 0, rows, 0, panel_count<T>(panels.columns), panels.columns, out, ldo, bias, accumulate);
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

// Rows of gradients are this far apart: an odd number of lines, or they would collide in the cache.
template <class T>
LAMINA_INLINE Index apart(Index n) {
  return padded_row(n, sizeof(T));
}

// c one step earlier: the initial one, or that of step - 1.
template <class T>
LAMINA_INLINE const T* c_before(const SequenceShape& s, Index step, const T* initial, const T* packed) {
  return step == 0 ? initial : packed + s.offset[step - 1] * s.H;
}

// Columns of xh that x takes.
template <class T>
LAMINA_INLINE Index features(const SequenceShape& s, const Sequence<T>& q) {
  return q.tokens ? 0 : s.D;
}

// What each token adds to the pre-activations: row v is column v of w_ih (n,D), plus b.
template <class T>
void token_table(Index n, Index D, const T* w_ih, const T* b, T* table) {
  parallel_for(n, kByte * 2 * sizeof(T) * static_cast<double>(D), [&](Index j) {
    for (Index v = 0; v < D; ++v) table[v * n + j] = b[j] + w_ih[j * D + v];
  });
}

// dw_ih from da (P, ld): column v is the sum of the rows with token v, in their order.
template <class T>
void token_gradient(const SequenceShape& s, const std::int64_t* tokens, Index n, const T* da, Index ld, T* dw_ih) {
  const Index D = s.D;
  Buffer sums(sizeof(T) * static_cast<std::size_t>(D * n));
  sum_by_token(s.total(), D, n, [&](Index p) { return tokens[s.source[p]]; }, da, ld, sums.as<T>());
  parallel_for(n, kByte * 2 * sizeof(T) * static_cast<double>(D), [&](Index j) {
    for (Index v = 0; v < D; ++v) dw_ih[j * D + v] = sums.as<T>()[v * n + j];
  });
}

template <class T, Cell kCell>
void run_sequence(const SequenceShape& s, const Sequence<T>& q) {
  constexpr Index G = gate_count(kCell);
  constexpr bool lstm = kCell == Cell::lstm, gru = kCell == Cell::gru;
  const Index H = s.H, D = features(s, q), K = apart<T>(D + H), whole = gru ? 2 * H : G * H;
  if (s.total() < s.R) fill_zero(q.y, s.R * H);
  Buffer table(q.tokens ? sizeof(T) * static_cast<std::size_t>(s.D * G * H) : 0);
  if (q.tokens) token_table(G * H, s.D, q.w_ih, q.b, table.as<T>());
  const ForwardPanels<T> both(q.w_ih, D, q.w_hh, H, 0, whole);
  const ForwardPanels<T> of_x(q.w_ih, D, nullptr, 0, whole, G * H - whole),
      of_h(nullptr, 0, q.w_hh, H, whole, G * H - whole);
  const double work = 2.0 * static_cast<double>(G * H * (D + H));
  const RowParts parts(s, work);
  parallel_for(parts.count, work * static_cast<double>(s.total()) / static_cast<double>(parts.count), [&](Index part) {
    const Index first = parts.begin(part), end = parts.begin(part + 1);
    for (Index r = first; r < least(end, s.steps > 0 ? s.rows(0) : 0); ++r) copy(q.h0 + r * H, q.xh + r * K + D, H);
    for (Index step = 0; step < s.steps; ++step) {
      const Index rows = least(end, s.rows(step)) - first, at = s.offset[step] + first;
      if (rows <= 0) break;
      const Index going_on = step + 1 < s.steps ? s.rows(step + 1) - first : 0;
      for (Index p = at; p < at + rows; ++p) {
        if (q.tokens)
          copy(table.as<T>() + q.tokens[s.source[p]] * G * H, q.gates + p * G * H, G * H);
        else
          copy(q.x + s.source[p] * D, q.xh + p * K, D);
        fill_zero(q.xh + p * K + D + H, K - D - H);
      }
      T* const gates = q.gates + at * G * H;
      times(q.xh + at * K, K, rows, both, gates, G * H, q.b, q.tokens != nullptr);
      if constexpr (gru) {
        if (!q.tokens) times(q.xh + at * K, K, rows, of_x, gates + whole, G * H, q.b + whole, false);
        times(q.xh + at * K + D, K, rows, of_h, q.m + at * H, H, q.b + 3 * H, false);
      }
      for (Index r = 0; r < rows; ++r) {
        const Index p = at + r;
        T* const h = q.y + s.source[p] * H;
        activate<T, kCell>(
            H, {q.gates + p * G * H, h, lstm ? q.c + p * H : nullptr, gru ? q.m + p * H : nullptr, q.xh + p * K + D,
                lstm ? c_before(s, step, q.c0, static_cast<const T*>(q.c)) + (first + r) * H : nullptr});
        if (r < going_on) copy(h, q.xh + (s.offset[step + 1] + first + r) * K + D, H);
      }
    }
  });
}

// dw = da^T [x | h], db = sums of da.
template <class T, Cell kCell>
void weight_gradients(const SequenceShape& s, const Sequence<T>& q, const T* da, Index ld,
                      const SequenceGradient<T>& d) {
  constexpr Index G = gate_count(kCell);
  const Index H = s.H, D = features(s, q), P = s.total(), K = apart<T>(D + H),
              whole = kCell == Cell::gru ? 2 * H : G * H;
  Buffer both(sizeof(T) * static_cast<std::size_t>(whole * (D + H)));
  gemm<T>(whole, D + H, P, {da, 1, ld}, {q.xh, K, 1}, both.as<T>(), D + H, nullptr, false);
  for (Index j = 0; j < whole; ++j) {
    copy(both.as<T>() + j * (D + H), d.dw_ih + j * D, D);
    copy(both.as<T>() + j * (D + H) + D, d.dw_hh + j * H, H);
  }
  if constexpr (kCell == Cell::gru) {
    if (D > 0) gemm<T>(H, D, P, {da + 2 * H, 1, ld}, {q.xh, K, 1}, d.dw_ih + whole * D, D, nullptr, false);
    gemm<T>(H, H, P, {da + 3 * H, 1, ld}, {q.xh + D, K, 1}, d.dw_hh + whole * H, H, nullptr, false);
  }
  if (q.tokens) token_gradient(s, q.tokens, G * H, da, ld, d.dw_ih);
  sum_rows(P, bias_count(kCell) * H, da, d.db, ld);
}

template <class T, Cell kCell>
void run_sequence_backward(const SequenceShape& s, const Sequence<T>& q, const SequenceGradient<T>& d) {
  constexpr Index G = gate_count(kCell), blocks = bias_count(kCell);
  constexpr bool lstm = kCell == Cell::lstm, gru = kCell == Cell::gru;
  const Index H = s.H, D = features(s, q), P = s.total(), K = apart<T>(D + H), ld = apart<T>(blocks * H),
              whole = gru ? 2 * H : G * H;
  if (P < s.R && D > 0) fill_zero(d.dx, s.R * D);
  Buffer da_buffer(sizeof(T) * static_cast<std::size_t>(P * ld));
  T* const da = da_buffer.as<T>();
  const BackwardPanels<T> to_x(q.w_ih, 0, D > 0 ? G * H : 0, D), to_h(q.w_hh, 0, whole, H),
      from_m(q.w_hh, whole, G * H - whole, H);
  const double work = 2.0 * static_cast<double>(G * H * (D + H));
  const RowParts parts(s, work);
  parallel_for_scratch(
      parts.count, work * static_cast<double>(P) / static_cast<double>(parts.count),
      sizeof(T) * static_cast<std::size_t>(s.N * D), [&](Index part, void* mine) {
        const Index first = parts.begin(part), end = parts.begin(part + 1);
        T* const dx = static_cast<T*>(mine);
        T* const carry = d.dh0 + first * H;
        copy(d.dh_last + first * H, carry, (end - first) * H);
        if constexpr (lstm) copy(d.dc_last + first * H, d.dc0 + first * H, (end - first) * H);
        for (Index step = s.steps - 1; step >= 0; --step) {
          const Index rows = least(end, s.rows(step)) - first, at = s.offset[step] + first;
          if (rows <= 0) continue;
          for (Index r = 0; r < rows; ++r) {
            const Index p = at + r;
            T* const out = da + p * ld;
            activate_backward<T, kCell>(
                H,
                {q.gates + p * G * H, q.y + s.source[p] * H, lstm ? q.c + p * H : nullptr, gru ? q.m + p * H : nullptr,
                 q.xh + p * K + D,
                 lstm ? c_before(s, step, q.c0, static_cast<const T*>(q.c)) + (first + r) * H : nullptr},
                {d.dy + s.source[p] * H, carry + r * H, lstm ? d.dc0 + (first + r) * H : nullptr, out,
                 gru ? out + 3 * H : nullptr});
          }
          if (D > 0) times(da + at * ld, ld, rows, to_x, dx, D, static_cast<const T*>(nullptr), false);
          for (Index r = 0; D > 0 && r < rows; ++r) copy(dx + r * D, d.dx + s.source[at + r] * D, D);
          times(da + at * ld, ld, rows, to_h, carry, H, static_cast<const T*>(nullptr), gru);
          if constexpr (gru)
            times(da + at * ld + 3 * H, ld, rows, from_m, carry, H, static_cast<const T*>(nullptr), true);
        }
      });
  weight_gradients<T, kCell>(s, q, da, ld, d);
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

}  // namespace
}  // namespace lamina
