// Convolution, backward to the filters and the bias, by Winograd's tiles (winograd.h).
//
//   dg = F^T [ sum over tiles: (I d I^T) * (O^T dy O) ] F      db = sum dy
//
// The gradient of the forward formula: at each position a product of matrices, filters x tiles times tiles x channels
// (outer_tile). The sums at the positions are (A/R)^2 as many as the weights, so a task keeps to as many filters and
// channels as leave them in L2, together with a block of tiles. Tiles are grouped into chunks by the shape alone; a
// chunk is summed in order into its own partial result, [panel of channels][position][o][c], and the chunks are added in
// order. So the sum has one order for any thread count.
#pragma once
#include "kernels/conv_backward_weight.h"
#include "kernels/winograd_conv.h"

namespace lamina {
namespace {

constexpr Index kWeightTiles = 32;     // of a block
constexpr Index kWeightFilters = 64;   // of a task
constexpr Index kWeightChannels = 32;  // of a task, or a panel
constexpr Index kChunkBlocks = 8;      // of tiles in a chunk, at least: its partial result is written and read once

// Tiles, filters and panels of channels, cut by the shape alone.
template <class T>
struct WinogradPlan {
  Index tiles, blocks, panels, width, O, panel_blocks, filter_blocks, chunk, chunks;  // chunk: elements of a partial
  WinogradPlan(const TileGrid& g, Index positions)
      : tiles(g.tiles()),
        blocks(ceil_div(tiles, kWeightTiles)),
        panels(panel_count<T>(g.C)),
        width(panels * kPanel<T>),
        O(g.O),
        panel_blocks(ceil_div(width, greatest(kWeightChannels, kPanel<T>))),
        filter_blocks(ceil_div(O, kWeightFilters)),
        chunk(positions * O * width + O) {
    const Index room = kPartialBytes / (chunk * static_cast<Index>(sizeof(T)));
    chunks = ceil_div(2 * kMostChunks, panel_blocks * filter_blocks);
    chunks = greatest(1, least(least(chunks, kMostChunks), least(room, ceil_div(blocks, kChunkBlocks))));
  }
};

// dy of a tile: its sums onto db.
template <class T, int M>
void add_pixels(const Pixels<T, M>& pixels, Index first, Index n, T* db) {
  for_vectors<T>(0, n, [&](Index o, int lanes) LAMINA_STEP {
    Vec<T> sum = load_some(db + o, lanes);
    for (int i = 0; i < M; ++i)
      for (int j = 0; j < M; ++j) sum += load_some(pixels.at[i][j] + first + o, lanes);
    store_some(db + o, sum, lanes);
  });
}

// The filters and panels of a task, and where its thread brings the inputs and gradients of a block of tiles.
template <class T>
struct WeightBlock {
  Index first_filter, filters, first_panel, last_panel;
  T *inputs, *gradients, *zeros;
  Index input_step, gradient_step, gradient_row;  // elements between positions; between tiles
};

// One block of tiles onto the partial result w.
template <class T, class Way>
void winograd_outer(const TileGrid& g, const WeightBlock<T>& b, Index first, Index count, const T* dy, const T* x, T* w,
                    T* db) {
  constexpr Index positions = Way::positions;
  const Index panels = b.last_panel - b.first_panel, panel_size = positions * b.input_step;
  for (Index t = 0; t < count; ++t) {
    const TilePlace at(g, first + t);
    const Pixels<T, Way::A> here(x + at.n * g.H * g.W * g.C, g.H, g.W, g.C, at.row + g.top, at.col + g.left, b.zeros);
    for (Index p = 0; p < panels; ++p) {
      const Index c = (b.first_panel + p) * kPanel<T>;
      const int width = panel_width<T>(g.C, b.first_panel + p);
      spread<T, InputMatrix<Way>>(here, c, least(g.C - c, width), width, b.input_step,
                                  b.inputs + p * panel_size + t * width);
    }
    const Pixels<T, Way::M> back(dy + at.n * g.rows * g.cols * g.O, g.rows, g.cols, g.O, at.row, at.col, b.zeros);
    spread<T, Transposed<OutputMatrix<Way>>>(back, b.first_filter, b.filters, whole_vectors<T>(b.filters),
                                             b.gradient_step, b.gradients + t * b.gradient_row);
    if (db) add_pixels(back, b.first_filter, b.filters, db + b.first_filter);
  }
  const PixelWalk walk{1, 1, count, 0, 0, b.gradient_row, 0, 0};
  const Tiles rows(b.filters);
  for (Index p = 0; p < panels; ++p) {
    const int width = panel_width<T>(g.C, b.first_panel + p);
    for (Index k = 0; k < positions; ++k) {
      const T* a = b.gradients + k * b.gradient_step;
      T* out = w + panel_offset<T>(b.first_panel + p, positions * g.O) + (k * g.O + b.first_filter) * width;
      for (Index i = 0; i < rows.count; ++i) {
        const int n = rows.rows(i);
        outer_tile_for<T, true>(n, width)(walk, a, nullptr, b.inputs + p * panel_size + k * b.input_step, out);
        a += n;
        out += n * width;
      }
    }
  }
}

// dw[o] for the channels of panel p: the sum over chunks of its positions, brought back to R x R.
template <class T, class Way>
void gather_filter(const WinogradPlan<T>& plan, const T* partial, Index C, Index p, Index o, T* dw) {
  using F = Transposed<FilterMatrix<Way>>;
  const int width = panel_width<T>(C, p);
  const T* const source = partial + panel_offset<T>(p, F::columns * F::columns * plan.O) + o * width;
  T* const out = dw + o * Way::taps * C + p * kPanel<T>;
  for_vectors<T>(0, least(C - p * kPanel<T>, width), [&](Index c, int n) LAMINA_STEP {
    transform<T, F>(
        [&](int i, int j) LAMINA_STEP {
          const T* const at = source + (i * F::columns + j) * plan.O * width + c;
          Vec<T> sum = load_some(at, n);
          for (Index k = 1; k < plan.chunks; ++k) sum += load_some(at + k * plan.chunk, n);
          return sum;
        },
        [&](int i, int j, Vec<T> v) LAMINA_STEP { store_some(out + (i * Way::R + j) * C + c, v, n); });
  });
}

template <class T, class Way>
void conv2d_winograd_backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw, T* db) {
  constexpr Index positions = Way::positions;
  const TileGrid g{s.N, s.H, s.W, s.C, -s.top, -s.left, s.OH, s.OW, s.O, Way::M};
  const WinogradPlan<T> plan(g, positions);
  Buffer partial_buffer(sizeof(T) * static_cast<std::size_t>(plan.chunks * plan.chunk));
  T* const partial = partial_buffer.as<T>();
  const Index block_panels = ceil_div(plan.panels, plan.panel_blocks), most_filters = ceil_div(s.O, plan.filter_blocks);
  const Index input_step = padded_row(kWeightTiles * kPanel<T>, sizeof(T)), gradient_row = spread_row<T>(most_filters),
              gradient_step = padded_row(kWeightTiles * gradient_row, sizeof(T)),
              inputs = positions * block_panels * input_step, gradients = positions * gradient_step;
  const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(inputs + gradients + greatest(s.C, s.O));
  const Index tasks = plan.chunks * plan.panel_blocks * plan.filter_blocks;
  const double cost = 2.0 * static_cast<double>(positions * plan.tiles) * static_cast<double>(s.C * s.O);
  parallel_for_scratch(tasks, cost / static_cast<double>(tasks), bytes, [&](Index task, void* mine) {
    const Index pb = task % plan.panel_blocks, fb = task / plan.panel_blocks % plan.filter_blocks,
                chunk = task / plan.panel_blocks / plan.filter_blocks;
    WeightBlock<T> b{};
    b.first_filter = fb * s.O / plan.filter_blocks;
    b.filters = (fb + 1) * s.O / plan.filter_blocks - b.first_filter;
    b.first_panel = pb * plan.panels / plan.panel_blocks;
    b.last_panel = (pb + 1) * plan.panels / plan.panel_blocks;
    b.inputs = static_cast<T*>(mine);
    b.gradients = b.inputs + inputs;
    b.zeros = b.gradients + gradients;
    b.input_step = input_step;
    b.gradient_step = gradient_step;
    b.gradient_row = gradient_row;
    fill_zero(b.zeros, greatest(s.C, s.O));
    T* const w = partial + chunk * plan.chunk;
    T* const sums = pb == 0 ? w + plan.chunk - s.O : nullptr;
    if (sums) fill_zero(sums + b.first_filter, b.filters);
    for (Index p = b.first_panel; p < b.last_panel; ++p) {
      const int width = panel_width<T>(s.C, p);
      for (Index k = 0; k < positions; ++k)
        fill_zero(w + panel_offset<T>(p, positions * s.O) + (k * s.O + b.first_filter) * width, b.filters * width);
    }
    for (Index block = chunk * plan.blocks / plan.chunks; block < (chunk + 1) * plan.blocks / plan.chunks; ++block) {
      const Index first = block * kWeightTiles;
      winograd_outer<T, Way>(g, b, first, least(kWeightTiles, plan.tiles - first), dy, x, w, sums);
    }
  });
  parallel_for(plan.panels * s.O, kByte * sizeof(T) * static_cast<double>(positions * plan.chunks * kPanel<T>),
               [&](Index task) { gather_filter<T, Way>(plan, partial, s.C, task / s.O, task % s.O, dw); });
  for (Index o = 0; o < s.O; ++o) {
    db[o] = 0;
    for (Index k = 0; k < plan.chunks; ++k) db[o] += partial[(k + 1) * plan.chunk - s.O + o];
  }
}

}  // namespace
}  // namespace lamina
