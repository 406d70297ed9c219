// The contract: one table of kernels per instruction set. All arrays are contiguous (GEMM operands excepted) and
// checked by the caller; layouts and equations stand at the top of each kernel's own file. Outputs are written whole
// (=), never added to, and must not overlap inputs. Kernels may throw std::bad_alloc before they start, and nothing
// else.
#pragma once
#include "common/types.h"

namespace lamina {

// Images enlarged by whole factors.
struct UpsampleShape {
  Index N, H, W, C;
  Index factor_h, factor_w;
  bool bilinear;  // else the nearest pixel
};

// What batch normalisation normalised with, (C,) each: see batch_norm.h. frozen: they do not depend on x.
template <class T>
struct Normal {
  const T *mean, *inv, *scale, *shift;
  bool relu, frozen;
};

// N samples of P pixels and C channels, in G groups.
struct GroupNormShape {
  Index N, P, C, G;
};

struct CellShape {
  Index N, D, H;
};

enum class Cell { rnn_tanh, rnn_relu, rnn_satlin, gru, gru_before, lstm };
constexpr Index gate_count(Cell cell) { return cell == Cell::lstm ? 4 : cell < Cell::gru ? 1 : 3; }
constexpr Index bias_count(Cell cell) { return cell == Cell::gru ? 4 : gate_count(cell); }

// N sequences packed by time: step s has the packed rows [offset[s], offset[s + 1]), one of each sequence that is so
// long; packed row p stands for row source[p] of R.
struct SequenceShape {
  Index N, D, H, R, steps;
  const Index *offset, *source;
  Index rows(Index step) const { return offset[step + 1] - offset[step]; }
  Index total() const { return offset[steps]; }
};
// Elements from row to row of xh: n rounded up to an odd number of 64-byte lines.
constexpr Index padded_row(Index n, Index itemsize) {
  const Index lines = (n * itemsize + 63) / 64;
  return (lines | 1) * 64 / itemsize;
}
template <class T>
struct Sequence {
  const T* x;                  // null where tokens (R,) stand for vectors of D with a one at their place
  const std::int64_t* tokens;  // each in 0..D-1
  const T *h0, *c0, *w_ih, *w_hh, *b;
  T *y, *xh, *gates, *c, *m;        // made forward, read backward; c: LSTM alone, m: GRU alone
  const T *mask, *zone_h, *zone_c;  // (N,H), (R,H), (R,H, LSTM alone) or null
  bool forgets = false;             // no way back: xh and gates hold two steps, in turns
  Index ldy = 0;                    // between rows of y, and of dy
};
// Of so few sequences, all inputs go through their weights ahead of the steps. Of more, a step's own product with x and
// h together is the faster.
constexpr Index kFewSequences = 3;
template <class T>
struct SequenceGradient {
  const T *dy, *dh_last, *dc_last;
  T *dx, *dh0, *dc0, *dw_ih, *dw_hh, *db;  // dx: null if nobody needs it
};

// One step of one sequence through `layers` recurrent layers of H units and a dense layer of O.
constexpr Index kStepPanel = 64;
struct StepShape {
  Index layers, H, O;
};

// Memory blocks: B blocks of S cells, whose gates may be absent.
enum class Squash { tanh, logistic, identity, symmetric };  // symmetric: the sigmoid about zero, of 1997
enum class Forget { none, gate, coupled };
struct BlockKind {
  Index blocks, cells, M;  // M: activations that go back into the next step
  bool input_gate, output_gate;
  Forget forget;
  Squash input, state;
  bool truncated;  // read on the way back
  Index input_rows() const { return input_gate ? blocks : 0; }
  Index forget_rows() const { return forget == Forget::gate ? blocks : 0; }
  Index output_rows() const { return output_gate ? blocks : 0; }
  Index gate_rows() const { return input_rows() + forget_rows() + output_rows(); }
  Index rows() const { return gate_rows() + blocks * cells; }
  Index gates() const { return Index{input_gate} + (forget == Forget::gate) + output_gate; }
};
template <class T>
struct BlockSequence {
  const T* x;                  // null where there are tokens
  const std::int64_t* tokens;  // as in Sequence
  const T *u0, *c0, *w_ih, *w_hh, *b, *peepholes;
  T *y, *u_last, *c_last, *xu, *gates, *c;  // made forward; xu, gates and c read backward
};
template <class T>
struct BlockGradient {
  const T *dy, *du_last, *dc_last;
  T *dx, *du0, *dc0, *dw_ih, *dw_hh, *db, *dpeepholes;
};

// Activations whose way back needs x.
enum class Curve { leaky_relu, elu, softplus, silu, gelu, gelu_tanh };

template <class T>
struct Kernels {
  using Matrix = MatrixView<T>;
  void (*gemm)(Index M, Index N, Index K, Matrix a, Matrix b, T* c, Index ldc, const T* bias, bool accumulate,
               bool relu);
  void (*sum_rows)(Index M, Index N, const T* x, T* out);

  void (*conv2d)(const Conv2dShape&, Algorithm, const T* x, const T* w, const T* b, bool relu, T* y);
  // b (C,) and relu: of a transposed convolution forward, which is this
  void (*conv2d_backward_input)(const Conv2dShape&, Algorithm, const T* dy, const T* w, const T* b, bool relu, T* dx);
  void (*conv2d_backward_weight)(const Conv2dShape&, Algorithm, const T* dy, const T* x, T* dw, T* db);

  // with batch normalisation behind it: y normalised; y and its moments; y and dx, which may be null, are the convolution's
  void (*conv2d_norm)(const Conv2dShape&, Algorithm, const T* x, const T* w, const T* b, const Normal<T>&, T* y);
  void (*conv2d_moments)(const Conv2dShape&, Algorithm, const T* x, const T* w, const T* b, T* y, T* mean, T* var);
  void (*conv2d_norm_backward)(const Conv2dShape&, Algorithm, const T* dy, const T* y, const Normal<T>&, const T* x,
                               const T* w, T* dx, T* dw, T* db, T* dgamma, T* dbeta);

  void (*locally_connected2d)(const Conv2dShape&, const T* x, const T* w, const T* b, T* y);
  void (*locally_connected2d_backward_input)(const Conv2dShape&, const T* dy, const T* w, T* dx);
  void (*locally_connected2d_backward_weight)(const Conv2dShape&, const T* dy, const T* x, T* dw);

  void (*max_pool2d_u8)(const Pool2dShape&, bool relu, const T* x, T* y, std::uint8_t* argmax);
  void (*max_pool2d_i32)(const Pool2dShape&, bool relu, const T* x, T* y, std::int32_t* argmax);
  void (*max_pool2d_backward_u8)(const Pool2dShape&, const T* dy, const std::uint8_t* argmax, T* dx);
  void (*max_pool2d_backward_i32)(const Pool2dShape&, const T* dy, const std::int32_t* argmax, T* dx);
  void (*max_unpool2d_backward_u8)(const Pool2dShape&, const T* dy, const std::uint8_t* argmax, T* dx);
  void (*max_unpool2d_backward_i32)(const Pool2dShape&, const T* dy, const std::int32_t* argmax, T* dx);
  void (*avg_pool2d)(const Pool2dShape&, bool count_padding, const T* x, T* y);
  void (*avg_pool2d_backward)(const Pool2dShape&, bool count_padding, const T* dy, T* dx);

  void (*lstm_cell)(const CellShape&, const T* x, const T* h, const T* c, const T* w_ih, const T* w_hh, const T* b,
                    T* h_next, T* c_next, T* gates);
  void (*lstm_cell_backward)(const CellShape&, const T* dh_next, const T* dc_next, const T* x, const T* h, const T* c,
                             const T* w_ih, const T* w_hh, const T* c_next, const T* gates, T* dx, T* dh, T* dc,
                             T* dw_ih, T* dw_hh, T* db);
  void (*rnn_cell)(const CellShape&, const T* x, const T* h, const T* w_ih, const T* w_hh, const T* b, T* h_next);
  void (*rnn_cell_backward)(const CellShape&, const T* dh_next, const T* x, const T* h, const T* w_ih, const T* w_hh,
                            const T* h_next, T* dx, T* dh, T* dw_ih, T* dw_hh, T* db);

  void (*sequence)(Cell, const SequenceShape&, const Sequence<T>&);
  void (*sequence_backward)(Cell, const SequenceShape&, const Sequence<T>&, const SequenceGradient<T>&);

  void (*embedding)(Index P, Index D, const std::int64_t* tokens, const T* w, T* y);
  void (*embedding_backward)(Index P, Index V, Index D, const std::int64_t* tokens, const T* dy, T* dw);
  void (*recurrent_step)(Cell, const StepShape&, const T* x, const T* panels, const T* state, T* next, T* logits);
  void (*memory_blocks)(const BlockKind&, const SequenceShape&, const BlockSequence<T>&);
  void (*memory_blocks_backward)(const BlockKind&, const SequenceShape&, const BlockSequence<T>&,
                                 const BlockGradient<T>&);

  void (*support)(Index M, Index N, Index k, const T* z, T* values, std::int64_t* units);
  void (*sparse_linear)(Index M, Index k, Index D, const T* values, const std::int64_t* units, const T* w, const T* b,
                        T* y);
  void (*sparse_dots)(Index M, Index k, Index D, const T* dy, const std::int64_t* units, const T* w, T* dvalues);
  void (*sparse_outer)(Index M, Index N, Index k, Index D, const std::int64_t* units, const T* values, const T* dy,
                       const T* values2, const T* x, T* dw);
  void (*upsample2d)(const UpsampleShape&, const T* x, T* y);
  void (*upsample2d_backward)(const UpsampleShape&, const T* dy, T* dx);

  void (*column_moments)(Index M, Index C, const T* x, T* mean, T* var);
  void (*batch_norm)(Index M, Index C, const T* x, const T* mean, const T* scale, const T* shift, bool relu, T* y);
  void (*batch_norm_backward)(Index M, Index C, const T* dy, const T* x, const Normal<T>&, T* dx, T* dgamma, T* dbeta);
  void (*group_norm)(const GroupNormShape&, const T* x, const T* gamma, const T* beta, double eps, T* y, T* mean,
                     T* inv);
  void (*group_norm_backward)(const GroupNormShape&, const T* dy, const T* x, const T* gamma, const T* mean,
                              const T* inv, T* dx, T* dgamma, T* dbeta);
  void (*local_response)(Index M, Index C, const T* x, Index size, T alpha, T beta, T k, T* y, T* d);
  void (*local_response_backward)(Index M, Index C, const T* dy, const T* x, const T* d, Index size, T alpha, T beta,
                                  T* dx);

  void (*relu)(Index n, const T* x, T* y);
  void (*relu_backward)(Index n, const T* dy, const T* y, T* dx);
  void (*sigmoid)(Index n, const T* x, T* y);
  void (*sigmoid_backward)(Index n, const T* dy, const T* y, T* dx);
  void (*tanh)(Index n, const T* x, T* y);
  void (*tanh_backward)(Index n, const T* dy, const T* y, T* dx);

  void (*curve)(Curve, Index n, const T* x, T a, T* y);
  void (*curve_backward)(Curve, Index n, const T* dy, const T* x, T a, T* dx);

  void (*softmax)(Index M, Index N, const T* x, T* y);
  void (*softmax_backward)(Index M, Index N, const T* dy, const T* y, T* dx);
  void (*log_softmax)(Index M, Index N, const T* x, T* y);
  void (*log_softmax_backward)(Index M, Index N, const T* dy, const T* y, T* dx);
  void (*softmax_cross_entropy)(Index M, Index N, const T* x, const std::int64_t* labels, T* loss, T* probabilities);
  void (*softmax_cross_entropy_backward)(Index M, Index N, const T* dloss, const T* probabilities,
                                         const std::int64_t* labels, T* dx);
  T (*mean_squared_error)(Index n, const T* x, const T* target);
  void (*mean_squared_error_backward)(Index n, double dloss, const T* x, const T* target, T* dx);

  void (*sgd_step)(Index n, T* p, const T* g, T* v, double lr, double momentum, bool nesterov, double decay);
  void (*adam_step)(Index n, T* p, const T* g, T* m, T* v, double lr, double beta1, double beta2, double eps,
                    double decay, bool decoupled, Index step);
  void (*rms_step)(Index n, T* p, const T* g, T* v, double lr, double keep, double add, double eps);
  void (*adadelta_step)(Index n, T* p, const T* g, T* v, T* u, double lr, double keep, double eps, double decay);

  double (*multiply_adds)(Index rounds, T* sink);
  T (*sum_memory)(Index n, const T* x);
};

struct KernelTable {
  const char* name;
  Kernels<float> f32;
  Kernels<double> f64;
};

extern const KernelTable kernels_baseline, kernels_avx2, kernels_avx512, kernels_neon;

// No SIMD in it, so one for all: the k greatest of each row of x (M,N), falling; ties to the lowest index; NaN first.
template <class T>
void add(Index n, const T* a, const T* b, T* y);
template <class T>
void topk(Index M, Index N, Index k, const T* x, T* values, std::int64_t* indices);
// Nor in this: an index of each row of x (M,V), drawn with the probabilities softmax(x / temperature) by u (M).
template <class T>
void draw(Index M, Index V, const T* x, double temperature, const T* u, std::int64_t* indices);

}  // namespace lamina
