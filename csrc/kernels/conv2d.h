// Which algorithm a convolution takes.
#pragma once
#include "kernels/conv_backward_weight.h"
#include "kernels/conv_depthwise.h"
#include "kernels/im2col.h"
#include "kernels/reduce.h"
#include "kernels/winograd_backward_weight.h"

namespace lamina {
namespace {

// Direct reads pixels of one output row as a tile: with very short rows its tiles are too small to fill the registers,
// and the matrix of patches, whose rows are all pixels of all images, is faster although it has to be built.
LAMINA_INLINE Algorithm choose_algorithm(const Conv2dShape& s, Algorithm asked) {
  if (asked != Algorithm::automatic && asked != Algorithm::fast) return asked;
  return s.OW < 4 && s.N * s.OH * s.OW >= 16 ? Algorithm::im2col : Algorithm::direct;
}
LAMINA_INLINE bool is_depthwise(const Conv2dShape& s) { return s.groups == s.C && s.groups == s.O && s.groups > 1; }

// Winograd's tiles of M x M outputs, or 0 where others are faster. `rows` and `cols` are those of the image that is cut
// into tiles.
constexpr Index kWinogradChannels = 16;
LAMINA_INLINE int tile_of(const Conv2dShape& s, Algorithm asked, bool is_float, Index rows, Index cols) {
  if (asked == Algorithm::winograd2) return 2;
  if (asked == Algorithm::winograd4) return 4;
  const bool plain = s.KH == 3 && s.KW == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
                     s.dilation_w == 1 && s.groups == 1;
  if (asked != Algorithm::fast || !is_float || !plain || least(s.C, s.O) < kWinogradChannels) return 0;
  const Index two = 16 * ceil_div(rows, 2) * ceil_div(cols, 2), four = 36 * ceil_div(rows, 4) * ceil_div(cols, 4);
  return two <= four ? 2 : 4;
}

template <class T>
void conv2d(const Conv2dShape& s, Algorithm algorithm, const T* x, const T* w, const T* b, T* y) {
  const int tile = tile_of(s, algorithm, sizeof(T) == sizeof(float), s.OH, s.OW);
  if (tile == 2) return conv2d_winograd<T, 2>(s, x, w, b, y);
  if (tile == 4) return conv2d_winograd<T, 4>(s, x, w, b, y);
  if (is_depthwise(s) && algorithm != Algorithm::im2col) return conv2d_depthwise(s, x, w, b, y);
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
  const int tile = tile_of(s, algorithm, sizeof(T) == sizeof(float), s.H, s.W);
  if (tile == 2) return conv2d_winograd_backward_input<T, 2>(s, dy, w, dx);
  if (tile == 4) return conv2d_winograd_backward_input<T, 4>(s, dy, w, dx);
  if (is_depthwise(s) && algorithm != Algorithm::im2col) return conv2d_depthwise_backward_input(s, dy, w, dx);
  if ((algorithm == Algorithm::automatic || algorithm == Algorithm::fast) && wastes_lanes<T>(s))
    algorithm = Algorithm::im2col;
  if (choose_algorithm(s, algorithm) == Algorithm::im2col) return conv2d_im2col_backward_input(s, dy, w, dx);
  conv2d_direct_backward_input(s, dy, w, dx);
}

template <class T>
void conv2d_backward_weight(const Conv2dShape& s, Algorithm algorithm, const T* dy, const T* x, T* dw, T* db) {
  const int tile = tile_of(s, algorithm, sizeof(T) == sizeof(float), s.OH, s.OW);
  if (tile == 2) return conv2d_winograd_backward_weight<T, 2>(s, dy, x, dw, db);
  if (tile == 4) return conv2d_winograd_backward_weight<T, 4>(s, dy, x, dw, db);
  if (is_depthwise(s) && algorithm != Algorithm::im2col) return conv2d_depthwise_backward_weight(s, dy, x, dw, db);
  if (choose_algorithm(s, algorithm) == Algorithm::direct) return conv2d_direct_backward_weight(s, dy, x, dw, db);
  conv2d_im2col_backward_weight(s, dy, x, dw);
  sum_rows(s.N * s.OH * s.OW, s.O, dy, db);
}

}  // namespace
}  // namespace lamina
