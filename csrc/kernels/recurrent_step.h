// One step of one sequence through a stack of recurrent layers and a dense layer: what writing a text takes for each
// character. The cells are those of sequence.h.
//
//   layer 0: a = x + W_0 h_0    layer l: a = V_l h'_{l-1} + W_l h_l    logits = U h'_last    (GRU: m = H rows of W h)
//
// x (GH) is the input's part of layer 0's pre-activations, bias included. Each of W_0, V_1, W_1, ..., U is an affine
// map in panels of kStepPanel columns: the bias in row 0 and then H rows, so that memory is read in one sweep. state
// and next (layers, parts, H) hold h, and c for an LSTM; logits (O). The parallel axis: panels.
#pragma once
#include "kernels/sequence.h"

namespace lamina {
namespace {

// y = b + x w of one panel; as many columns at a time as there are registers for.
template <class T>
LAMINA_INLINE void step_panel(const T* panel, Index H, const T* x, T* y) {
  constexpr int W = kLanes<T>, kAtOnce = kStepPanel / W < 8 ? kStepPanel / W : 8;
  for (Index j = 0; j < kStepPanel; j += kAtOnce * W) {
    Vec<T> acc[kAtOnce];
    LAMINA_UNROLL for (int i = 0; i < kAtOnce; ++i) acc[i] = load(panel + j + i * W);
    for (Index k = 0; k < H; ++k) {
      const T* const row = panel + (k + 1) * kStepPanel + j;
      const Vec<T> xk = splat(x[k]);
      LAMINA_UNROLL for (int i = 0; i < kAtOnce; ++i) acc[i] += xk * load(row + i * W);
    }
    LAMINA_UNROLL for (int i = 0; i < kAtOnce; ++i) store(y + j + i * W, acc[i]);
  }
}

// y (count panels) of x (H); moves `panels` on to the next map.
template <class T>
void step_map(const T*& panels, Index count, Index H, const T* x, T* y) {
  const Index size = (H + 1) * kStepPanel;
  const T* const first = panels;
  parallel_for(count, 2.0 * static_cast<double>(size),
               [&](Index p) { step_panel(first + p * size, H, x, y + p * kStepPanel); });
  panels += count * size;
}

template <class T, Cell kCell>
void run_step(const StepShape& s, const T* x, const T* panels, const T* state, T* next, T* logits) {
  constexpr Index G = gate_count(kCell), parts = kCell == Cell::lstm ? 2 : 1;
  constexpr bool lstm = kCell == Cell::lstm, gru = kCell == Cell::gru;
  const FlushDenormals flush;
  const Index H = s.H, count = ceil_div(G * H, kStepPanel), outputs = ceil_div(s.O, kStepPanel);
  Buffer scratch(sizeof(T) * static_cast<std::size_t>((2 * count + outputs) * kStepPanel));
  T *const gates = scratch.as<T>(), *const of_h = gates + count * kStepPanel, *const out = of_h + count * kStepPanel;
  for (Index layer = 0; layer < s.layers; ++layer, state += parts * H, next += parts * H) {
    if (layer == 0)
      copy(x, gates, G * H);
    else
      step_map(panels, count, H, static_cast<const T*>(next - parts * H), gates);
    step_map(panels, count, H, state, of_h);
    for_vectors<T>(0, gru ? 2 * H : G * H, [&](Index j, int n) LAMINA_STEP {
      store_some(gates + j, load_some(gates + j, n) + load_some(of_h + j, n), n);
    });
    activate<T, kCell, false>(H, 0, H,
                              {.gates = gates,
                               .h = next,
                               .c = lstm ? next + H : nullptr,
                               .m = gru ? of_h + 2 * H : nullptr,
                               .h_before = state,
                               .c_before = lstm ? state + H : nullptr,
                               .h_in = state,
                               .zone_h = nullptr,
                               .zone_c = nullptr});
  }
  step_map(panels, outputs, H, static_cast<const T*>(next - parts * H), out);
  copy(static_cast<const T*>(out), logits, s.O);
}

template <class T>
void recurrent_step(Cell cell, const StepShape& s, const T* x, const T* panels, const T* state, T* next, T* logits) {
  switch (cell) {
    case Cell::rnn_tanh:
      return run_step<T, Cell::rnn_tanh>(s, x, panels, state, next, logits);
    case Cell::rnn_relu:
      return run_step<T, Cell::rnn_relu>(s, x, panels, state, next, logits);
    case Cell::rnn_satlin:
      return run_step<T, Cell::rnn_satlin>(s, x, panels, state, next, logits);
    case Cell::gru_before:
      return;  // which the binding refuses: its second product waits for the first
    case Cell::gru:
      return run_step<T, Cell::gru>(s, x, panels, state, next, logits);
    case Cell::lstm:
      return run_step<T, Cell::lstm>(s, x, panels, state, next, logits);
  }
}

}  // namespace
}  // namespace lamina
