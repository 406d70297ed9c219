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
// Saved for backward: xh, the activated gates, c or m. The parallel axis: sequences, which a thread takes through all
// steps without waiting for another; of few, their units, for which a team of threads waits for all of h once a step.
// An element's sum is one chain over k whatever is beside it, so bits do not depend on the number of threads. After the
// way back, the gradients of the weights are one product.
#pragma once
#include "kernels/sequence_cells.h"
#include "kernels/sequence_parts.h"

namespace lamina {
namespace {

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
  const T* const unmasked = step == 0 ? q.h0 + row * H : q.y + s.source[s.offset[step - 1] + row] * q.ldy;
  return {.gates = q.gates + at * gate_count(kCell) * H,
          .h = q.y + y * q.ldy,
          .c = q.c ? q.c + p * H : nullptr,
          .m = q.m ? q.m + p * H : nullptr,
          .h_before = q.mask ? unmasked : h_in,
          .c_before = q.c ? c_before(s, step, q.c0, static_cast<const T*>(q.c)) + row * H : nullptr,
          .h_in = h_in,
          .zone_h = q.zone_h ? q.zone_h + y * H : nullptr,
          .zone_c = q.zone_c ? q.zone_c + y * H : nullptr};
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

// Units whose blocks are `panels`.
template <class T>
struct Units {
  PanelRange panels;
  Index begin, end;
  Units(Index H, const Member& member) {
    const Index blocks = panel_count<T>(H);
    panels = {member.rank * blocks / member.size, (member.rank + 1) * blocks / member.size};
    begin = panels.first * kPanel<T>, end = least(H, panels.last * kPanel<T>);
  }
};

// Panels are dealt to a team gate by gate. Of many sequences, panels that reach from gate to gate are fewer.
template <class T>
LAMINA_INLINE bool goes_by_gates(const SequenceShape& s) {
  return s.N <= kFewSequences || s.H % kPanel<T> == 0;
}

// A layer in one direction, its weights packed; run() takes a part of the sequences through it.
template <class T, Cell kCell>
class SequenceForward {
 public:
  SequenceForward(const SequenceShape& s, const Sequence<T>& q)
      : s_(s),
        q_(q),
        H_(s.H),
        D_(features(s, q)),
        table_(q.tokens ? sizeof(T) * static_cast<std::size_t>(s.D * G * s.H) : 0, &kMaker),
        ahead_(take_ahead()),
        both_(q.w_ih, taken(), q.w_hh, H_, 0, groups(kWhole), kWhole * H_ / groups(kWhole)),
        of_x_(q.w_ih, taken(), nullptr, 0, kWhole * H_, 1, (G - kWhole) * H_),
        of_h_(nullptr, 0, q.w_hh, H_, kWhole * H_, 1, (G - kWhole) * H_),
        shares(s, kCell, taken(), goes_by_gates<T>(s) ? panel_count<T>(H_) : 1) {
    if (s.total() < s.R) clear_rows();
  }

  void run(Index part, Member& member) const {
    const auto step_of_row = q_.zone_h ? activate<T, kCell, true> : activate<T, kCell, false>;
    const Index first = shares.parts.begin(part), end = shares.parts.begin(part + 1), K = row_of_xh<T>(D_, H_);
    const Units<T> mine(H_, member);
    const PanelRange panels = member.size > 1 ? mine.panels : both_.all();
    const auto mask_of = [&](Index row) { return q_.mask ? q_.mask + row * H_ : nullptr; };
    const auto rows_at = [&](Index step) { return step < s_.steps ? least(end, s_.rows(step)) - first : 0; };
    for (Index r = 0; r < rows_at(0); ++r)
      enter(mine.begin, mine.end, q_.h0 + (first + r) * H_, mask_of(first + r), q_.xh + (first + r) * K + D_);
    take_inputs(0, first, rows_at(0), member);
    member.wait();
    for (Index step = 0; rows_at(step) > 0; ++step) {
      const Index rows = rows_at(step), going_on = rows_at(step + 1), at = place(s_, q_, step) + first;
      T *const gates = q_.gates + at * G * H_, *const xh = q_.xh + at * K;
      times(xh + D_ - taken(), K, rows, both_, panels, gates, G * H_, q_.b, ahead_ || q_.tokens);
      if constexpr (is_gru(kCell)) multiply_new(step, first, rows, mine, panels, member);
      for (Index r = 0; r < rows; ++r) {
        const UnitRow<T> unit = units<T, kCell>(s_, q_, step, first + r);
        step_of_row(H_, mine.begin, mine.end, unit);
        if (r >= going_on) continue;
        enter(mine.begin, mine.end, unit.h, mask_of(first + r), q_.xh + (place(s_, q_, step + 1) + first + r) * K + D_);
      }
      take_inputs(step + 1, first, going_on, member);
      member.wait();
    }
  }

 private:
  static constexpr Index G = gate_count(kCell), kWhole = is_gru(kCell) ? 2 : G;  // gates whose product takes x and h

  // What the new state of a GRU sees of x, and of h behind the reset gate or before it.
  void multiply_new(Index step, Index first, Index rows, const Units<T>& mine, PanelRange panels,
                    Member& member) const {
    const Index K = row_of_xh<T>(D_, H_), at = place(s_, q_, step) + first, whole = kWhole * H_;
    T *const gates = q_.gates + at * G * H_, *const xh = q_.xh + at * K;
    T* const m = q_.m + (s_.offset[step] + first) * H_;
    if (member.size == 1) panels = of_h_.all();
    if (!ahead_ && !q_.tokens) times(xh, K, rows, of_x_, panels, gates + whole, G * H_, q_.b + whole, false);
    if constexpr (kCell == Cell::gru)
      times(xh + D_, K, rows, of_h_, panels, m, H_, static_cast<const T*>(q_.b + whole + H_), false);
    if constexpr (kCell == Cell::gru_before) {
      for (Index r = 0; r < rows; ++r) reset(mine.begin, mine.end, units<T, kCell>(s_, q_, step, first + r));
      member.wait();
      times(m, H_, rows, of_h_, panels, gates + whole, G * H_, static_cast<const T*>(nullptr), true);
    }
  }
  // Of few sequences, steps are short and wait for weights to be read: the inputs of all steps go through theirs at
  // once, ahead of the steps.
  bool take_ahead() const {
    if (q_.tokens && !table_.is_filled()) token_table(G * H_, s_.D, q_.w_ih, q_.b, table_.template as<T>());
    if (s_.N > kFewSequences) return false;
    const Index P = s_.total();
    parallel_for(P, kByte * 2 * sizeof(T) * static_cast<double>(q_.tokens ? G * H_ : D_),
                 [&](Index p) { take_input(s_, q_, table_.template as<T>(), G * H_, p, p); });
    if (q_.tokens) return true;
    const ForwardPanels<T> panels(q_.w_ih, D_, nullptr, 0, 0, 1, G * H_);
    const Index count = panel_count<T>(G * H_);
    parallel_for(
        count, (kByte * sizeof(T) + 2.0 * static_cast<double>(P)) * static_cast<double>(D_ * kPanel<T>),
        [&](Index p) { times(q_.xh, row_of_xh<T>(D_, H_), P, panels, {p, p + 1}, q_.gates, G * H_, q_.b, false); });
    return true;
  }
  // A member's share of the inputs of a step.
  void take_inputs(Index step, Index first, Index rows, const Member& member) const {
    for (Index r = first + member.rank; r < first + rows && !ahead_; r += member.size)
      take_input(s_, q_, table_.template as<T>(), G * H_, s_.offset[step] + r, place(s_, q_, step) + r);
  }
  void clear_rows() const {
    for (Index r = 0; r < s_.R; ++r) fill_zero(q_.y + r * q_.ldy, H_);
  }
  Index groups(Index gates) const { return goes_by_gates<T>(s_) ? gates : 1; }
  Index taken() const { return ahead_ ? 0 : D_; }  // features that a step's product reads

  SequenceShape s_;
  Sequence<T> q_;
  Index H_, D_;
  WeightBuffer table_;
  bool ahead_;
  ForwardPanels<T> both_, of_x_, of_h_;

 public:
  const Shares shares;
};

template <class T, Cell kCell>
void run_sequence(const SequenceShape& s, const Sequence<T>& q) {
  const SequenceForward<T, kCell> forward(s, q);
  forward.shares.run(0, [&](Index part, Member& member, void*) { forward.run(part, member); });
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

// The way back: the gradients of the pre-activations, da, of all steps, and from them those of the weights.
template <class T, Cell kCell>
class SequenceBackward {
 public:
  SequenceBackward(const SequenceShape& s, const Sequence<T>& q, const SequenceGradient<T>& d)
      : s_(s),
        q_(q),
        d_(d),
        H_(s.H),
        D_(d.dx ? s.D : 0),
        ld_(apart<T>(bias_count(kCell) * s.H)),
        da_(sizeof(T) * static_cast<std::size_t>(s.total() * ld_)),
        to_x_(q.w_ih, 0, D_ > 0 ? G * H_ : 0, D_),
        to_h_(q.w_hh, 0, kWhole * H_, H_),
        from_m_(q.w_hh, kWhole * H_, (G - kWhole) * H_, H_),
        shares(s, kCell, D_, panel_count<T>(H_)) {
    if (s.total() < s.R && D_ > 0) fill_zero(d.dx, s.R * D_);
  }
  std::size_t scratch_bytes() const {
    return sizeof(T) * static_cast<std::size_t>(s_.N * (D_ + (kBefore || q_.mask ? H_ : 0)));
  }

  void run(Index part, Member& member, void* scratch) const {
    const auto step_of_row = q_.zone_h ? activate_backward<T, kCell, true> : activate_backward<T, kCell, false>;
    const bool past = is_gru(kCell) || q_.zone_h;  // carry holds what reaches h past the products
    const bool aside = kBefore || q_.mask;         // what comes back through them is not ready to be added
    const Index first = shares.parts.begin(part), end = shares.parts.begin(part + 1), whole = kWhole * H_;
    const Units<T> mine(H_, member);
    T* const dx = static_cast<T*>(scratch);
    T *const carry = d_.dh0 + first * H_, *const back = aside ? dx + s_.N * D_ : carry;
    for (Index r = first; r < end; ++r) {
      copy_units(mine, d_.dh_last + r * H_, d_.dh0 + r * H_);
      if constexpr (kLstm) copy_units(mine, d_.dc_last + r * H_, d_.dc0 + r * H_);
    }
    for (Index step = s_.steps - 1; step >= 0; --step) {
      const Index rows = least(end, s_.rows(step)) - first, at = s_.offset[step] + first;
      if (rows <= 0) continue;
      T* const out = da() + at * ld_;
      for (Index r = 0; r < rows; ++r) {
        T* const row = out + r * ld_;
        step_of_row(H_, mine.begin, mine.end, units<T, kCell>(s_, q_, step, first + r),
                    {d_.dy + s_.source[at + r] * q_.ldy, carry + r * H_, kLstm ? d_.dc0 + (first + r) * H_ : nullptr,
                     row, row + whole + H_});
      }
      member.wait();
      if constexpr (kBefore) {
        multiply(out + whole, rows, from_m_, mine, back, false);
        for (Index r = 0; r < rows; ++r)
          reset_backward(mine.begin, mine.end, units<T, kCell>(s_, q_, step, first + r), back + r * H_, out + r * ld_);
        member.wait();
      }
      if (D_ > 0) make_dx(at, rows, member, dx);
      multiply(out, rows, to_h_, mine, back, kBefore || (past && !aside));
      if constexpr (kCell == Cell::gru) multiply(out + 3 * H_, rows, from_m_, mine, back, true);
      for (Index r = 0; aside && r < rows; ++r)
        enter_backward(mine.begin, mine.end, back + r * H_, q_.mask ? q_.mask + (first + r) * H_ : nullptr, past,
                       carry + r * H_);
    }
  }
  void finish() const { weight_gradients<T, kCell>(s_, q_, da(), ld_, d_); }

 private:
  static constexpr bool kLstm = kCell == Cell::lstm, kBefore = kCell == Cell::gru_before;
  static constexpr Index G = gate_count(kCell), kWhole = is_gru(kCell) ? 2 : G;

  // A member's share of the columns of dx.
  void make_dx(Index at, Index rows, const Member& member, T* dx) const {
    const Units<T> mine(D_, member);
    times(da() + at * ld_, ld_, rows, to_x_, mine.panels, dx, D_, static_cast<const T*>(nullptr), false);
    for (Index r = 0; r < rows; ++r) copy_units(mine, dx + r * D_, d_.dx + s_.source[at + r] * D_);
  }
  void multiply(const T* a, Index rows, const Panels<T>& panels, const Units<T>& mine, T* out, bool accumulate) const {
    times(a, ld_, rows, panels, mine.panels, out, H_, static_cast<const T*>(nullptr), accumulate);
  }
  static void copy_units(const Units<T>& mine, const T* from, T* to) {
    copy(from + mine.begin, to + mine.begin, mine.end - mine.begin);
  }
  T* da() const { return da_.template as<T>(); }

  SequenceShape s_;
  Sequence<T> q_;
  SequenceGradient<T> d_;
  Index H_, D_, ld_;
  Buffer da_;
  BackwardPanels<T> to_x_, to_h_, from_m_;

 public:
  const Shares shares;
};

template <class T, Cell kCell>
void run_sequence_backward(const SequenceShape& s, const Sequence<T>& q, const SequenceGradient<T>& d) {
  const SequenceBackward<T, kCell> backward(s, q, d);
  backward.shares.run(backward.scratch_bytes(),
                      [&](Index part, Member& member, void* scratch) { backward.run(part, member, scratch); });
  backward.finish();
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
