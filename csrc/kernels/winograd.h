// Winograd's minimal filtering (Winograd 1980; for networks: Lavin & Gray 2016): what convolutions of stride 1 share.
//
// M x M outputs of a channel, a tile, depend on A x A inputs, A = M + R - 1, and on R x R weights g:
//   y = O [ (F g F^T) * (I d I^T) ] O^T        I (A,A), F (A,R), O (M,A);  * is element by element, summed over channels
// so A^2 products do what took (M R)^2: of 3x3 filters 36 for 144 with M = 4, 16 for 36 with M = 2; of 5x5 filters 36
// for 100 with M = 2. The sum over channels makes each of the A^2 positions one product of matrices, tiles x channels
// times channels x filters.
//
// The three matrices multiply polynomials by their values at A points, the last at infinity. Any points
// are right; these make small errors: all entries of I and O are exact in float, and 5/8 and 3/2 err half as much as the
// customary 1 and 2. Gradients use the same matrices transposed.
#pragma once
#include "kernels/conv_direct.h"

namespace lamina {
namespace {

// F(M x M, R x R): the size of a tile and of the filters.
template <int kOutputs, int kTaps>
struct Filtering {
  static constexpr int M = kOutputs, R = kTaps, A = M + R - 1, positions = A * A, taps = R * R;
};

template <int A>
constexpr double kPoints[A - 1] = {};
template <>
constexpr double kPoints<4>[] = {0, 1, -1};
template <>
constexpr double kPoints<6>[] = {0, 0.625, -0.625, 1.5, -1.5};

template <class Way>
struct WinogradMatrices {
  double input[Way::A][Way::A], filter[Way::A][Way::R], output[Way::M][Way::A];
};
template <class Way>
constexpr WinogradMatrices<Way> make_winograd() {
  constexpr int M = Way::M, R = Way::R, finite = Way::A - 1;
  constexpr auto points = kPoints<Way::A>;
  WinogradMatrices<Way> w{};
  for (int i = 0; i <= finite; ++i) {
    double product[finite + 1] = {1}, scale = 1;  // coefficients of the product of (x - point), over the other points
    for (int j = 0, degree = 0; j < finite; ++j) {
      if (j == i) continue;
      ++degree;
      for (int k = degree; k >= 0; --k) product[k] = (k > 0 ? product[k - 1] : 0) - points[j] * product[k];
      if (i < finite) scale *= points[i] - points[j];
    }
    for (int k = 0; k <= finite; ++k) w.input[i][k] = product[k];
    double power = 1;
    for (int k = 0; i < finite && k < (M > R ? M : R); ++k, power *= points[i]) {
      if (k < R) w.filter[i][k] = power / scale;
      if (k < M) w.output[k][i] = power;
    }
  }
  w.filter[finite][R - 1] = w.output[M - 1][finite] = 1;
  return w;
}
template <class Way>
constexpr WinogradMatrices<Way> kWinograd = make_winograd<Way>();

template <class Way>
struct InputMatrix {
  static constexpr int rows = Way::A, columns = Way::A;
  static constexpr double at(int i, int j) { return kWinograd<Way>.input[i][j]; }
};
template <class Way>
struct FilterMatrix {
  static constexpr int rows = Way::A, columns = Way::R;
  static constexpr double at(int i, int j) { return kWinograd<Way>.filter[i][j]; }
};
template <class Way>
struct OutputMatrix {
  static constexpr int rows = Way::M, columns = Way::A;
  static constexpr double at(int i, int j) { return kWinograd<Way>.output[i][j]; }
};
template <class F>
struct Transposed {
  static constexpr int rows = F::columns, columns = F::rows;
  static constexpr double at(int i, int j) { return F::at(j, i); }
};

// y = F x, of vectors; zeros of the matrix cost nothing.
template <class T, class F>
LAMINA_INLINE void multiply(const Vec<T> (&x)[F::columns], Vec<T> (&y)[F::rows]) {
  LAMINA_UNROLL for (int i = 0; i < F::rows; ++i) {
    y[i] = splat(T(0));
    bool first = true;
    LAMINA_UNROLL for (int k = 0; k < F::columns; ++k) {
      if (F::at(i, k) == 0) continue;
      const Vec<T> term = F::at(i, k) == 1 ? x[k] : splat(static_cast<T>(F::at(i, k))) * x[k];
      y[i] = first ? term : y[i] + term;
      first = false;
    }
  }
}
// write(i, j, element) of F X F^T, where X is read(i, j).
template <class T, class F, class Read, class Write>
LAMINA_INLINE void transform(Read&& read, Write&& write) {
  Vec<T> half[F::columns][F::rows];
  for (int j = 0; j < F::columns; ++j) {
    Vec<T> x[F::columns];
    LAMINA_UNROLL for (int i = 0; i < F::columns; ++i) x[i] = read(i, j);
    multiply<T, F>(x, half[j]);
  }
  for (int i = 0; i < F::rows; ++i) {
    Vec<T> x[F::columns], y[F::rows];
    LAMINA_UNROLL for (int j = 0; j < F::columns; ++j) x[j] = half[j][i];
    multiply<T, F>(x, y);
    LAMINA_UNROLL for (int j = 0; j < F::rows; ++j) write(i, j, y[j]);
  }
}

// Images (H,W,C) as S x S windows from any pixel on: where each pixel of one stands, or zeros (C of them) outside.
template <class T, int S>
struct Pixels {
  const T* at[S][S];
  Pixels(const T* image, Index H, Index W, Index C, Index row, Index col, const T* zeros) {
    for (int i = 0; i < S; ++i)
      for (int j = 0; j < S; ++j) {
        const bool inside = row + i >= 0 && row + i < H && col + j >= 0 && col + j < W;
        at[i][j] = inside ? image + ((row + i) * W + col + j) * C : zeros;
      }
  }
};

// A window of n channels, from channel `first` on, to its positions: out[position * step + channel], zeros up to
// `width` channels.
template <class T, class F>
void spread(const Pixels<T, F::columns>& pixels, Index first, Index n, Index width, Index step, T* out) {
  constexpr int W = kLanes<T>;
  for (Index c = 0; c < width; c += W) {
    const int lanes = static_cast<int>(least(n - c, W)), whole = static_cast<int>(least(width - c, W));
    transform<T, F>([&](int i, int j) LAMINA_STEP { return load_some(pixels.at[i][j] + first + c, lanes); },
                    [&](int i, int j, Vec<T> v)
                        LAMINA_STEP { store_some(out + (i * F::rows + j) * step + c, v, whole); });
  }
}

// A convolution in tiles: output row q, column p read input rows q + top .. q + top + R - 1, columns p + left ...
struct TileGrid {
  Index N, H, W, C, top, left;  // of the input
  Index rows, cols, O;          // of the output
  int M;
  LAMINA_INLINE Index down() const { return ceil_div(rows, M); }
  LAMINA_INLINE Index across() const { return ceil_div(cols, M); }
  LAMINA_INLINE Index tiles() const { return N * down() * across(); }
};
// Tile number t: its image and the first of its output pixels.
struct TilePlace {
  Index n, row, col;
  LAMINA_INLINE TilePlace(const TileGrid& g, Index t)
      : n(t / (g.down() * g.across())), row(t / g.across() % g.down() * g.M), col(t % g.across() * g.M) {}
};

}  // namespace
}  // namespace lamina
