// Convolution of groups of few channels, depthwise the least of them: a vector holds the output channels of several
// groups, and each lane sees the inputs of its own group alone.
//
//   y[n,oh,ow,o] = b[o] + sum over r,s,u:  x[n, oh*stride + r*dilation - padding, ow*..., group(o) * U + u]  w[o,r,s,u],
//   or its relu
//
// Input u of every lane's group, as a vector, is the image itself where U is 1 and vectors are full; else the rows that a
// task needs are spread first: [row][pixel][u][lane]. Filters are packed [vector][r][s][u][lane]. Borders leave taps
// out: neighbouring columns that lose the same taps are taken together. Backward to the input is the same loop over dy,
// as in conv_direct.h.
//
// Tasks: blocks of output rows; of spread rows one vector of a block, else all.
#pragma once
#include <new>
#include <utility>

#include "kernels/conv_direct.h"

namespace lamina {
namespace {

// How channels are dealt to vectors: `together` groups each; the last vector overlaps the one before rather than being
// partial, and computes the same there.
struct LaneGroups {
  Index inputs, outputs, groups, together, vectors;
  bool in_place;
  template <class T>
  static LaneGroups of(const TapGrid& g) {
    LaneGroups l{g.C, g.columns, g.groups, least(g.groups, kLanes<T> / greatest(g.C, g.columns)), 0, false};
    l.vectors = ceil_div(g.groups, l.together);
    l.in_place = g.C == 1 && g.columns == 1 && l.together == kLanes<T>;
    return l;
  }
  LAMINA_INLINE int used() const { return static_cast<int>(together * outputs); }
  LAMINA_INLINE Index first_group(Index v) const { return least(v * together, groups - together); }
};

// Neighbouring output columns whose taps in the image are the same ones, [begin, end) of each kernel row.
struct Columns {
  Index first, count, begin, end;
};
// Which taps meet the image: the rows of each output row, and its columns in parts.
class Cut {
 public:
  explicit Cut(const TapGrid& g)
      : rows_(sizeof(Inside) * static_cast<std::size_t>(g.rows)),
        // The range of taps changes at either end once for each tap.
        columns_(sizeof(Columns) * static_cast<std::size_t>(2 * g.col_taps + 1)) {
    for (Index q = 0; q < g.rows; ++q)
      new (rows_.as<Inside>() + q) Inside(g.row_taps, g.row_step, q * g.step_h + g.row_first, g.H);
    Columns* const part = columns_.as<Columns>();
    for (Index p = 0; p < g.cols; ++p) {
      const Inside taps(g.col_taps, g.col_step, p * g.step_w + g.col_first, g.W);
      if (parts_ > 0 && part[parts_ - 1].begin == taps.begin && part[parts_ - 1].end == taps.end)
        ++part[parts_ - 1].count;
      else
        part[parts_++] = {p, 1, taps.begin, taps.end};
    }
  }
  const Inside& row(Index oh) const { return rows_.as<Inside>()[oh]; }
  const Columns* begin() const { return columns_.as<Columns>(); }
  const Columns* end() const { return begin() + parts_; }

 private:
  Buffer rows_, columns_;
  Index parts_ = 0;
};

// What a task reads: row `first` of the image is at `data`.
template <class T>
struct LaneRows {
  const T* data;
  Index first, row, pixel;
  LAMINA_INLINE const T* at(Index ih, Index iw) const { return data + (ih - first) * row + iw * pixel; }
};

// A block of output rows: those of image n from `first` on, and the rows of its input that exist.
struct RowBlock {
  Index n, first, rows, in_first, in_rows;
};
struct LaneBlocks {
  Index rows, count;  // in a block, in an image
  template <class T>
  static LaneBlocks of(const TapGrid& g, const LaneGroups& l, Index N, Index tasks = 64) {
    constexpr Index kLeast = 4;
    Index rows = greatest(kLeast, ceil_div(g.rows, ceil_div(tasks, N * (l.in_place ? 1 : l.vectors))));
    if (!l.in_place) {
      const Index row = greatest(1, g.W) * g.C * kLanes<T>;  // a phase of the way back may have no taps, and so no rows
      const Index fit = kBlockBytes / (row * static_cast<Index>(sizeof(T)));
      rows = least(rows, greatest(1, (fit - g.span_h(1)) / g.step_h + 1));
    }
    rows = ceil_div(g.rows, ceil_div(g.rows, rows));
    return {rows, ceil_div(g.rows, rows)};
  }
  LAMINA_INLINE RowBlock block(const TapGrid& g, Index i) const {
    const Index first = i % count * rows, n = least(rows, g.rows - first), top = first * g.step_h + g.row_first;
    const Index begin = least(greatest(0, top), g.H), end = least(g.H, top + g.span_h(n));
    return {i / count, first, n, begin, greatest(0, end - begin)};
  }
  template <class T>
  LAMINA_INLINE Index scratch_size(const TapGrid& g, const LaneGroups& l) const {
    // never none, for a null pointer has no neighbours
    return l.in_place ? 0 : greatest(1, least(g.H, g.span_h(rows)) * g.W) * g.C * kLanes<T>;
  }
};

// dst[pixel][u][lane] = x[pixel][input u of the lane's group].
template <class T>
LAMINA_INLINE void spread(const LaneGroups& l, const IntVec<T>* source, const T* x, Index pixels, Index pixel, T* dst) {
  const int n = static_cast<int>(l.together * l.inputs);
  for (Index p = 0; p < pixels; ++p, x += pixel) {
    const Vec<T> v = load_some(x, n);
    for (Index u = 0; u < l.inputs; ++u, dst += kLanes<T>) store(dst, __builtin_shuffle(v, source[u]));
  }
}

// The input of a block for vector v (and for all after it, where it stands). Spread rows have their borders of zeros:
// they are `g.W` long where the image is `s.W`.
template <class T>
LaneRows<T> open_rows(const TapGrid& g, const TapGrid& s, const LaneGroups& l, const RowBlock& b, const T* x, Index v,
                      T* scratch) {
  const T* from = x + ((b.n * s.H + b.in_first) * s.W) * s.pixel + l.first_group(v) * s.C;
  if (l.in_place) return {from, b.in_first, s.W * s.pixel, s.pixel};
  IntVec<T> source[kHalfLanes<T>];
  for (Index u = 0; u < l.inputs; ++u) {
    for (int i = 0; i < kLanes<T>; ++i)
      source[u][i] = static_cast<int>(least(i / l.outputs, l.together - 1) * l.inputs + u);
  }
  const Index wide = s.C * kLanes<T>, row = g.W * wide;
  const Index begin = least(s.W, greatest(0, s.col_first)), end = greatest(begin, least(s.W, s.col_first + g.W));
  const Index before = least(g.W, greatest(0, -s.col_first));
  T* dst = scratch;
  for (Index i = 0; i < b.in_rows; ++i, dst += row, from += s.W * s.pixel) {
    fill_zero(dst, before * wide);
    spread(l, source, from + begin * s.pixel, end - begin, s.pixel, dst + before * wide);
    fill_zero(dst + (before + end - begin) * wide, row - (before + end - begin) * wide);
  }
  return {scratch, b.in_first, row, wide};
}
// The grid as the rows of a task show it.
LAMINA_INLINE TapGrid padded_grid(TapGrid g, const LaneGroups& l) {
  if (!l.in_place) g.W = g.span_w(), g.col_first = 0;
  return g;
}

template <class T>
void pack_lanes(const TapGrid& g, const LaneGroups& l, const TapFilters<T>& w, T* dst) {
  for (Index v = 0; v < l.vectors; ++v) {
    for (Index r = 0; r < g.row_taps; ++r) {
      for (Index s = 0; s < g.col_taps; ++s) {
        for (Index u = 0; u < l.inputs; ++u, dst += kLanes<T>) {
          const T* tap = w.data + l.first_group(v) * w.group + r * w.row + s * w.col + u * w.in;
          for (int i = 0; i < kLanes<T>; ++i)
            dst[i] = i < l.used() ? tap[i / l.outputs * w.group + i % l.outputs * w.out] : T(0);
        }
      }
    }
  }
}

// The taps of a tile and the steps between them.
struct LaneTaps {
  Index rows, columns, inputs;
  Index row, column, pixel;  // elements of the input from tap to tap, from output to output
  Index filter_row, out;     // of the filters from kernel row to kernel row; of y from output to output
  bool relu;
};

template <class T, int P>
LAMINA_INLINE void store_lanes(const LaneTaps& t, const Vec<T> (&acc)[P], int lanes, T* y) {
  LAMINA_UNROLL for (int i = 0; i < P; ++i) store_some(y + i * t.out, t.relu ? vrelu(acc[i]) : acc[i], lanes);
}

// P outputs of one row; kSpread: of several inputs, else of one.
template <class T, int P, bool kSpread>
void lane_tile(const LaneTaps& t, const T* x, const T* w, Vec<T> start, int lanes, T* y) {
  Vec<T> acc[P];
  LAMINA_UNROLL for (int i = 0; i < P; ++i) acc[i] = start;
  const Index inputs = kSpread ? t.inputs : 1, pixel = t.pixel;
  for (Index r = 0; r < t.rows; ++r, x += t.row, w += t.filter_row) {
    const T *at = x, *filter = w;
    for (Index s = 0; s < t.columns; ++s, at += t.column) {
      for (Index u = 0; u < inputs; ++u, filter += kLanes<T>) {
        const Vec<T> weight = load(filter);
        LAMINA_UNROLL for (int i = 0; i < P; ++i) acc[i] += load(at + u * kLanes<T> + i * pixel) * weight;
      }
    }
  }
  store_lanes<T, P>(t, acc, lanes, y);
}
// The same for kernel rows of K neighbouring taps and outputs of neighbouring pixels: what is loaded serves K outputs.
template <class T, int P, int K>
void lane_slide(const LaneTaps& t, const T* x, const T* w, Vec<T> start, int lanes, T* y) {
  Vec<T> acc[P];
  LAMINA_UNROLL for (int i = 0; i < P; ++i) acc[i] = start;
  const Index pixel = t.pixel, tap = t.inputs * kLanes<T>;
  for (Index r = 0; r < t.rows; ++r, x += t.row, w += t.filter_row) {
    for (Index u = 0; u < tap; u += kLanes<T>) {
      Vec<T> weight[K];
      LAMINA_UNROLL for (int s = 0; s < K; ++s) weight[s] = load(w + s * tap + u);
      LAMINA_UNROLL for (int j = 0; j < P + K - 1; ++j) {
        const Vec<T> here = load(x + u + j * pixel);
        LAMINA_UNROLL for (int s = 0; s < K; ++s) {
          if (j >= s && j - s < P) acc[j - s] += here * weight[s];
        }
      }
    }
  }
  store_lanes<T, P>(t, acc, lanes, y);
}

constexpr int kLaneOutputs = 8;  // of a tile at most
template <class T>
using LaneTileFn = void (*)(const LaneTaps&, const T*, const T*, Vec<T>, int, T*);
template <class T, int... P>
LAMINA_INLINE LaneTileFn<T> lane_tile_for(const LaneTaps& t, int outputs, std::integer_sequence<int, P...>) {
  static constexpr LaneTileFn<T> one[] = {&lane_tile<T, P + 1, false>...}, spread[] = {&lane_tile<T, P + 1, true>...},
                                 slide3[] = {&lane_slide<T, P + 1, 3>...}, slide5[] = {&lane_slide<T, P + 1, 5>...};
  const bool slides = t.column == t.pixel;
  return (slides && t.columns == 3   ? slide3
          : slides && t.columns == 5 ? slide5
          : t.inputs > 1             ? spread
                                     : one)[outputs - 1];
}

// Packed filters, the bias of all channels, and the image that is made.
template <class T>
struct LaneJob {
  const T *w, *bias;
  bool relu;
  T* y;
};

// Outputs [p, p + n) of row oh, of the vectors [v_begin, v_end); x is that of the first.
template <class T>
LAMINA_INLINE void lane_outputs(const TapGrid& g, const LaneGroups& l, const LaneRows<T>& x, const Inside& rows,
                                Index oh, const Columns& c, Index p, int n, Index v_begin, Index v_end,
                                const LaneJob<T>& job) {
  const Index filter_row = g.col_taps * g.C * kLanes<T>, columns = c.end - c.begin;
  const LaneTaps t{rows.count(), columns,   g.C,     g.row_step * x.row, g.col_step * x.pixel, g.step_w * x.pixel,
                   filter_row,   g.out_col, job.relu};
  const T* filter = job.w + rows.begin * filter_row + c.begin * g.C * kLanes<T>;
  const Index ih = rows.count() > 0 ? oh * g.step_h + g.row_first + rows.begin * g.row_step : x.first;
  const Index iw = columns > 0 ? p * g.step_w + g.col_first + c.begin * g.col_step : 0;
  const T* const at = x.at(ih, iw) - l.first_group(v_begin);
  const T* const next = at + rows.count() * t.row;
  T* const out = job.y + oh * g.out_row + p * g.out_col;
  const auto tile = lane_tile_for<T>(t, n, std::make_integer_sequence<int, kLaneOutputs>());
  for (Index v = v_begin; v < v_end; ++v) {
    const Index group = l.first_group(v), o = group * l.outputs;
    for (int i = 0; i < n; ++i) __builtin_prefetch(out + o + i * g.out_col + (l.in_place ? g.out_row : 0), 1);
    if (l.in_place) {  // too little arithmetic to wait for memory: the next row of outputs, and the input it adds
      for (Index r = 0; r < g.step_h; ++r)
        for (Index i = 0; i < n * g.step_w; ++i) __builtin_prefetch(next + group + r * x.row + i * x.pixel);
    }
    const Vec<T> start = job.bias ? load_some(job.bias + o, l.used()) : splat(T(0));
    tile(t, at + group, filter + v * g.row_taps * filter_row, start, l.used(), out + o);
  }
}

// A block. An image is read as it lies in memory, row by row; of spread rows, which are long, the few columns of a tile
// are followed down the block, for they stay in L1.
template <class T>
void lane_block(const TapGrid& g, const LaneGroups& l, const Cut& cut, const LaneRows<T>& x, const RowBlock& b,
                Index v_begin, Index v_end, const LaneJob<T>& job) {
  for (Index row = b.first; row < b.first + (l.in_place ? b.rows : 1); ++row) {
    for (const Columns& c : cut) {
      const Tiles tiles(c.count, kLaneOutputs);
      Index p = c.first;
      for (Index i = 0; i < tiles.count; p += tiles.rows(i), ++i) {
        for (Index oh = row; oh < (l.in_place ? row + 1 : b.first + b.rows); ++oh)
          lane_outputs(g, l, x, cut.row(oh), oh, c, p, tiles.rows(i), v_begin, v_end, job);
      }
    }
  }
}

// The whole convolution described by g, as direct_conv computes it. after: of blocks, where images stand as they are.
template <class T, class After = Nothing>
void lane_conv(const TapGrid& image, Index N, const T* x, const TapFilters<T>& filters, const T* bias, bool relu, T* y,
               After after = {}) {
  if (N == 0 || image.rows == 0 || image.cols == 0) return;
  const LaneGroups l = LaneGroups::of<T>(image);
  const TapGrid g = padded_grid(image, l);
  const Index packed_size = l.vectors * g.depth() * kLanes<T>;
  Buffer packed(sizeof(T) * static_cast<std::size_t>(packed_size));
  pack_lanes(g, l, filters, packed.as<T>());
  const Cut cut(g);
  const LaneBlocks blocks = LaneBlocks::of<T>(g, l, N);
  const Index together = l.in_place ? l.vectors : 1, shares = l.vectors / together;
  const double cost = 2.0 * static_cast<double>(blocks.rows * g.cols * together) *
                      static_cast<double>(kLanes<T> * greatest(g.depth(), static_cast<Index>(kByte)));
  const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(blocks.scratch_size<T>(g, l));
  parallel_for_scratch(N * blocks.count * shares, cost, bytes, [&](Index task, void* mine) {
    const RowBlock b = blocks.block(g, task / shares);
    const Index v = task % shares * together;
    const LaneRows<T> rows = open_rows(g, image, l, b, x, v, static_cast<T*>(mine));
    lane_block(g, l, cut, rows, b, v, v + together, {packed.as<T>(), bias, relu, y + b.n * g.out_image});
    if (l.in_place) after(b.n, b.first, b.rows);
  });
}

template <class T, class After = Nothing>
void conv2d_lanes(const Conv2dShape& s, const T* x, const T* w, const T* b, bool relu, T* y, After after = {}) {
  lane_conv(forward_grid(s), s.N, x, forward_filters(s, w), b, relu, y, after);
}
template <class T>
void conv2d_lanes_backward_input(const Conv2dShape& s, const T* dy, const T* w, const T* b, bool relu, T* dx) {
  for_phases(s, w, [&](const TapGrid& g, const TapFilters<T>& filters, Index origin) {
    lane_conv<T>(g, s.N, dy, filters, b, relu, dx + origin);
  });
}

}  // namespace
}  // namespace lamina
