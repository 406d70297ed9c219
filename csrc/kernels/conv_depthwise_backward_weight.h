// Convolution of groups of few channels, backward to the filters and the bias: see conv_depthwise.h.
//
//   dw[o,r,s,u] = sum over n,oh,ow:  dy[n,oh,ow,o]  x[n, oh*stride + r*dilation - padding, ow*..., group(o) * U + u]
//   db[o] = sum dy
//
// The sums of some taps of a kernel row stay in registers while the pixels of a row pass by. How it is cut: weight_plan.h; of spread
// rows, one vector is a share.
#pragma once
#include "kernels/conv_depthwise.h"
#include "kernels/weight_plan.h"

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

// The sums of all chunks and shares, a vector each of spread rows, and then of all chunks.
template <class T>
class LaneFilterSums {
 public:
  explicit LaneFilterSums(const Conv2dShape& s)
      : image_(forward_grid(s)),
        l_(LaneGroups::of<T>(image_)),
        g_(padded_grid(image_, l_)),
        cut_(g_),
        blocks_(LaneBlocks::of<T>(g_, l_, greatest(1, s.N), kMostChunks)),
        together_(l_.in_place ? l_.vectors : 1),
        size_((g_.depth() + 1) * kLanes<T>),
        plan(s.N, s.OH, blocks_.rows, images(s), kMostChunks),
        partial_(sizeof(T) * static_cast<std::size_t>(plan.chunks * l_.vectors * size_)) {}

  Index shares() const { return l_.vectors / together_; }
  double cost() const {  // of a share of a chunk
    return 2.0 * static_cast<double>(plan.parts_of_chunk() * plan.images * blocks_.rows * g_.cols * together_) *
           static_cast<double>(size_);
  }
  std::size_t scratch_bytes() const { return sizeof(T) * static_cast<std::size_t>(blocks_.scratch_size<T>(g_, l_)); }
  void clear(Index chunk, Index share) const { fill_zero(sums(chunk, share * together_), together_ * size_); }
  // dy is the part's own.
  void add(Index chunk, Index share, const ImagePart& part, const T* dy, const T* x, void* scratch) const {
    const Index v = share * together_;
    for (Index i = 0; i < part.images; ++i) {
      const RowBlock b = blocks_.block(g_, (part.n0 + i) * blocks_.count + part.first / blocks_.rows);
      const LaneRows<T> rows = open_rows(g_, image_, l_, b, x, v, static_cast<T*>(scratch));
      lane_block_sums(g_, l_, cut_, rows, b, v, v + together_, dy + i * g_.out_image - b.first * g_.out_row,
                      sums(chunk, v));
    }
  }
  void finish(T* dw, T* db) const {
    parallel_for(l_.vectors, kByte * static_cast<double>(plan.chunks * size_) * sizeof(T), [&](Index v) {
      constexpr int W = kLanes<T>;
      T* const total = sums(0, v);
      for (Index i = 0; i < size_; i += W) {
        Vec<T> sum = load(total + i);
        for (Index chunk = 1; chunk < plan.chunks; ++chunk) sum += load(sums(chunk, v) + i);
        store(total + i, sum);
      }
      const Index o = l_.first_group(v) * l_.outputs, depth = g_.depth();
      // What a vector shares with the one before is written by that alone.
      const Index begin = v > 0 ? l_.first_group(v - 1) * l_.outputs + l_.used() - o : 0;
      for (Index i = begin; i < l_.used(); ++i) {
        for (Index t = 0; t < depth; ++t) dw[(o + i) * depth + t] = total[t * W + i];
        db[o + i] = total[depth * W + i];
      }
    });
  }

 private:
  // [tap][lane], the last tap that of the bias
  T* sums(Index chunk, Index v) const { return partial_.as<T>() + (chunk * l_.vectors + v) * size_; }
  Index images(const Conv2dShape& s) const {
    const Index bytes = static_cast<Index>(sizeof(T)) * greatest(s.H * s.W * s.C, s.OH * s.OW * s.O);
    return blocks_.count > 1 ? 1 : greatest(1, least(ceil_div(s.N, kMostChunks), kBlockBytes / bytes));
  }
  TapGrid image_;
  LaneGroups l_;
  TapGrid g_;
  Cut cut_;
  LaneBlocks blocks_;
  Index together_, size_;

 public:
  const WeightPlan plan;

 private:
  Buffer partial_;
};

template <class T>
void conv2d_lanes_backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw, T* db) {
  backward_weight<T, LaneFilterSums<T>>(s, dy, x, dw, db);
}

}  // namespace
}  // namespace lamina
