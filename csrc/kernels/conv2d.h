// Which algorithm a convolution takes.
#pragma once
#include "kernels/conv_backward_weight.h"
#include "kernels/conv_depthwise_backward_weight.h"
#include "kernels/im2col.h"
#include "kernels/reduce.h"

namespace lamina {
namespace {

// Direct reads pixels of one output row as a tile: with very short rows its tiles are too small to fill the registers,
// and the matrix of patches, whose rows are all pixels of all images, is faster although it has to be built.
LAMINA_INLINE Algorithm choose_algorithm(const Conv2dShape& s, Algorithm asked) {
  if (asked != Algorithm::automatic) return asked;
  return s.OW < 4 && s.N * s.OH * s.OW >= 16 ? Algorithm::im2col : Algorithm::direct;
}
// So few channels a group that a vector of several groups' channels is the better tile.
template <class T>
LAMINA_INLINE bool takes_lanes(const Conv2dShape& s, Algorithm asked) {
  return asked != Algorithm::im2col && s.groups > 1 && greatest(s.C, s.O) <= kHalfLanes<T> * s.groups;
}

template <class T>
void conv2d(const Conv2dShape& s, Algorithm algorithm, const T* x, const T* w, const T* b, T* y) {
  if (takes_lanes<T>(s, algorithm)) return conv2d_lanes(s, x, w, b, y);
  if (choose_algorithm(s, algorithm) == Algorithm::im2col) return conv2d_im2col(s, x, w, b, y);
  conv2d_direct(s, x, w, b, y);
}

// Backward to the input, direct computes every input pixel in whole vectors of channels, also from the zeros around dy;
// the textbook way multiplies what is there, in KH*KW times as many columns, and pays with a scatter. Measured: it wins
// from about three times less arithmetic on.
template <class T>
LAMINA_INLINE bool wastes_lanes(const Conv2dShape& s) {
  const Index direct = s.H * s.W * ceil_div(s.C, kLanes<T>) * kLanes<T>,
              product = s.OH * s.OW * s.stride_h * s.stride_w * s.C;
  return s.groups == 1 && s.KH * s.KW > 1 && direct >= 3 * product;
}

template <class T>
void conv2d_backward_input(const Conv2dShape& s, Algorithm algorithm, const T* dy, const T* w, T* dx) {
  if (takes_lanes<T>(s, algorithm)) return conv2d_lanes_backward_input(s, dy, w, dx);
  if (algorithm == Algorithm::automatic && wastes_lanes<T>(s)) algorithm = Algorithm::im2col;
  if (choose_algorithm(s, algorithm) == Algorithm::im2col) return conv2d_im2col_backward_input(s, dy, w, dx);
  conv2d_direct_backward_input(s, dy, w, dx);
}

template <class T>
void conv2d_backward_weight(const Conv2dShape& s, Algorithm algorithm, const T* dy, const T* x, T* dw, T* db) {
  if (takes_lanes<T>(s, algorithm)) return conv2d_lanes_backward_weight(s, dy, x, dw, db);
  if (choose_algorithm(s, algorithm) == Algorithm::direct) return conv2d_direct_backward_weight(s, dy, x, dw, db);
  conv2d_im2col_backward_weight(s, dy, x, dw);
  sum_rows(s.N * s.OH * s.OW, s.O, dy, db);
}

}  // namespace
}  // namespace lamina
