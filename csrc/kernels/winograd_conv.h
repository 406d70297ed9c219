// Convolution and its gradient to the input by Winograd's tiles (winograd.h).
//
// Filters are brought to their positions once a call, [panel][position][c][column]. A task takes a block of tiles and
// brings their inputs to [position][tile][c], which stays in L2; panel by panel it then makes the products,
// [position][tile][column], and from them outputs. Every sum lies in one task, and no task's work depends on another's.
//
// The gradient to the input is the same with turned filters.
#pragma once
#include "kernels/kernels.h"
#include "kernels/winograd.h"

namespace lamina {
namespace {

constexpr Index kTileBytes = 384 << 10;  // of inputs at their positions: half of an L2 cache or less
constexpr Index kMostTiles = 4 * kMaxRows;
constexpr Index kTileTasks = 4;     // or more, where tiles are few: one image has 16 of 16x16 pixels
constexpr Index kFewTiles = 8;      // but so many in a task that it pays to read the filters
constexpr Index kFilterBlock = 64;  // input channels of a task that transforms filters

template <class T>
LAMINA_INLINE Index whole_vectors(Index n) {
  return ceil_div(n, kLanes<T>) * kLanes<T>;
}
// Rows of n elements, in whole vectors, that do not fall into few sets of the cache.
template <class T>
LAMINA_INLINE Index spread_row(Index n) {
  const Index row = whole_vectors<T>(n);
  return row * static_cast<Index>(sizeof(T)) % 2048 == 0 ? row + kLanes<T> : row;
}

template <class T, class Way>
void spread_filters(const TapFilters<T>& w, Index C, Index O, T* dst) {
  using F = FilterMatrix<Way>;
  constexpr Index positions = Way::positions, taps = Way::taps, R = Way::R;
  const Index blocks = ceil_div(C, kFilterBlock);
  const double cost = kByte * sizeof(T) * static_cast<double>(2 * positions * kFilterBlock * kPanel<T>);
  const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(taps * kFilterBlock * kPanel<T>);
  parallel_for_scratch(panel_count<T>(O) * blocks, cost, bytes, [&](Index task, void* mine) {
    const Index p = task / blocks, j = p * kPanel<T>, c0 = task % blocks * kFilterBlock,
                n = least(kFilterBlock, C - c0);
    const int width = panel_width<T>(O, p), columns = static_cast<int>(least(O - j, kPanel<T>));
    T* const packed = static_cast<T*>(mine);
    for (Index k = 0; k < taps; ++k) {
      const T* const source = w.data + k / R * w.row + k % R * w.col + c0 * w.in + j * w.out;
      pack_panel<T>({source, w.in, w.out}, n, columns, width, packed + k * n * width);
    }
    T* const out = dst + panel_offset<T>(p, positions * C) + c0 * width;
    for_vectors<T>(0, n * width, [&](Index i, int lanes) LAMINA_STEP {
      transform<T, F>([&](int r, int s) LAMINA_STEP { return load_some(packed + (r * R + s) * n * width + i, lanes); },
                      [&](int r, int s, Vec<T> v)
                          LAMINA_STEP { store_some(out + (r * F::rows + s) * C * width + i, v, lanes); });
    });
  });
}

// Products of one tile, products[position * step + column], to its outputs: those of `rows` x `cols` that there are.
template <class T, class Way>
void gather_tile(const T* products, Index step, Index columns, const T* bias, bool relu, T* y, Index row, Index pixel,
                 Index rows, Index cols) {
  using F = OutputMatrix<Way>;
  for_vectors<T>(0, columns, [&](Index o, int n) LAMINA_STEP {
    const Vec<T> start = bias ? load_some(bias + o, n) : splat(T(0));
    transform<T, F>([&](int i, int j) LAMINA_STEP { return load_some(products + (i * F::columns + j) * step + o, n); },
                    [&](int i, int j, Vec<T> v) LAMINA_STEP {
                      if (i >= rows || j >= cols) return;
                      const Vec<T> z = v + start;
                      store_some(y + i * row + j * pixel + o, relu ? vrelu(z) : z, n);
                    });
  });
}

template <class T, class Way>
void winograd_conv(const TileGrid& g, const T* x, const TapFilters<T>& w, const T* bias, bool relu, T* y) {
  constexpr Index positions = Way::positions;
  const Index tiles = g.tiles(), panels = panel_count<T>(g.O), row = spread_row<T>(g.C), zero = 0;
  if (tiles == 0) return;
  const WeightBuffer filters(sizeof(T) * static_cast<std::size_t>(positions * g.C * panels * kPanel<T>), &kMaker);
  if (!filters.is_filled()) spread_filters<T, Way>(w, g.C, g.O, filters.as<T>());
  const Index fit = kTileBytes / (positions * row * static_cast<Index>(sizeof(T)));
  const Index shared = greatest(kFewTiles, ceil_div(tiles, kTileTasks));
  const Index block = least(shared, greatest(kMaxRows, least(kMostTiles, fit / kMaxRows * kMaxRows))),
              blocks = ceil_div(tiles, block);
  const Index step = padded_row(block * row, sizeof(T)), out_step = padded_row(block * kPanel<T>, sizeof(T));
  const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(positions * (step + out_step) + row);
  const double cost = 2.0 * static_cast<double>(positions * block) * static_cast<double>(g.C * g.O);
  parallel_for_scratch(blocks, cost, bytes, [&](Index task, void* mine) {
    const Index first = task * tiles / blocks, count = (task + 1) * tiles / blocks - first;
    T* const inputs = static_cast<T*>(mine);
    T* const products = inputs + positions * step;
    T* const zeros = products + positions * out_step;
    fill_zero(zeros, g.C);
    for (Index t = 0; t < count; ++t) {
      const TilePlace at(g, first + t);
      const Pixels<T, Way::A> pixels(x + at.n * g.H * g.W * g.C, g.H, g.W, g.C, at.row + g.top, at.col + g.left, zeros);
      spread<T, InputMatrix<Way>>(pixels, 0, g.C, whole_vectors<T>(g.C), step, inputs + t * row);
    }
    const Tiles rows(count);
    for (Index p = 0; p < panels; ++p) {
      const int width = panel_width<T>(g.O, p);
      const Index j = p * kPanel<T>;
      const RowTile<T> product{row, g.C, 1, &zero, width, nullptr, false, width};
      for (Index k = 0; k < positions; ++k) {
        const T* a = inputs + k * step;
        const T* const b = filters.as<T>() + panel_offset<T>(p, positions * g.C) + k * g.C * width;
        T* out = products + k * out_step;
        for (Index i = 0; i < rows.count; ++i) {
          const int n = rows.rows(i);
          row_tile_for<T, false>(n, width)(product, a, b, out);
          a += n * row;
          out += n * width;
        }
      }
      for (Index t = 0; t < count; ++t) {
        const TilePlace at(g, first + t);
        T* const out = y + ((at.n * g.rows + at.row) * g.cols + at.col) * g.O + j;
        gather_tile<T, Way>(products + t * width, out_step, least(g.O - j, kPanel<T>), bias ? bias + j : nullptr, relu,
                            out, g.cols * g.O, g.O, g.rows - at.row, g.cols - at.col);
      }
    }
  });
}

template <class T, class Way>
void conv2d_winograd(const Conv2dShape& s, const T* x, const T* w, const T* b, bool relu, T* y) {
  const TileGrid g{s.N, s.H, s.W, s.C, -s.top, -s.left, s.OH, s.OW, s.O, Way::M};
  winograd_conv<T, Way>(g, x, {w, 0, Way::R * s.C, s.C, 1, Way::taps * s.C}, b, relu, y);
}

template <class T, class Way>
void conv2d_winograd_backward_input(const Conv2dShape& s, const T* dy, const T* w, const T* b, bool relu, T* dx) {
  constexpr Index R = Way::R, taps = Way::taps;
  const TileGrid g{s.N, s.OH, s.OW, s.O, s.top - (R - 1), s.left - (R - 1), s.H, s.W, s.C, Way::M};
  winograd_conv<T, Way>(g, dy, {w + (taps - 1) * s.C, 0, -R * s.C, -s.C, taps * s.C, 1}, b, relu, dx);
}

}  // namespace
}  // namespace lamina
