// Whole sequences through one recurrent layer in one direction, forward and backward.
//
// x and y are (R,D) and (R,H), one row a sequence and step. Inside, rows are packed by time: step s holds rows(s)
// sequences, the longest first, so that rows(s) never grows and a padded step does not exist; packed row p stands for
// row source[p]. Packed arrays: xh (P,K) = [x_s | h_{s-1} | 1], padded; gates (P,GH); c, m (P,H).
//
//   a_s = [x_s | h_{s-1}] [w_ih | w_hh]^T + b
//   RNN   h = tanh(a), max(a, 0) or min(max(a, 0), 1)                                    rows of w: (h)
//   LSTM  i, f, o = sigmoid(a), g = tanh(a);  c' = f c + i g;  h = o tanh(c')             rows: i, f, g, o
//   GRU   r, z = sigmoid(a);  n = tanh(a_n + r m), m = h w_hn^T + b_m;  h' = n + z (h - n)   rows: r, z, n; b also m
//   GRU, reset before   n = tanh(a_n + m w_hn^T), m = r h                                 b as w
//
// mask (N,H) multiplies h on its way into every product (recurrent dropout, one mask for all steps: Gal & Ghahramani
// 2016), but not where a GRU or zoneout keeps it.
//
// Tokens instead of x: xh has h alone, and x w_ih^T + b is a row of a table: the same bits as for vectors with a one.
//
// Saved for backward: xh, the activated gates, c or m. The parallel axis: sequences, or of few the columns of a step. A
// thread takes its rows through all steps without waiting for another, and an element's sum is one chain over k
// whichever rows are beside it, so bits do not depend on the number of threads. After the way back, the gradients of
// the weights are one product.
#pragma once
#include "kernels/embedding.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/reduce.h"
#include "kernels/sequence_cells.h"

namespace lamina {
namespace {

// Threads share the weights of a step, instead of the sequences, of which each would have few to read all weights for:
// of up to kFewSequences where one's step takes kLargeStep operations, else of fewer than kFewEach a thread where a
// thread's part of a step takes kLargePart.
constexpr double kLargeStep = 5e5, kLargePart = 1e6;
constexpr Index kFewEach = 4;
constexpr double kCurve = 50;  // operations that take as long as a sigmoid or tanh

// Sequences cut into parts of about the same number of steps: part k has rows [begin(k), begin(k + 1)).
class RowParts {
 public:
  RowParts(const SequenceShape& s, double cost_per_step) : s_(s) {
    const double total = cost_per_step * static_cast<double>(s.total());
    const int threads = max_threads();
    const double part = cost_per_step * static_cast<double>(s.N) / threads;
    const bool together =
        s.N <= kFewSequences ? cost_per_step > kLargeStep : s.N < kFewEach * threads && part > kLargePart;
    count = together ? 1 : plan_threads(s.N, total / static_cast<double>(greatest(s.N, 1)));
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
  WeightBuffer packed;
  ForwardPanels(const T* w, Index D, const T* more, Index H, Index first, Index n)
      : columns(n),
        depth(D + H),
        packed(sizeof(T) * static_cast<std::size_t>(panel_count<T>(n) * kPanel<T> * (D + H)), &kMaker) {
    if (packed.is_filled()) return;
    parallel_for(panel_count<T>(n), kByte * 4 * sizeof(T) * static_cast<double>(depth * kPanel<T>), [&](Index p) {
      const Index j = p * kPanel<T>;
      const int width = panel_width<T>(n, p), some = static_cast<int>(least(n - j, kPanel<T>));
      T* const to = packed.template as<T>() + panel_offset<T>(p, depth);
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
// out (rows, columns) = or += a (rows, depth) times the panels. alone: on the caller's thread only, which shares the
// panels out where they take long to read.
template <class T, class Panels>
void times(bool alone, const T* a, Index lda, Index rows, const Panels& panels, T* out, Index ldo, const T* bias,
           bool accumulate) {
  const GemmSlice<T> slice{panels.packed.template as<T>(), {a, lda, 1}, ReadA::kRows, panels.depth};
  const Index count = panel_count<T>(panels.columns);
  const double each = greatest(static_cast<Index>(kByte * sizeof(T)), 2 * rows);  // to read an element, or to multiply
  const double cost = each * static_cast<double>(panels.depth * kPanel<T>);
  const Index threads = alone ? plan_threads(count, cost) : 1;
  parallel_for(threads, cost * static_cast<double>(count) / static_cast<double>(threads), [&](Index t) {
    gemm_block(slice, 0, rows, t * count / threads, (t + 1) * count / threads, panels.columns, out, ldo, bias,
               accumulate);
  });
}

// f(row) for all rows; alone: on the caller's thread only, which shares them out where they are much work.
template <class F>
void share(bool alone, Index rows, double cost, F&& f) {
  if (alone) return parallel_for(rows, cost, f);
  for (Index r = 0; r < rows; ++r) f(r);
}

// Rows of gradients are this far apart: an odd number of lines, or they would collide in the cache.
template <class T>
LAMINA_INLINE Index apart(Index n) {
  return padded_row(n, sizeof(T));
}

template <class T>
LAMINA_INLINE Index row_of_xh(Index D, Index H) {
  return apart<T>(D + H + 1);
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

// Where a step's rows of xh and gates begin.
template <class T>
LAMINA_INLINE Index place(const SequenceShape& s, const Sequence<T>& q, Index step) {
  return q.forgets ? step % 2 * s.N : s.offset[step];
}

// The units of sequence `row` at a step.
template <class T, Cell kCell>
UnitRow<T> units(const SequenceShape& s, const Sequence<T>& q, Index step, Index row) {
  const Index H = s.H, D = features(s, q), p = s.offset[step] + row, y = s.source[p], at = place(s, q, step) + row;
  const T* const h_in = q.xh + at * row_of_xh<T>(D, H) + D;
  const T* const unmasked = step == 0 ? q.h0 + row * H : q.y + s.source[s.offset[step - 1] + row] * H;
  return {.gates = q.gates + at * gate_count(kCell) * H,
          .h = q.y + y * H,
          .c = q.c ? q.c + p * H : nullptr,
          .m = q.m ? q.m + p * H : nullptr,
          .h_before = q.mask ? unmasked : h_in,
          .c_before = q.c ? c_before(s, step, q.c0, static_cast<const T*>(q.c)) + row * H : nullptr,
          .h_in = h_in,
          .zone_h = q.zone_h ? q.zone_h + y * H : nullptr,
          .zone_c = q.zone_c ? q.zone_c + y * H : nullptr};
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

// The input of packed row p, as its step takes it, to row `at` of xh; or of a token what it adds to the gates.
template <class T>
LAMINA_INLINE void take_input(const SequenceShape& s, const Sequence<T>& q, const T* table, Index GH, Index p,
                              Index at) {
  const Index D = features(s, q), K = row_of_xh<T>(D, s.H);
  T* const xh = q.xh + at * K;
  if (q.tokens)
    copy(table + q.tokens[s.source[p]] * GH, q.gates + at * GH, GH);
  else
    copy(q.x + s.source[p] * D, xh, D);
  xh[D + s.H] = 1;
  fill_zero(xh + D + s.H + 1, K - D - s.H - 1);
}

// Of few sequences, steps are short and wait for weights to be read: the inputs of all steps go through theirs at once.
template <class T>
void take_inputs_ahead(const SequenceShape& s, const Sequence<T>& q, const T* table, Index GH) {
  const Index D = features(s, q), P = s.total();
  parallel_for(P, kByte * 2 * sizeof(T) * static_cast<double>(q.tokens ? GH : D),
               [&](Index p) { take_input(s, q, table, GH, p, p); });
  if (q.tokens) return;
  const ForwardPanels<T> panels(q.w_ih, D, nullptr, 0, 0, GH);
  times(true, q.xh, row_of_xh<T>(D, s.H), P, panels, q.gates, GH, q.b, false);
}

template <class T, Cell kCell>
void run_sequence(const SequenceShape& s, const Sequence<T>& q) {
  constexpr Index G = gate_count(kCell);
  const Index H = s.H, D = features(s, q), K = row_of_xh<T>(D, H), whole = is_gru(kCell) ? 2 * H : G * H;
  if (s.total() < s.R) fill_zero(q.y, s.R * H);
  const WeightBuffer table(q.tokens ? sizeof(T) * static_cast<std::size_t>(s.D * G * H) : 0, &kMaker);
  if (q.tokens && !table.is_filled()) token_table(G * H, s.D, q.w_ih, q.b, table.as<T>());
  const bool ahead = s.N <= kFewSequences;
  if (ahead) take_inputs_ahead<T>(s, q, table.as<T>(), G * H);
  const Index taken = ahead ? 0 : D;  // features that a step's product reads
  const ForwardPanels<T> both(q.w_ih, taken, q.w_hh, H, 0, whole);
  const ForwardPanels<T> of_x(q.w_ih, taken, nullptr, 0, whole, G * H - whole),
      of_h(nullptr, 0, q.w_hh, H, whole, G * H - whole);
  const auto step_of_row = q.zone_h ? activate<T, kCell, true> : activate<T, kCell, false>;
  const auto mask_of = [&](Index row) { return q.mask ? q.mask + row * H : nullptr; };
  const double work = 2.0 * static_cast<double>(G * H * (taken + H));
  const RowParts parts(s, work);
  const bool alone = parts.count == 1;
  parallel_for(parts.count, work * static_cast<double>(s.total()) / static_cast<double>(parts.count), [&](Index part) {
    const Index first = parts.begin(part), end = parts.begin(part + 1);
    for (Index r = first; r < least(end, s.steps > 0 ? s.rows(0) : 0); ++r)
      enter(H, q.h0 + r * H, mask_of(r), q.xh + r * K + D);
    for (Index step = 0; step < s.steps; ++step) {
      const Index rows = least(end, s.rows(step)) - first, p = s.offset[step] + first, at = place(s, q, step) + first;
      if (rows <= 0) break;
      const Index going_on = step + 1 < s.steps ? s.rows(step + 1) - first : 0;
      for (Index r = 0; r < rows && !ahead; ++r) take_input(s, q, table.as<T>(), G * H, p + r, at + r);
      T *const gates = q.gates + at * G * H, *const xh = q.xh + at * K;
      times(alone, xh + D - taken, K, rows, both, gates, G * H, q.b, ahead || q.tokens);
      if constexpr (is_gru(kCell))
        if (!ahead && !q.tokens) times(alone, xh, K, rows, of_x, gates + whole, G * H, q.b + whole, false);
      if constexpr (kCell == Cell::gru) times(alone, xh + D, K, rows, of_h, q.m + p * H, H, q.b + 3 * H, false);
      if constexpr (kCell == Cell::gru_before) {
        for (Index r = first; r < first + rows; ++r) reset(H, units<T, kCell>(s, q, step, r));
        times(alone, q.m + p * H, H, rows, of_h, gates + whole, G * H, static_cast<const T*>(nullptr), true);
      }
      share(alone, rows, kCurve * static_cast<double>(G * H), [&](Index i) {
        const Index r = first + i;
        const UnitRow<T> unit = units<T, kCell>(s, q, step, r);
        step_of_row(H, unit);
        if (i < going_on) enter(H, unit.h, mask_of(r), q.xh + (place(s, q, step + 1) + r) * K + D);
      });
    }
  });
}

// dst (columns, rows) = src (rows, columns), transposed.
template <class T>
void transpose(Index rows, Index columns, const T* src, Index lds, T* dst) {
  constexpr Index W = kLanes<T>;
  parallel_for(ceil_div(columns, W), kByte * 4 * sizeof(T) * static_cast<double>(W * rows), [&](Index block) {
    const Index j = block * W, n = least(W, columns - j);
    Index i = 0;
    for (; n == W && i + W <= rows; i += W) transpose_square(src + i * lds + j, lds, dst + j * rows + i, rows);
    for (; i < rows; ++i)
      for (Index c = j; c < j + n; ++c) dst[c * rows + i] = src[i * lds + c];
  });
}

// dw = da^T [x | h], db = sums of da, both at once: xh ends with a one. The product is made transposed, for both its
// operands are then read as they lie.
template <class T, Cell kCell>
void weight_gradients(const SequenceShape& s, const Sequence<T>& q, const T* da, Index ld,
                      const SequenceGradient<T>& d) {
  const Index H = s.H, D = features(s, q), P = s.total(), K = row_of_xh<T>(D, H),
              whole = is_gru(kCell) ? 2 * H : gate_count(kCell) * H;
  Buffer buffer(sizeof(T) * static_cast<std::size_t>((D + H + 1) * whole));
  T* const made = buffer.as<T>();
  const auto product = [&](Index rows, const T* a, Index lda, Index columns, const T* b) {
    gemm<T>(rows, columns, P, {a, 1, lda}, {b, ld, 1}, made, columns, nullptr, false);
  };
  product(D + H + 1, q.xh, K, whole, da);
  transpose(D, whole, made, whole, d.dw_ih);
  transpose(H, whole, made + D * whole, whole, d.dw_hh);
  copy(made + (D + H) * whole, d.db, whole);
  if constexpr (is_gru(kCell)) {
    if (D > 0) product(D, q.xh, K, H, da + whole);
    transpose(D, H, made, H, d.dw_ih + whole * D);
    sum_rows(P, H, da + whole, d.db + whole, ld);
    if constexpr (kCell == Cell::gru) {
      product(H + 1, q.xh + D, K, H, da + whole + H);
      copy(made + H * H, d.db + whole + H, H);
    } else {
      product(H, q.m, H, H, da + whole);
    }
    transpose(H, H, made, H, d.dw_hh + whole * H);
  }
  if (q.tokens) token_gradient(s, q.tokens, gate_count(kCell) * H, da, ld, d.dw_ih);
}

template <class T, Cell kCell>
void run_sequence_backward(const SequenceShape& s, const Sequence<T>& q, const SequenceGradient<T>& d) {
  constexpr Index G = gate_count(kCell), blocks = bias_count(kCell);
  constexpr bool lstm = kCell == Cell::lstm, before = kCell == Cell::gru_before;
  const Index H = s.H, D = d.dx ? s.D : 0, P = s.total(), ld = apart<T>(blocks * H),
              whole = is_gru(kCell) ? 2 * H : G * H;
  if (P < s.R && D > 0) fill_zero(d.dx, s.R * D);
  Buffer da_buffer(sizeof(T) * static_cast<std::size_t>(P * ld));
  T* const da = da_buffer.as<T>();
  const BackwardPanels<T> to_x(q.w_ih, 0, D > 0 ? G * H : 0, D), to_h(q.w_hh, 0, whole, H),
      from_m(q.w_hh, whole, G * H - whole, H);
  const auto step_of_row = q.zone_h ? activate_backward<T, kCell, true> : activate_backward<T, kCell, false>;
  const bool past = is_gru(kCell) || q.zone_h;  // carry holds what reaches h past the products
  const bool aside = before || q.mask;          // what comes back through them is not ready to be added
  const T* const no_bias = nullptr;
  const double work = 2.0 * static_cast<double>(G * H * (D + H));
  const RowParts parts(s, work);
  const bool alone = parts.count == 1;
  parallel_for_scratch(parts.count, work * static_cast<double>(P) / static_cast<double>(parts.count),
                       sizeof(T) * static_cast<std::size_t>(s.N * (D + (aside ? H : 0))), [&](Index part, void* mine) {
                         const Index first = parts.begin(part), end = parts.begin(part + 1);
                         T* const dx = static_cast<T*>(mine);
                         T *const carry = d.dh0 + first * H, *const back = aside ? dx + s.N * D : carry;
                         copy(d.dh_last + first * H, carry, (end - first) * H);
                         if constexpr (lstm) copy(d.dc_last + first * H, d.dc0 + first * H, (end - first) * H);
                         for (Index step = s.steps - 1; step >= 0; --step) {
                           const Index rows = least(end, s.rows(step)) - first, at = s.offset[step] + first;
                           if (rows <= 0) continue;
                           T* const out = da + at * ld;
                           share(alone, rows, kCurve * static_cast<double>(G * H), [&](Index r) {
                             T* const row = out + r * ld;
                             step_of_row(H, units<T, kCell>(s, q, step, first + r),
                                         {d.dy + s.source[at + r] * H, carry + r * H,
                                          lstm ? d.dc0 + (first + r) * H : nullptr, row, row + whole + H});
                           });
                           if constexpr (before) {
                             times(alone, out + whole, ld, rows, from_m, back, H, no_bias, false);
                             for (Index r = 0; r < rows; ++r)
                               reset_backward(H, units<T, kCell>(s, q, step, first + r), back + r * H, out + r * ld);
                           }
                           if (D > 0) times(alone, out, ld, rows, to_x, dx, D, no_bias, false);
                           for (Index r = 0; D > 0 && r < rows; ++r) copy(dx + r * D, d.dx + s.source[at + r] * D, D);
                           times(alone, out, ld, rows, to_h, back, H, no_bias, before || (past && !aside));
                           if constexpr (kCell == Cell::gru)
                             times(alone, out + 3 * H, ld, rows, from_m, back, H, no_bias, true);
                           for (Index r = 0; aside && r < rows; ++r)
                             enter_backward(H, back + r * H, q.mask ? q.mask + (first + r) * H : nullptr, past,
                                            carry + r * H);
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
    case Cell::rnn_satlin:
      return run_sequence<T, Cell::rnn_satlin>(s, q);
    case Cell::gru:
      return run_sequence<T, Cell::gru>(s, q);
    case Cell::gru_before:
      return run_sequence<T, Cell::gru_before>(s, q);
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
    case Cell::rnn_satlin:
      return run_sequence_backward<T, Cell::rnn_satlin>(s, q, d);
    case Cell::gru:
      return run_sequence_backward<T, Cell::gru>(s, q, d);
    case Cell::gru_before:
      return run_sequence_backward<T, Cell::gru_before>(s, q, d);
    case Cell::lstm:
      return run_sequence_backward<T, Cell::lstm>(s, q, d);
  }
}

}  // namespace
}  // namespace lamina
