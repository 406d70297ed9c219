// Direct convolution, backward to the filters and the bias, NHWC.
//
//   dw[o,r,s,c] = sum over n,oh,ow:  dy[n,oh,ow,o]  x[n, oh*stride + r*dilation - padding, ow*..., c]        db[o] =
//   sum dy
//
// A tile of (r,s,c) times output channels stays in registers while the pixels of a block (rows of an image, or several
// small images) pass by: outer_tile. dy is packed to [pixel][panel column]; the input is read where it stands. Where
// taps reach beyond it, a tile belongs to one tap and only the pixels that the tap meets pass by; of few channels a tile
// goes across taps, and the block is copied with its zeros. How it is cut: weight_plan.h; a share is (group, panel), its
// partial result [r,s,c][column].
#pragma once
#include "kernels/conv_direct.h"
#include "kernels/weight_plan.h"

namespace lamina {
namespace {

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

// The plan of a direct one, for which a chunk's sums take chunk_size elements.
template <class T>
WeightPlan direct_plan(const Conv2dShape& s, const TapGrid& g, Index shares, Index chunk_size) {
  constexpr Index kSmallPartials = 1 << 20;    // for which there may be as many chunks as fit
  constexpr Index kGradientBytes = 256 << 10;  // of dy in a part
  const Index item = static_cast<Index>(sizeof(T)), row_bytes = greatest(1, item * g.span_w() * g.C * g.step_h),
              out_bytes = greatest(1, item * s.OW * s.O);
  const Index fit = greatest(1, least(kBlockBytes / row_bytes, kGradientBytes / out_bytes));
  const Index most = greatest(1, least(kMostChunks, kPartialBytes / (chunk_size * item)));
  const Index chunks = least(most, greatest(ceil_div(2 * kMostChunks, shares), kSmallPartials / (chunk_size * item)));
  const Index rows = ceil_div(s.OH, ceil_div(s.OH, fit));
  return {s.N, s.OH, rows, rows < s.OH ? 1 : greatest(1, least(ceil_div(s.N, chunks), fit / s.OH)), chunks};
}

// The sums of all chunks and shares, and then of all chunks.
template <class T>
class DirectFilterSums {
 public:
  explicit DirectFilterSums(const Conv2dShape& s)
      : s_(s),
        g_(forward_grid(s)),
        C_(s.C / s.groups),
        O_(s.O / s.groups),
        panels_(panel_count<T>(O_)),
        depth_(g_.depth()),
        width_(panels_ * kPanel<T>),
        size_(s.groups * width_ * depth_),
        in_place_(g_.inside()),
        by_taps_(!in_place_ && C_ >= kMaxRows),
        plan(direct_plan<T>(s, g_, s.groups * panels_, size_)),
        partial_(sizeof(T) * static_cast<std::size_t>(plan.chunks * (size_ + s.groups * width_))) {}

  Index shares() const { return s_.groups * panels_; }
  double cost() const {  // of a share of a chunk
    return 2.0 * static_cast<double>(s_.N * s_.OH * s_.OW) * static_cast<double>(s_.O * depth_) /
           static_cast<double>(plan.chunks * shares());
  }
  std::size_t scratch_bytes() const {
    return static_cast<std::size_t>(window_end()) + sizeof(Index) * static_cast<std::size_t>(depth_);
  }
  void clear(Index chunk, Index share) const {
    fill_zero(sums(chunk, share), depth_ * panel(share));
    fill_zero(bias_sums(chunk, share), kPanel<T>);
  }
  // dy is the part's own.
  void add(Index chunk, Index share, const ImagePart& part, const T* dy, const T* x, void* scratch) const {
    const Index group = share / panels_, j = group * O_ + share % panels_ * kPanel<T>, pixels = part.rows * s_.OW;
    const int width = panel(share);
    T *const slab = static_cast<T*>(scratch), *const windows = slab + slab_size(), *const w = sums(chunk, share);
    for (Index i = 0; i < part.images; ++i)
      pack_gradient(dy + i * pixels * s_.O + j, pixels, s_.O, columns(share), width, slab + i * pixels * width,
                    bias_sums(chunk, share));
    const Index image_size = s_.H * s_.W * s_.C;
    const T* const image = x + part.n0 * image_size;
    if (by_taps_)
      return outer_block_by_taps(g_, image + group * C_, part.images, part.first, part.rows, slab, width, w);
    Window<T> here{};
    for (Index i = part.images - 1; i >= 0; --i)
      here = open_window(g_, image + i * image_size, group, part.first, part.rows, in_place_, windows + i * window());
    Index* const offset = reinterpret_cast<Index*>(static_cast<char*>(scratch) + window_end());
    input_offsets(g_, here, offset);
    const PixelWalk walk{part.images,
                         part.rows,
                         s_.OW,
                         in_place_ ? image_size : window(),
                         g_.step_h * here.row,
                         g_.step_w * here.pixel,
                         pixels * width,
                         s_.OW * width};
    outer_block(g_, here, walk, offset, slab, width, w);
  }
  void finish(T* dw, T* db) const {
    const Index chunks = plan.chunks;
    parallel_for(shares(), kByte * static_cast<double>(chunks * depth_ * kPanel<T>) * sizeof(T), [&](Index share) {
      const Index group = share / panels_, j = group * O_ + share % panels_ * kPanel<T>;
      reduce_panel(sums(0, share), chunks, size_, depth_, columns(share), panel(share), dw + j * depth_);
      for (int i = 0; i < columns(share); ++i) {
        T sum = 0;
        for (Index c = 0; c < chunks; ++c) sum += bias_sums(c, share)[i];
        db[j + i] = sum;
      }
    });
  }

 private:
  int panel(Index share) const { return panel_width<T>(O_, share % panels_); }
  int columns(Index share) const { return static_cast<int>(least(O_ - share % panels_ * kPanel<T>, kPanel<T>)); }
  T* sums(Index chunk, Index share) const {
    return partial_.as<T>() + chunk * size_ + share / panels_ * width_ * depth_ +
           panel_offset<T>(share % panels_, depth_);
  }
  T* bias_sums(Index chunk, Index share) const {
    return partial_.as<T>() + plan.chunks * size_ + (chunk * shares() + share) * kPanel<T>;
  }
  Index window() const { return in_place_ || by_taps_ ? 0 : g_.span_h(plan.rows) * g_.span_w() * C_; }
  Index slab_size() const { return plan.images * plan.rows * s_.OW * kPanel<T>; }
  Index window_end() const {
    return ceil_div((slab_size() + plan.images * window()) * static_cast<Index>(sizeof(T)), kAlignment) *
           static_cast<Index>(kAlignment);
  }
  Conv2dShape s_;
  TapGrid g_;
  Index C_, O_, panels_, depth_, width_, size_;
  bool in_place_, by_taps_;

 public:
  const WeightPlan plan;

 private:
  Buffer partial_;
};

template <class T>
void conv2d_direct_backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw, T* db) {
  backward_weight<T, DirectFilterSums<T>>(s, dy, x, dw, db);
}

}  // namespace
}  // namespace lamina
