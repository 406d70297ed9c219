// Direct convolution, NHWC, without a matrix of patches: a pixel's neighbourhood is read where it stands.
//
//   y[n,oh,ow,o] = b[o] + sum over r,s,c:  x[n, oh*stride + r*dilation - padding, ow*..., c]  w[o,r,s,c],  or its relu
//
// For one kernel row r the S*C inputs of a pixel are one contiguous run, and neighbouring pixels lie at a constant
// stride: that is exactly what row_tile reads. Only a border needs help: a block of rows that touches it is copied into
// scratch with its zeros. Filters are packed once a call: [group][panel of columns][r][s][c][column].
//
// Backward to the input is the same loop over dy with turned filters; a stride of s splits it into s*s such
// convolutions, one for each phase of the input pixels (no zeros are ever inserted). Tasks are blocks of output rows;
// no sum is split.
#pragma once
#include "common/parallel.h"
#include "kernels/pack.h"

namespace lamina {
namespace {

constexpr Index kBlockBytes = 192 * 1024;  // of input in one task: it stays in L2 beside a panel of filters

// A convolution as this kernel sees it: an input image, an output grid, and taps at regular offsets.
struct TapGrid {
  Index H, W, C, pixel;                 // input image; channels used; elements from pixel to pixel
  Index row_taps, row_first, row_step;  // tap r reads input row q * step_h + row_first + r * row_step
  Index col_taps, col_first, col_step;
  Index step_h, step_w;
  Index rows, cols;                            // output grid
  Index out_image, out_row, out_col, columns;  // output strides; channels made
  Index groups;                                // group g reads channels g*C.., makes channels g*columns..

  LAMINA_INLINE Index depth() const { return row_taps * col_taps * C; }
  LAMINA_INLINE Index span_h(Index n) const {
    return n == 0 || row_taps == 0 ? 0 : (n - 1) * step_h + (row_taps - 1) * row_step + 1;
  }
  LAMINA_INLINE Index span_w() const {
    return cols == 0 || col_taps == 0 ? 0 : (cols - 1) * step_w + (col_taps - 1) * col_step + 1;
  }
  LAMINA_INLINE bool inside() const {
    return row_first >= 0 && row_first + span_h(rows) <= H && col_first >= 0 && col_first + span_w() <= W;
  }
  LAMINA_INLINE Index packed_size(Index panel_width) const {
    return groups * ceil_div(columns, panel_width) * panel_width * depth();
  }
};

// The q's in 0..n-1 for which q * step + first lies in 0..size-1: [begin, end).
struct Inside {
  Index begin, end;
  LAMINA_INLINE Inside(Index n, Index step, Index first, Index size)
      : begin(least(n, greatest(0, ceil_div(-first, step)))),
        end(greatest(begin, least(n, ceil_div(size - first, step)))) {}
  LAMINA_INLINE Index count() const { return end - begin; }
};

// Filters as the grid's taps meet them: element (tap r, tap s, input channel c, output channel o) of group g is
// data[g * group + r * row + s * col + c * in + o * out].
template <class T>
struct TapFilters {
  const T* data;
  Index group, row, col, in, out;
};

template <class T>
void pack_filters(const TapGrid& g, const TapFilters<T>& w, T* dst) {
  const Index panels = panel_count<T>(g.columns);
  parallel_for(g.groups * panels, kByte * 3 * sizeof(T) * static_cast<double>(g.depth() * kPanel<T>), [&](Index task) {
    const Index group = task / panels, p = task % panels, j = p * kPanel<T>;
    const int width = panel_width<T>(g.columns, p), n = static_cast<int>(least(g.columns - j, kPanel<T>));
    T* out = dst + group * panels * kPanel<T> * g.depth() + panel_offset<T>(p, g.depth());
    const T* base = w.data + group * w.group + j * w.out;
    if (w.in == 1 && w.col == g.C && w.row == g.col_taps * g.C) {  // (r, s, c) is one contiguous index
      pack_panel<T>({base, 1, w.out}, g.depth(), n, width, out);
      return;
    }
    for (Index r = 0; r < g.row_taps; ++r) {
      for (Index s = 0; s < g.col_taps; ++s) {
        pack_panel<T>({base + r * w.row + s * w.col, w.in, w.out}, g.C, n, width, out);
        out += g.C * width;
      }
    }
  });
}

// `n` rows of an image from row `first` on, `width` columns from column `left` on, C channels, zeros outside.
template <class T>
void copy_window(const T* image, Index H, Index W, Index pixel, Index C, Index first, Index n, Index left, Index width,
                 T* dst) {
  const Index begin = least(greatest(left, 0), W), end = greatest(least(left + width, W), begin);
  const Index before = least(greatest(-left, 0), width);
  for (Index i = 0; i < n; ++i, dst += width * C) {
    const Index row = first + i;
    if (row < 0 || row >= H || begin >= end) {
      fill_zero(dst, width * C);
      continue;
    }
    const T* source = image + (row * W + begin) * pixel;
    T* out = dst + before * C;
    fill_zero(dst, before * C);
    if (pixel == C) {
      copy(source, out, (end - begin) * C);
    } else {
      for (Index j = 0; j < end - begin; ++j) copy(source + j * pixel, out + j * C, C);
    }
    fill_zero(out + (end - begin) * C, (width - before - (end - begin)) * C);
  }
}

// Where the taps of a block find their input.
template <class T>
struct Window {
  const T* data;
  Index row, pixel;  // elements from row to row, from pixel to pixel
};

// The input of `n` output rows from `first` on, in place where no tap leaves the image, else copied into scratch.
template <class T>
Window<T> open_window(const TapGrid& g, const T* image, Index group, Index first, Index n, bool in_place, T* scratch) {
  const Index top = first * g.step_h + g.row_first;
  const T* base = image + group * g.C;
  if (in_place) return {base + (top * g.W + g.col_first) * g.pixel, g.W * g.pixel, g.pixel};
  copy_window(base, g.H, g.W, g.pixel, g.C, top, g.span_h(n), g.col_first, g.span_w(), scratch);
  return {scratch, g.span_w() * g.C, g.C};
}

// The runs of a tile: contiguous inputs of one kernel row where the taps allow, else of one tap.
struct Runs {
  Index count, length;
};
LAMINA_INLINE Runs runs_of(const TapGrid& g, Index pixel) {
  if (g.col_step == 1 && pixel == g.C) return {g.row_taps, g.col_taps * g.C};
  return {g.row_taps * g.col_taps, g.C};
}
template <class T>
LAMINA_INLINE void run_offsets(const TapGrid& g, const Window<T>& x, Index* offset) {
  const Runs runs = runs_of(g, x.pixel);
  const Index across = g.row_taps == 0 ? 1 : runs.count / g.row_taps;
  for (Index r = 0; r < g.row_taps; ++r)
    for (Index s = 0; s < across; ++s) *offset++ = r * g.row_step * x.row + s * g.col_step * x.pixel;
}

// One panel of output channels for n rows of one image, from row `first` on; kernel rows that meet only zeros are left
// out.
template <class T>
void direct_panel(const TapGrid& g, Window<T> x, RowTile<T> t, const T* panel, int width, Index first, Index rows,
                  Index cols, bool read_ahead, T* y) {
  const Tiles tiles(cols);
  const Index* const run_offset = t.run_offset;
  const Index runs_a_row = t.runs / greatest(1, g.row_taps);
  for (Index q = 0; q < rows; ++q) {
    const Inside taps(g.row_taps, g.row_step, (first + q) * g.step_h + g.row_first, g.H);
    t.runs = taps.count() * runs_a_row;
    t.run_offset = run_offset + taps.begin * runs_a_row;
    const T* const b = panel + taps.begin * g.col_taps * g.C * width;
    const T* a = x.data + q * g.step_h * x.row;
    T* out = y + q * g.out_row;
    for (Index i = 0; i < tiles.count; ++i) {
      const int n = tiles.rows(i);
      prefetch_rows<T, true>(out, n, g.out_col, t.columns);
      if (read_ahead && i + 1 < tiles.count)
        prefetch_rows(a + n * t.lda, 1, 0, static_cast<int>(tiles.rows(i + 1) * t.lda));
      row_tile_for<T, false>(n, width)(t, a, b, out);
      a += n * t.lda;
      out += n * g.out_col;
    }
  }
}

// What is done with a block of outputs while it is in cache: rows [first, first + rows) of image n.
struct Nothing {
  LAMINA_INLINE void operator()(Index, Index, Index) const {}
};

// The whole convolution described by g: x (N images of H*W*pixel elements), packed filters, y (N images). after: of
// blocks whose channels are all there, if there is one group.
template <class T, class After = Nothing>
void direct_conv(const TapGrid& g, Index N, const T* x, const T* packed, const T* bias, bool relu, T* y,
                 After after = {}) {
  if (N == 0 || g.rows == 0 || g.cols == 0) return;
  const bool in_place = g.inside();
  const Index panels = panel_count<T>(g.columns);
  const Index row_bytes = greatest(1, static_cast<Index>(sizeof(T)) * g.span_w() * g.C * g.step_h);
  const Index rows_fit = greatest(1, kBlockBytes / row_bytes);
  Index block_rows = ceil_div(g.rows, ceil_div(g.rows, rows_fit));
  if (N < 16) block_rows = least(block_rows, greatest(1, ceil_div(g.rows, ceil_div(16, N))));
  const Index blocks = ceil_div(g.rows, block_rows);
  // Small images share a task, so that a panel of filters serves more pixels each time it is read.
  const Index images = blocks > 1 ? 1 : greatest(1, least(ceil_div(N, 16), kBlockBytes / (row_bytes * g.rows)));
  const Index window = g.span_h(block_rows) * g.span_w() * g.C;
  const Index most_runs = greatest(1, g.row_taps * g.col_taps);
  const std::size_t bytes = static_cast<std::size_t>(most_runs) * sizeof(Index) + kAlignment +
                            (in_place ? 0 : sizeof(T) * static_cast<std::size_t>(window * images));
  const Index image_groups = ceil_div(N, images);
  const double cost =
      2.0 * static_cast<double>(g.columns * g.depth()) * static_cast<double>(block_rows * g.cols * images);
  parallel_for_scratch(g.groups * image_groups * blocks, cost, bytes, [&](Index task, void* mine) {
    const Index block = task % blocks, n0 = task / blocks % image_groups * images, group = task / blocks / image_groups;
    const Index n1 = least(n0 + images, N), first = block * block_rows, rows = least(block_rows, g.rows - first);
    T* scratch = static_cast<T*>(mine);
    Index* offset = reinterpret_cast<Index*>(
        scratch + (in_place ? 0 : ceil_div(window * images * sizeof(T), kAlignment) * kAlignment / sizeof(T)));
    Window<T> x0{};
    for (Index n = n0; n < n1; ++n) {
      const Window<T> here =
          open_window(g, x + n * g.H * g.W * g.pixel, group, first, rows, in_place, scratch + (n - n0) * window);
      if (n == n0) x0 = here;
    }
    run_offsets(g, x0, offset);
    const Index image_step = in_place ? g.H * g.W * g.pixel : window;
    const Runs runs = runs_of(g, x0.pixel);
    // Rows that follow each other without a gap are one long row: a 1x1 convolution is a plain product.
    const bool joined = in_place && g.row_taps == 1 && g.col_taps == 1 && g.step_h == 1 && g.step_w == 1 &&
                        g.cols == g.W && g.out_row == g.cols * g.out_col;
    for (Index p = 0; p < panels; ++p) {
      const Index j = p * kPanel<T>;
      const RowTile<T> t{g.step_w * x0.pixel,
                         runs.length,
                         runs.count,
                         offset,
                         g.out_col,
                         bias ? bias + group * g.columns + j : nullptr,
                         false,
                         static_cast<int>(least(g.columns - j, kPanel<T>)),
                         relu};
      const T* panel = packed + group * panels * kPanel<T> * g.depth() + panel_offset<T>(p, g.depth());
      for (Index n = n0; n < n1; ++n) {
        const Window<T> here{x0.data + (n - n0) * image_step, x0.row, x0.pixel};
        T* out = y + n * g.out_image + first * g.out_row + group * g.columns + j;
        direct_panel(g, here, t, panel, panel_width<T>(g.columns, p), first, joined ? 1 : rows,
                     joined ? rows * g.cols : g.cols, joined && p == 0, out);
      }
    }
    for (Index n = n0; n < n1; ++n) after(n, first, rows);
  });
}

LAMINA_INLINE TapGrid forward_grid(const Conv2dShape& s) {
  return {s.H,        s.W,          s.C / s.groups, s.C,     s.KH,
          -s.top,     s.dilation_h, s.KW,           -s.left, s.dilation_w,
          s.stride_h, s.stride_w,   s.OH,           s.OW,    s.OH * s.OW * s.O,
          s.OW * s.O, s.O,          s.O / s.groups, s.groups};
}
template <class T>
LAMINA_INLINE TapFilters<T> forward_filters(const Conv2dShape& s, const T* w) {
  const Index C = s.C / s.groups, filter = s.KH * s.KW * C;
  return {w, s.O / s.groups * filter, s.KW * C, C, 1, filter};
}

template <class T, class After = Nothing>
void conv2d_direct(const Conv2dShape& s, const T* x, const T* w, const T* b, bool relu, T* y, After after = {}) {
  const TapGrid g = forward_grid(s);
  const WeightBuffer packed(sizeof(T) * static_cast<std::size_t>(g.packed_size(kPanel<T>)), &kMaker);
  if (!packed.is_filled()) pack_filters<T>(g, forward_filters(s, w), packed.as<T>());
  direct_conv(g, s.N, x, packed.as<T>(), b, relu, y, after);
}

// The taps r of one phase of the input (rows phase, phase + stride, ...): those whose output row is whole.
struct PhaseTaps {
  Index count, first_tap, tap_step, first,
      step;  // in order of rising output row: w tap, its step (< 0), row offset, its step
};
LAMINA_INLINE PhaseTaps phase_taps(Index phase, Index padding, Index kernel, Index stride, Index dilation) {
  PhaseTaps t{0, 0, 0, 0, 1};
  Index second = 0;
  for (Index r = kernel - 1; r >= 0; --r) {
    const Index e = phase + padding - r * dilation;
    if (((e % stride) + stride) % stride != 0) continue;
    const Index row = e >= 0 ? e / stride : -((-e) / stride);
    if (t.count == 0) t.first_tap = r, t.first = row;
    if (t.count == 1) second = r, t.step = row - t.first;
    ++t.count;
  }
  t.tap_step = t.count > 1 ? second - t.first_tap : 0;
  return t;
}

// Backward to the input as convolutions of dy: convolve(grid, its filters, where dx begins) for each phase.
template <class T, class F>
void for_phases(const Conv2dShape& s, const T* w, F&& convolve) {
  const Index C = s.C / s.groups, O = s.O / s.groups, filter = s.KH * s.KW * C;
  for (Index a = 0; a < least(s.stride_h, s.H); ++a) {
    for (Index c = 0; c < least(s.stride_w, s.W); ++c) {
      const PhaseTaps v = phase_taps(a, s.top, s.KH, s.stride_h, s.dilation_h);
      const PhaseTaps h = phase_taps(c, s.left, s.KW, s.stride_w, s.dilation_w);
      const bool none = v.count == 0 || h.count == 0;
      const TapGrid g{s.OH,
                      s.OW,
                      O,
                      s.O,
                      none ? 0 : v.count,
                      none ? 0 : v.first,
                      v.step,
                      none ? 0 : h.count,
                      none ? 0 : h.first,
                      h.step,
                      1,
                      1,
                      ceil_div(s.H - a, s.stride_h),
                      ceil_div(s.W - c, s.stride_w),
                      s.H * s.W * s.C,
                      s.stride_h * s.W * s.C,
                      s.stride_w * s.C,
                      C,
                      s.groups};
      const T* first = w + v.first_tap * s.KW * C + h.first_tap * C;
      convolve(g, TapFilters<T>{first, O * filter, v.tap_step * s.KW * C, h.tap_step * C, filter, 1},
               (a * s.W + c) * s.C);
    }
  }
}

template <class T>
void conv2d_direct_backward_input(const Conv2dShape& s, const T* dy, const T* w, const T* b, bool relu, T* dx) {
  for_phases(s, w, [&](const TapGrid& g, const TapFilters<T>& filters, Index origin) {
    const WeightBuffer packed(sizeof(T) * static_cast<std::size_t>(g.packed_size(kPanel<T>)), &kMaker);
    if (!packed.is_filled()) pack_filters<T>(g, filters, packed.as<T>());
    direct_conv<T>(g, s.N, dy, packed.as<T>(), b, relu, dx + origin);
  });
}

}  // namespace
}  // namespace lamina
