// Whole sequences through memory blocks, the LSTM of its sources: Hochreiter & Schmidhuber 1997, with the forget gate of
// Gers, Schmidhuber & Cummins 2000 and the peepholes of Gers & Schmidhuber 2000. B blocks of S cells, H = B S; the cells
// of a block share its gates. The plain modern LSTM, B = H with all gates, has its own kernel in sequence.h.
//
//   a = w_ih x + w_hh u + b, u (M,) what the step before sent back: nothing, y, or y and all gates in order
//   i, f = sigmoid(a + sum of p c over the block),  g = squash(a),  c' = f c + i g
//   o = sigmoid(a + sum of p c' over the block),  y = o squash(c')
//
// Rows of w and b: i (B), f (B), g (H), o (B), without those of absent gates, which are 1; coupled f is 1 - i and has no
// row. p (gates,H). x, y, tokens and packed rows are as in sequence.h: xu (P,K) = [x | u], padded; gates (P,rows); c
// (P,H). Saved for backward: these three.
//
// Truncated, errors that reach a or pass a peephole change weights and go no further back: c alone carries them through
// time, and none reaches x. The parallel axis: sequences.
#pragma once
#include "kernels/sequence_parts.h"

namespace lamina {
namespace {

// y = out tanh(in x), or out sigmoid(x), or x: the slope follows from y.
template <class T>
struct Curve {
  Squash kind;
  T in, out;
  Curve(Squash squash, T range) : kind(squash), in(1), out(1) {
    if (squash != Squash::symmetric) return;
    kind = Squash::tanh;  // range (2 sigmoid(x) - 1)
    in = T(0.5);
    out = range;
  }
  LAMINA_INLINE Vec<T> value(Vec<T> x) const {
    if (kind == Squash::identity) return x;
    return kind == Squash::logistic ? vsigmoid<T>(x) : splat(out) * vtanh<T>(splat(in) * x);
  }
  LAMINA_INLINE T slope(T y) const {
    if (kind == Squash::identity) return T(1);
    return kind == Squash::logistic ? y * (T(1) - y) : in * (out - y * y / out);
  }
};
template <class T>
Curve<T> curve_of_input(const BlockKind& kind) {
  return {kind.input, T(2)};
}
template <class T>
Curve<T> curve_of_state(const BlockKind& kind) {
  return {kind.state, T(1)};
}

// The sum of p v over the cells of block j.
template <class T>
LAMINA_INLINE T peep(const T* p, const T* v, Index j, Index S) {
  T sum = 0;
  for (Index k = j * S; k < (j + 1) * S; ++k) sum += p[k] * v[k];
  return sum;
}

template <class T>
struct BlockRow {
  T *gates, *c, *y, *u_next;  // of this step; what the next one gets
  const T *c_before, *peepholes;
};

// One row at one step. Never inlined: one body, one rounding.
template <class T>
__attribute__((noinline)) void activate_blocks(const BlockKind& kind, const BlockRow<T>& u) {
  const Index S = kind.cells, B = kind.blocks, H = B * S, I = kind.input_rows(), F = kind.forget_rows();
  T *const i = u.gates, *const f = i + I, *const g = f + F, *const o = g + H;
  const T* p = u.peepholes;
  if (p) {
    for (Index j = 0; j < I; ++j) i[j] += peep(p, u.c_before, j, S);
    if (I) p += H;
    for (Index j = 0; j < F; ++j) f[j] += peep(p, u.c_before, j, S);
    if (F) p += H;
  }
  for_vectors<T>(0, I + F, [&](Index j, int n) LAMINA_STEP { store_some(i + j, vsigmoid<T>(load_some(i + j, n)), n); });
  const Curve<T> of_input = curve_of_input<T>(kind), of_state = curve_of_state<T>(kind);
  for_vectors<T>(0, H, [&](Index k, int n) LAMINA_STEP { store_some(g + k, of_input.value(load_some(g + k, n)), n); });
  for (Index j = 0; j < B; ++j) {
    const T in = I ? i[j] : T(1), keep = F ? f[j] : kind.forget == Forget::coupled ? T(1) - in : T(1);
    for (Index k = j * S; k < (j + 1) * S; ++k) u.c[k] = keep * u.c_before[k] + in * g[k];
  }
  for_vectors<T>(0, H,
                 [&](Index k, int n) LAMINA_STEP { store_some(u.y + k, of_state.value(load_some(u.c + k, n)), n); });
  if (kind.output_gate) {
    for (Index j = 0; p && j < B; ++j) o[j] += peep(p, u.c, j, S);
    for_vectors<T>(0, B, [&](Index j, int n) LAMINA_STEP { store_some(o + j, vsigmoid<T>(load_some(o + j, n)), n); });
    for (Index j = 0; j < B; ++j)
      for (Index k = j * S; k < (j + 1) * S; ++k) u.y[k] *= o[j];
  }
  if (kind.M > 0) copy(u.y, u.u_next, H);
  if (kind.M <= H) return;
  copy(i, u.u_next + H, I + F);
  copy(o, u.u_next + H + I + F, kind.output_rows());
}

template <class T>
struct BlockRowGradient {
  const T* dy;           // from above
  T *carry_u, *carry_c;  // from the step after; carry_c then for the step before
  T* da;                 // of the pre-activations
};

template <class T>
__attribute__((noinline)) void activate_blocks_backward(const BlockKind& kind, const BlockRow<T>& u,
                                                        const BlockRowGradient<T>& d) {
  const Index S = kind.cells, B = kind.blocks, H = B * S, I = kind.input_rows(), F = kind.forget_rows();
  const bool cells = kind.M > 0, gates = kind.M > H, through = u.peepholes && !kind.truncated;
  const T *const i = u.gates, *const f = i + I, *const g = f + F, *const o = g + H;
  const T *const pi = u.peepholes, *const pf = pi ? pi + (I ? H : 0) : pi, *const po = pi ? pf + (F ? H : 0) : pi;
  T *const di = d.da, *const df = di + I, *const dg = df + F, *const d_o = dg + H;
  const Curve<T> of_input = curve_of_input<T>(kind), of_state = curve_of_state<T>(kind);
  T* const squashed = dg;  // until dg itself is known
  for_vectors<T>(
      0, H, [&](Index k, int n) LAMINA_STEP { store_some(squashed + k, of_state.value(load_some(u.c + k, n)), n); });
  for (Index j = 0; j < B; ++j) {
    const Index first = j * S, end = first + S;
    T out = T(1);
    if (kind.output_gate) {
      T sum = gates ? d.carry_u[H + I + F + j] : T(0);
      for (Index k = first; k < end; ++k) sum += (d.dy[k] + (cells ? d.carry_u[k] : T(0))) * squashed[k];
      out = o[j];
      d_o[j] = sum * out * (T(1) - out);
    }
    const T in = I ? i[j] : T(1), keep = F ? f[j] : kind.forget == Forget::coupled ? T(1) - in : T(1);
    T sum_i = gates && I ? d.carry_u[H + j] : T(0), sum_f = gates && F ? d.carry_u[H + I + j] : T(0);
    for (Index k = first; k < end; ++k) {
      T dc = d.carry_c[k] + (d.dy[k] + (cells ? d.carry_u[k] : T(0))) * out * of_state.slope(squashed[k]);
      if (through && kind.output_gate) dc += po[k] * d_o[j];
      sum_i += dc * (kind.forget == Forget::coupled ? g[k] - u.c_before[k] : g[k]);
      sum_f += dc * u.c_before[k];
      dg[k] = dc * in * of_input.slope(g[k]);
      d.carry_c[k] = dc * keep;
    }
    if (I) di[j] = sum_i * in * (T(1) - in);
    if (F) df[j] = sum_f * keep * (T(1) - keep);
    for (Index k = first; through && k < end; ++k)
      d.carry_c[k] += (I ? pi[k] * di[j] : T(0)) + (F ? pf[k] * df[j] : T(0));
  }
}

// What stands in xu for x.
template <class T>
LAMINA_INLINE Index block_features(const SequenceShape& s, const BlockSequence<T>& q) {
  return q.tokens ? 0 : s.D;
}

template <class T>
void memory_blocks(const BlockKind& kind, const SequenceShape& s, const BlockSequence<T>& q) {
  const Index H = s.H, M = kind.M, D = block_features(s, q), K = apart<T>(D + M), rows_of_w = kind.rows();
  if (s.total() < s.R) fill_zero(q.y, s.R * H);
  Buffer table(q.tokens ? sizeof(T) * static_cast<std::size_t>(s.D * rows_of_w) : 0);
  if (q.tokens) token_table(rows_of_w, s.D, q.w_ih, q.b, table.as<T>());
  const ForwardPanels<T> panels(q.w_ih, D, q.w_hh, M, 0, 1, rows_of_w);
  const double work = 2.0 * static_cast<double>(rows_of_w * (D + M + 8));
  const RowParts parts(s, work);
  parallel_for(parts.count, work * static_cast<double>(s.total()) / static_cast<double>(parts.count), [&](Index part) {
    const Index first = parts.begin(part), end = parts.begin(part + 1), begun = s.steps > 0 ? s.rows(0) : 0;
    for (Index r = first; r < end; ++r) {
      copy(q.u0 + r * M, r < begun ? q.xu + r * K + D : q.u_last + r * M, M);
      if (r >= begun) copy(q.c0 + r * H, q.c_last + r * H, H);
    }
    for (Index step = 0; step < s.steps; ++step) {
      const Index rows = least(end, s.rows(step)) - first, at = s.offset[step] + first;
      if (rows <= 0) break;
      const Index going_on = step + 1 < s.steps ? s.rows(step + 1) - first : 0;
      for (Index p = at; p < at + rows; ++p) {
        if (q.tokens)
          copy(table.as<T>() + q.tokens[s.source[p]] * rows_of_w, q.gates + p * rows_of_w, rows_of_w);
        else
          copy(q.x + s.source[p] * D, q.xu + p * K, D);
        fill_zero(q.xu + p * K + D + M, K - D - M);
      }
      times(q.xu + at * K, K, rows, panels, panels.all(), q.gates + at * rows_of_w, rows_of_w, q.b,
            q.tokens != nullptr);
      for (Index r = 0; r < rows; ++r) {
        const Index p = at + r;
        T* const to = r < going_on ? q.xu + (s.offset[step + 1] + first + r) * K + D : q.u_last + (first + r) * M;
        const T* const before = c_before(s, step, q.c0, static_cast<const T*>(q.c)) + (first + r) * H;
        activate_blocks<T>(kind,
                           {q.gates + p * rows_of_w, q.c + p * H, q.y + s.source[p] * H, to, before, q.peepholes});
        if (r >= going_on) copy(q.c + p * H, q.c_last + (first + r) * H, H);
      }
    }
  });
}

// One row of dp (gates,H): the sums of da (P,ld), of one gate, times the state that it saw.
template <class T>
void peephole_gradient(const BlockKind& kind, const SequenceShape& s, const BlockSequence<T>& q, const T* da, Index ld,
                       bool before, T* dp) {
  const Index S = kind.cells, H = s.H;
  parallel_for(kind.blocks, 4.0 * static_cast<double>(s.total() * S), [&](Index j) {
    fill_zero(dp + j * S, S);
    for (Index step = 0; step < s.steps; ++step) {
      const T* const c = before ? c_before(s, step, q.c0, static_cast<const T*>(q.c)) : q.c + s.offset[step] * H;
      for (Index r = 0; r < s.rows(step); ++r)
        for (Index k = j * S; k < (j + 1) * S; ++k) dp[k] += da[(s.offset[step] + r) * ld + j] * c[r * H + k];
    }
  });
}

template <class T>
void block_weight_gradients(const BlockKind& kind, const SequenceShape& s, const BlockSequence<T>& q, const T* da,
                            Index ld, const BlockGradient<T>& d) {
  const Index H = s.H, M = kind.M, D = block_features(s, q), K = apart<T>(D + M), n = kind.rows(), P = s.total();
  Buffer both(sizeof(T) * static_cast<std::size_t>(n * (D + M)));
  if (D + M > 0) gemm<T>(n, D + M, P, {da, 1, ld}, {q.xu, K, 1}, both.as<T>(), D + M, nullptr, false);
  for (Index j = 0; j < n; ++j) {
    copy(both.as<T>() + j * (D + M), d.dw_ih + j * D, D);
    copy(both.as<T>() + j * (D + M) + D, d.dw_hh + j * M, M);
  }
  if (q.tokens) token_gradient(s, q.tokens, n, da, ld, d.dw_ih);
  sum_rows(P, n, da, d.db, ld);
  T* dp = d.dpeepholes;
  if (!dp) return;
  const Index I = kind.input_rows(), F = kind.forget_rows();
  if (I) peephole_gradient(kind, s, q, da, ld, true, dp);
  if (F) peephole_gradient(kind, s, q, da + I, ld, true, dp + (I ? H : 0));
  if (kind.output_gate) peephole_gradient(kind, s, q, da + I + F + H, ld, false, dp + (I ? H : 0) + (F ? H : 0));
}

template <class T>
void memory_blocks_backward(const BlockKind& kind, const SequenceShape& s, const BlockSequence<T>& q,
                            const BlockGradient<T>& d) {
  const Index H = s.H, M = kind.M, D = block_features(s, q), n = kind.rows(), P = s.total(), ld = apart<T>(n);
  const bool to_x = D > 0 && !kind.truncated, to_u = M > 0 && !kind.truncated;
  if (D > 0 && (kind.truncated || P < s.R)) fill_zero(d.dx, s.R * D);
  Buffer da_buffer(sizeof(T) * static_cast<std::size_t>(P * ld));
  T* const da = da_buffer.as<T>();
  const BackwardPanels<T> panels_x(q.w_ih, 0, to_x ? n : 0, to_x ? D : 0),
      panels_u(q.w_hh, 0, to_u ? n : 0, to_u ? M : 0);
  const double work = 2.0 * static_cast<double>(n * (D + M + 8));
  const RowParts parts(s, work);
  const T* const no_bias = nullptr;
  parallel_for_scratch(
      parts.count, work * static_cast<double>(P) / static_cast<double>(parts.count),
      sizeof(T) * static_cast<std::size_t>(to_x ? s.N * D : 0), [&](Index part, void* mine) {
        const Index first = parts.begin(part), end = parts.begin(part + 1);
        T* const dx = static_cast<T*>(mine);
        copy(d.du_last + first * M, d.du0 + first * M, (end - first) * M);
        copy(d.dc_last + first * H, d.dc0 + first * H, (end - first) * H);
        for (Index step = s.steps - 1; step >= 0; --step) {
          const Index rows = least(end, s.rows(step)) - first, at = s.offset[step] + first;
          if (rows <= 0) continue;
          for (Index r = 0; r < rows; ++r) {
            const Index p = at + r;
            const T* const before = c_before(s, step, q.c0, static_cast<const T*>(q.c)) + (first + r) * H;
            activate_blocks_backward<T>(
                kind, {q.gates + p * n, q.c + p * H, nullptr, nullptr, before, q.peepholes},
                {d.dy + s.source[p] * H, d.du0 + (first + r) * M, d.dc0 + (first + r) * H, da + p * ld});
          }
          if (to_x) times(da + at * ld, ld, rows, panels_x, panels_x.all(), dx, D, no_bias, false);
          for (Index r = 0; to_x && r < rows; ++r) copy(dx + r * D, d.dx + s.source[at + r] * D, D);
          if (to_u) times(da + at * ld, ld, rows, panels_u, panels_u.all(), d.du0 + first * M, M, no_bias, false);
          if (!to_u) fill_zero(d.du0 + first * M, rows * M);
        }
      });
  block_weight_gradients(kind, s, q, da, ld, d);
}

}  // namespace
}  // namespace lamina
