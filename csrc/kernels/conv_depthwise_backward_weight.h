// Convolution of groups of few channels, backward to the filters and the bias: see conv_depthwise.h.
//
//   dw[o,r,s,u] = sum over n,oh,ow:  dy[n,oh,ow,o]  x[n, oh*stride + r*dilation - padding, ow*..., group(o) * U + u]
//   db[o] = sum dy
//
// The sums of some taps of a kernel row stay in registers while the pixels of a row pass by. Tasks: chunks of blocks of
// output rows, of spread rows one vector each; the chunks' partial sums are added in order.
#pragma once
#include "kernels/conv_depthwise.h"

namespace lamina {
namespace {

// sums[t] += x of tap t times dy, over `pixels` outputs of one row.
template <class T, int Q>
void add_products(const T* x, Index pixel, Index tap, const T* dy, Index dy_pixel, Index pixels, int lanes, T* sums) {
  constexpr int W = kLanes<T>;
  Vec<T> acc[Q];
  LAMINA_UNROLL for (int t = 0; t < Q; ++t) acc[t] = load(sums + t * W);
  for (Index p = 0; p < pixels; ++p, x += pixel, dy += dy_pixel) {
    const Vec<T> grad = load_some(dy, lanes);
    LAMINA_UNROLL for (int t = 0; t < Q; ++t) acc[t] += load(x + t * tap) * grad;
  }
  LAMINA_UNROLL for (int t = 0; t < Q; ++t) store(sums + t * W, acc[t]);
}
template <class T, int... Q>
LAMINA_INLINE auto add_products_for(Index taps, std::integer_sequence<int, Q...>) {
  static constexpr decltype(&add_products<T, 1>) table[] = {&add_products<T, Q + 1>...};
  return table[taps - 1];
}

// Taps of kernel row r, which meets an input row at `x` (its first pixel), onto the sums of one vector, [tap][lane].
template <class T>
void add_row_products(const TapGrid& g, const Cut& cut, const T* x, Index x_pixel, Index r, const T* dy, int lanes,
                      T* sums) {
  constexpr int W = kLanes<T>;
  // Taps that lie at a constant distance: all of the row, or the inputs of one.
  const bool all = g.C == 1 || g.col_step == 1;
  const Index tap = g.C == 1 ? g.col_step * x_pixel : W;
  for (const Columns& c : cut) {
    for (Index s = c.begin; s < c.end; s += all ? c.end - c.begin : 1) {
      const T* at = x + (c.first * g.step_w + g.col_first + s * g.col_step) * x_pixel;
      T* sum = sums + (r * g.col_taps + s) * g.C * W;
      const Tiles tiles((all ? c.end - c.begin : 1) * g.C);
      for (Index i = 0; i < tiles.count; ++i) {
        const int n = tiles.rows(i);
        const auto add = add_products_for<T>(n, std::make_integer_sequence<int, kMaxRows>());
        add(at, g.step_w * x_pixel, tap, dy + c.first * g.out_col, g.out_col, c.count, lanes, sum);
        at += n * tap, sum += n * W;
      }
    }
  }
}

template <class T>
void add_row(const TapGrid& g, const T* dy, int lanes, T* total) {
  Vec<T> acc[4] = {load(total), splat(T(0)), splat(T(0)), splat(T(0))};
  Index p = 0;
  for (; p + 4 <= g.cols; p += 4) {
    LAMINA_UNROLL for (int i = 0; i < 4; ++i) acc[i] += load_some(dy + (p + i) * g.out_col, lanes);
  }
  for (; p < g.cols; ++p) acc[0] += load_some(dy + p * g.out_col, lanes);
  store(total, (acc[0] + acc[1]) + (acc[2] + acc[3]));
}

// A block onto the sums of vectors from v_begin on, [vector][tap][lane], the last tap that of the bias. An input row
// serves all output rows that it fed while it is in L1.
template <class T>
void lane_block_sums(const TapGrid& g, const LaneGroups& l, const Cut& cut, const LaneRows<T>& x, const RowBlock& b,
                     Index v_begin, Index v_end, const T* dy, T* sums) {
  const Index size = (g.depth() + 1) * kLanes<T>;
  const auto gradient = [&](Index oh, Index v) { return dy + oh * g.out_row + l.first_group(v) * l.outputs; };
  for (Index ih = b.in_first; ih < b.in_first + b.in_rows; ++ih) {
    for (Index v = v_begin; v < v_end; ++v) {
      T* const sum = sums + (v - v_begin) * size;
      const T* const row = x.at(ih, 0) + (l.first_group(v) - l.first_group(v_begin));
      if (l.in_place) {  // as above: the next input row, and the gradient that it is the first to meet
        const T* const grad = gradient((ih + 1 - g.row_first) / g.step_h, v);
        for (Index i = 0; i < g.W; ++i) __builtin_prefetch(row + x.row + i * x.pixel);
        for (Index i = 0; i < g.cols; ++i) __builtin_prefetch(grad + i * g.out_col);
      }
      for (Index r = 0; r < g.row_taps; ++r) {
        const Index top = ih - g.row_first - r * g.row_step, oh = top / g.step_h;
        if (top < 0 || oh * g.step_h != top || oh < b.first || oh >= b.first + b.rows) continue;
        add_row_products(g, cut, row, x.pixel, r, gradient(oh, v), l.used(), sum);
      }
    }
  }
  for (Index oh = b.first; oh < b.first + b.rows; ++oh)
    for (Index v = v_begin; v < v_end; ++v)
      add_row(g, gradient(oh, v), l.used(), sums + (v - v_begin) * size + g.depth() * kLanes<T>);
}

template <class T>
void conv2d_lanes_backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw, T* db) {
  constexpr int W = kLanes<T>;
  constexpr Index kChunks = 16;
  const TapGrid image = forward_grid(s);
  const LaneGroups l = LaneGroups::of<T>(image);
  const TapGrid g = padded_grid(image, l);
  const Cut cut(g);
  const LaneBlocks blocks = LaneBlocks::of<T>(g, l, greatest(1, s.N));
  const Index units = s.N * blocks.count, chunks = greatest(1, least(units, kChunks));
  const Index together = l.in_place ? l.vectors : 1, shares = l.vectors / together;
  const Index size = (g.depth() + 1) * W;  // of the sums of a vector, the last those of the bias
  Buffer partial_buffer(sizeof(T) * static_cast<std::size_t>(chunks * l.vectors * size));
  T* const partial = partial_buffer.as<T>();
  const double cost =
      2.0 * static_cast<double>(ceil_div(units, chunks) * blocks.rows * g.cols * together) * static_cast<double>(size);
  const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(blocks.scratch_size<T>(g, l));
  parallel_for_scratch(chunks * shares, cost, bytes, [&](Index task, void* mine) {
    const Index chunk = task / shares, v0 = task % shares * together;
    T* const sums = partial + (chunk * l.vectors + v0) * size;
    fill_zero(sums, together * size);
    for (Index unit = chunk * units / chunks; unit < (chunk + 1) * units / chunks; ++unit) {
      const RowBlock b = blocks.block(g, unit);
      const LaneRows<T> rows = open_rows(g, image, l, b, x, v0, static_cast<T*>(mine));
      lane_block_sums(g, l, cut, rows, b, v0, v0 + together, dy + b.n * g.out_image, sums);
    }
  });
  parallel_for(l.vectors, kByte * static_cast<double>(chunks * size) * sizeof(T), [&](Index v) {
    T* const sums = partial + v * size;
    for (Index i = 0; i < size; i += W) {
      Vec<T> sum = load(sums + i);
      for (Index chunk = 1; chunk < chunks; ++chunk) sum += load(sums + chunk * l.vectors * size + i);
      store(sums + i, sum);
    }
    const Index o = l.first_group(v) * l.outputs, depth = g.depth();
    // What a vector shares with the one before is written by that alone.
    const Index begin = v > 0 ? l.first_group(v - 1) * l.outputs + l.used() - o : 0;
    for (Index i = begin; i < l.used(); ++i) {
      for (Index t = 0; t < depth; ++t) dw[(o + i) * depth + t] = sums[t * W + i];
      db[o + i] = sums[depth * W + i];
    }
  });
}

}  // namespace
}  // namespace lamina
