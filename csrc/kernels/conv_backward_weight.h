// Direct convolution, backward to the filters and the bias, NHWC.
//
//   dw[o,r,s,c] = sum over n,oh,ow:  dy[n,oh,ow,o]  x[n, oh*stride + r*dilation - padding, ow*..., c]        db[o] =
//   sum dy
//
// A tile of (r,s,c) times output channels stays in registers while the pixels of a block (rows of an image, or several
// small images) pass by: outer_tile. dy is packed to [pixel][panel column]; the input is read where it stands. Where
// taps reach beyond it, a tile belongs to one tap and only the pixels that the tap meets pass by; of few channels a tile
// goes across taps, and the block is copied with its zeros. Blocks are grouped into chunks by the shape alone; a task is (chunk, group, panel) and sums
// its blocks in order into its own partial result, [chunk][group][panel][r,s,c][column]; the chunks are then added in
// order. So the sum has one order for any thread count.
#pragma once
#include "kernels/conv_direct.h"

namespace lamina {
namespace {

constexpr Index kMostChunks = 16;
constexpr Index kPartialBytes = 16 << 20;

// The inputs of one pixel, (r,s,c) in order, cut into tiles; a tile lies in one contiguous run where runs are long
// enough.
struct InputTiles {
  Index run, runs;
  bool across;  // runs are short: tiles go across them, by a table of offsets
  LAMINA_INLINE InputTiles(Index run_length, Index count)
      : run(run_length), runs(count), across(run_length < kMaxRows / 2) {}
};

// One block: its input x, packed dy, onto partial w.
template <class T>
void outer_block(const TapGrid& g, const Window<T>& x, const PixelWalk& walk, const Index* offset, const T* dy,
                 int width, T* w) {
  const Runs runs = runs_of(g, x.pixel);
  const InputTiles cut(runs.length, runs.count);
  const Index parts = cut.across ? 1 : runs.count;
  const Tiles tiles(cut.across ? g.depth() : runs.length);
  Index k = 0;
  for (Index part = 0; part < parts; ++part) {
    for (Index i = 0; i < tiles.count; ++i) {
      const int n = tiles.rows(i);
      T* out = w + k * width;
      if (cut.across)
        outer_tile_for<T, false>(n, width)(walk, x.data, offset + k, dy, out);
      else
        outer_tile_for<T, true>(n, width)(walk, x.data + offset[k], nullptr, dy, out);
      k += n;
    }
  }
}

// The same with the input in place and tap by tap: output rows from `first` on of `images` images from x on.
template <class T>
void outer_block_by_taps(const TapGrid& g, const T* x, Index images, Index first, Index rows, const T* dy, int width,
                         T* w) {
  const Tiles tiles(g.C);
  const Index row = g.W * g.pixel;
  for (Index r = 0; r < g.row_taps; ++r) {
    const Index top = first * g.step_h + g.row_first + r * g.row_step;
    const Inside q(rows, g.step_h, top, g.H);
    for (Index s = 0; s < g.col_taps; ++s) {
      const Index left = g.col_first + s * g.col_step;
      const Inside p(g.cols, g.step_w, left, g.W);
      const PixelWalk walk{
          images,        q.count(), p.count(), g.H * row, g.step_h * row, g.step_w * g.pixel, rows * g.cols * width,
          g.cols * width};
      const T* a = x + (top + q.begin * g.step_h) * row + (left + p.begin * g.step_w) * g.pixel;
      const T* b = dy + (q.begin * g.cols + p.begin) * width;
      for (Index i = 0; i < tiles.count; ++i) {
        const int n = tiles.rows(i);
        if (q.count() > 0 && p.count() > 0) outer_tile_for<T, true>(n, width)(walk, a, nullptr, b, w);
        a += n;
        w += n * width;
      }
    }
  }
}

// Where input k = (r,s,c) of a pixel stands, from the pixel's first.
template <class T>
LAMINA_INLINE void input_offsets(const TapGrid& g, const Window<T>& x, Index* offset) {
  for (Index r = 0; r < g.row_taps; ++r)
    for (Index q = 0; q < g.col_taps; ++q)
      for (Index c = 0; c < g.C; ++c) *offset++ = r * g.row_step * x.row + q * g.col_step * x.pixel + c;
}

// dst[pixel][column] from rows of dy, and their sums onto db (whole vectors).
template <class T>
void pack_gradient(const T* dy, Index pixels, Index ld, int columns, int width, T* dst, T* db) {
  constexpr int W = kLanes<T>;
  for (int j = 0; j < width; j += W) {
    const int n = static_cast<int>(least(columns - j, W)), whole = static_cast<int>(least(width - j, W));
    Vec<T> sum = load(db + j);
    for (Index p = 0; p < pixels; ++p) {
      const Vec<T> v = load_some(dy + p * ld + j, n);
      store_some(dst + p * width + j, v, whole);
      sum += v;
    }
    store(db + j, sum);
  }
}

// dw[o][k] = sum over chunks of partial[chunk][k][o], for one panel.
template <class T>
void reduce_panel(T* partial, Index chunks, Index chunk_size, Index depth, int columns, Index width, T* dw) {
  constexpr int W = kLanes<T>;
  for_vectors<T>(0, depth * width, [&](Index i, int n) LAMINA_STEP {
    Vec<T> sum = load_some(partial + i, n);
    for (Index c = 1; c < chunks; ++c) sum += load_some(partial + c * chunk_size + i, n);
    store_some(partial + i, sum, n);
  });
  for (Index j = 0; j < columns; j += W) {
    Index k = 0;
    if (j + W <= columns) {
      for (; k + W <= depth; k += W) transpose_square(partial + k * width + j, width, dw + j * depth + k, depth);
    }
    for (; k < depth; ++k)
      for (Index i = j; i < least(j + W, columns); ++i) dw[i * depth + k] = partial[k * width + i];
  }
}

// How the work is cut, by the shape alone. A unit is one block: `images` images, or `block_rows` rows of one.
struct WeightPlan {
  Index chunks, block_rows, row_blocks, images, units;
  template <class T>
  static WeightPlan of(const Conv2dShape& s, const TapGrid& g, Index panels, Index chunk_size) {
    const Index bytes = static_cast<Index>(sizeof(T)), row_bytes = greatest(1, bytes * g.span_w() * g.C * g.step_h);
    WeightPlan p;
    p.chunks = greatest(1, least(least(ceil_div(2 * kMostChunks, s.groups * panels), kMostChunks),
                                 kPartialBytes / (chunk_size * bytes)));
    p.block_rows = ceil_div(s.OH, ceil_div(s.OH, greatest(1, kBlockBytes / row_bytes)));
    p.row_blocks = ceil_div(s.OH, p.block_rows);
    p.images = p.row_blocks > 1 ? 1 : greatest(1, least(ceil_div(s.N, p.chunks), kBlockBytes / (row_bytes * s.OH)));
    p.units = ceil_div(s.N, p.images) * p.row_blocks;
    p.chunks = greatest(1, least(p.chunks, p.units));
    return p;
  }
};

template <class T>
void conv2d_direct_backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw, T* db) {
  const Index C = s.C / s.groups, O = s.O / s.groups;
  const TapGrid g = forward_grid(s);
  const bool in_place = g.inside(), by_taps = !in_place && C >= kMaxRows;
  const Index panels = panel_count<T>(O), depth = g.depth(), width = panels * kPanel<T>,
              chunk_size = s.groups * width * depth;
  const WeightPlan plan = WeightPlan::of<T>(s, g, panels, chunk_size);
  const Index chunks = plan.chunks, units = plan.units;
  Buffer partial_buffer(sizeof(T) * static_cast<std::size_t>(chunks * (chunk_size + s.groups * width)));
  T* const partial = partial_buffer.as<T>();
  T* const partial_db = partial + chunks * chunk_size;

  const Index window = in_place || by_taps ? 0 : g.span_h(plan.block_rows) * g.span_w() * C;
  const Index slab = plan.images * plan.block_rows * s.OW * kPanel<T>;
  const Index window_end = ceil_div((slab + plan.images * window) * static_cast<Index>(sizeof(T)), kAlignment) *
                           static_cast<Index>(kAlignment);
  const std::size_t bytes = static_cast<std::size_t>(window_end) + sizeof(Index) * static_cast<std::size_t>(depth);
  const Index tasks = chunks * s.groups * panels;
  const double cost =
      2.0 * static_cast<double>(s.N * s.OH * s.OW) * static_cast<double>(s.O * depth) / static_cast<double>(tasks);
  parallel_for_scratch(tasks, cost, bytes, [&](Index task, void* mine) {
    const Index p = task % panels, group = task / panels % s.groups, chunk = task / panels / s.groups;
    const Index j = group * O + p * kPanel<T>;
    const int panel = panel_width<T>(O, p), columns = static_cast<int>(least(O - p * kPanel<T>, kPanel<T>));
    T* const slab_data = static_cast<T*>(mine);
    T* const scratch = slab_data + slab;
    Index* const offset = reinterpret_cast<Index*>(static_cast<char*>(mine) + window_end);
    T* const w = partial + chunk * chunk_size + group * width * depth + panel_offset<T>(p, depth);
    T* const sums = partial_db + chunk * s.groups * width + group * width + p * kPanel<T>;
    fill_zero(w, depth * panel);
    fill_zero(sums, kPanel<T>);
    for (Index unit = chunk * units / chunks; unit < (chunk + 1) * units / chunks; ++unit) {
      const Index n0 = unit / plan.row_blocks * plan.images, first = unit % plan.row_blocks * plan.block_rows;
      const Index images = least(plan.images, s.N - n0), rows = least(plan.block_rows, s.OH - first),
                  pixels = rows * s.OW;
      for (Index i = 0; i < images; ++i)
        pack_gradient(dy + ((n0 + i) * s.OH + first) * s.OW * s.O + j, pixels, s.O, columns, panel,
                      slab_data + i * pixels * panel, sums);
      const T* const image = x + n0 * s.H * s.W * s.C;
      if (by_taps) {
        outer_block_by_taps(g, image + group * C, images, first, rows, slab_data, panel, w);
        continue;
      }
      Window<T> here{};
      for (Index i = images - 1; i >= 0; --i)
        here = open_window(g, image + i * s.H * s.W * s.C, group, first, rows, in_place, scratch + i * window);
      input_offsets(g, here, offset);
      const PixelWalk walk{images,
                           rows,
                           s.OW,
                           in_place ? s.H * s.W * s.C : window,
                           g.step_h * here.row,
                           g.step_w * here.pixel,
                           pixels * panel,
                           s.OW * panel};
      outer_block(g, here, walk, offset, slab_data, panel, w);
    }
  });
  parallel_for(s.groups * panels, kByte * static_cast<double>(chunks * depth * kPanel<T>) * sizeof(T), [&](Index task) {
    const Index p = task % panels, group = task / panels, j = group * O + p * kPanel<T>;
    const int columns = static_cast<int>(least(O - p * kPanel<T>, kPanel<T>));
    reduce_panel(partial + group * width * depth + panel_offset<T>(p, depth), chunks, chunk_size, depth, columns,
                 panel_width<T>(O, p), dw + j * depth);
    for (int i = 0; i < columns; ++i) {
      T sum = 0;
      for (Index c = 0; c < chunks; ++c) sum += partial_db[c * s.groups * width + group * width + p * kPanel<T> + i];
      db[j + i] = sum;
    }
  });
}

}  // namespace
}  // namespace lamina
