// Which algorithm a convolution takes.
#pragma once
#include "kernels/conv_backward_weight.h"
#include "kernels/conv_depthwise_backward_weight.h"
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
// So few channels a group that a vector of several groups' channels is the better tile.
template <class T>
LAMINA_INLINE bool takes_lanes(const Conv2dShape& s, Algorithm asked) {
  return asked != Algorithm::im2col && s.groups > 1 && greatest(s.C, s.O) <= kHalfLanes<T> * s.groups;
}

// Winograd's way with tiles of M x M outputs (of a rows x cols image), counted as the multiply-adds that would take as
// long. Measured on all instruction sets: to bring a channel of a tile to its positions or back takes as long as 16
// multiply-adds for each; to bring the filters there, as 24 tiles' products, and their sums back, as 96.
constexpr double kSpreadCost = 16, kFilterCost = 24, kFilterSumsCost = 96;
template <class Way>
double winograd_cost(const Conv2dShape& s, Index rows, Index cols, double filter_cost) {
  const double tiles = static_cast<double>(s.N * ceil_div(rows, Way::M) * ceil_div(cols, Way::M));
  const double products = static_cast<double>(s.C) * static_cast<double>(s.O);
  return Way::positions * (tiles * (products + kSpreadCost * static_cast<double>(s.C + s.O)) + filter_cost * products);
}
// Runs f(Filtering) if it was asked for, or direct loses an eighth to it. Only float: who asks for double asks for
// exactness.
template <class T, class F>
bool by_winograd(const Conv2dShape& s, Algorithm asked, Index rows, Index cols, double filter_cost, F&& f) {
  const bool free = asked == Algorithm::fast && sizeof(T) == sizeof(float);
  const double direct = 0.875 * static_cast<double>(s.KH * s.KW * s.N * rows * cols) * static_cast<double>(s.C * s.O);
  const auto cost = [&](auto way) { return winograd_cost<decltype(way)>(s, rows, cols, filter_cost); };
  constexpr Filtering<2, 3> two{};
  constexpr Filtering<4, 3> four{};
  constexpr Filtering<2, 5> five{};
  if (s.is_plain(3)) {
    const bool small = cost(two) <= cost(four);
    if (asked == Algorithm::winograd2 || (free && small && cost(two) <= direct)) return f(two), true;
    if (asked == Algorithm::winograd4 || (free && !small && cost(four) <= direct)) return f(four), true;
  } else if (s.is_plain(5)) {
    if (asked == Algorithm::winograd2 || (free && cost(five) <= direct)) return f(five), true;
  }
  return false;
}

template <class T>
void conv2d(const Conv2dShape& s, Algorithm algorithm, const T* x, const T* w, const T* b, bool relu, T* y) {
  if (by_winograd<T>(s, algorithm, s.OH, s.OW, kFilterCost,
                     [&](auto way) { conv2d_winograd<T, decltype(way)>(s, x, w, b, relu, y); }))
    return;
  if (takes_lanes<T>(s, algorithm)) return conv2d_lanes(s, x, w, b, relu, y);
  if (choose_algorithm(s, algorithm) == Algorithm::im2col) return conv2d_im2col(s, x, w, b, relu, y);
  conv2d_direct(s, x, w, b, relu, y);
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
void conv2d_backward_input(const Conv2dShape& s, Algorithm algorithm, const T* dy, const T* w, const T* b, bool relu,
                           T* dx) {
  if (by_winograd<T>(s, algorithm, s.H, s.W, kFilterCost,
                     [&](auto way) { conv2d_winograd_backward_input<T, decltype(way)>(s, dy, w, b, relu, dx); }))
    return;
  if (takes_lanes<T>(s, algorithm)) return conv2d_lanes_backward_input(s, dy, w, b, relu, dx);
  if ((algorithm == Algorithm::automatic || algorithm == Algorithm::fast) && wastes_lanes<T>(s))
    algorithm = Algorithm::im2col;
  if (choose_algorithm(s, algorithm) == Algorithm::im2col) return conv2d_im2col_backward_input(s, dy, w, b, relu, dx);
  conv2d_direct_backward_input(s, dy, w, b, relu, dx);
}

template <class T>
void conv2d_backward_weight(const Conv2dShape& s, Algorithm algorithm, const T* dy, const T* x, T* dw, T* db) {
  if (by_winograd<T>(s, algorithm, s.OH, s.OW, kFilterSumsCost,
                     [&](auto way) { conv2d_winograd_backward_weight<T, decltype(way)>(s, dy, x, dw, db); }))
    return;
  if (takes_lanes<T>(s, algorithm)) return conv2d_lanes_backward_weight(s, dy, x, dw, db);
  if (choose_algorithm(s, algorithm) == Algorithm::direct) return conv2d_direct_backward_weight(s, dy, x, dw, db);
  conv2d_im2col_backward_weight(s, dy, x, dw);
  sum_rows(s.N * s.OH * s.OW, s.O, dy, db);
}

}  // namespace
}  // namespace lamina
