// The textbook convolution: a matrix with one row for each output pixel and one column for each (r,s,c), then one
// product.
//
//   col[n,oh,ow][r,s,c] = x[n, oh*stride + r*dilation - padding, ow*..., c]       y = col w^T + b, or its relu
//   dcol = dy w, scattered back by col2im                                        dw = dy^T col
//
// Images are taken in chunks whose matrix stays below kColBytes. Tasks: output rows (im2col), images (col2im), blocks
// of the product (gemm).
#pragma once
#include "kernels/gemm.h"

namespace lamina {
namespace {

constexpr Index kColBytes = 16 << 20;
constexpr Index kScatterBytes = 128 << 10;  // of dcol: half of an L2 cache is left for the filters and the image

// The taps q of a kernel row that lie in the image, for the window that starts at column `left`.
struct TapRange {
  Index first, last;
};
LAMINA_INLINE TapRange taps_inside(const Conv2dShape& s, Index left) {
  const Index d = s.dilation_w;
  const Index first = left >= 0 ? 0 : least(s.KW, ceil_div(-left, d));
  const Index last = left >= s.W ? 0 : least(s.KW, (s.W - 1 - left) / d + 1);
  return {first, greatest(first, last)};
}
// Taps of one kernel row are one contiguous run, in the image as in the matrix.
LAMINA_INLINE bool taps_contiguous(const Conv2dShape& s) { return s.dilation_w == 1 && s.groups == 1; }

template <class T>
void im2col_row(const Conv2dShape& s, Index C, const T* image, Index oh, T* col) {
  for (Index ow = 0; ow < s.OW; ++ow) {
    const Index left = ow * s.stride_w - s.left;
    const TapRange taps = taps_inside(s, left);
    for (Index r = 0; r < s.KH; ++r, col += s.KW * C) {
      const Index ih = oh * s.stride_h + r * s.dilation_h - s.top;
      if (ih < 0 || ih >= s.H) {
        fill_zero(col, s.KW * C);
        continue;
      }
      const T* row = image + ih * s.W * s.C + left * s.C;
      fill_zero(col, taps.first * C);
      if (taps_contiguous(s)) {
        copy(row + taps.first * C, col + taps.first * C, (taps.last - taps.first) * C);
      } else {
        for (Index q = taps.first; q < taps.last; ++q) copy(row + q * s.dilation_w * s.C, col + q * C, C);
      }
      fill_zero(col + taps.last * C, (s.KW - taps.last) * C);
    }
  }
}

template <class T>
LAMINA_INLINE void add_to(const T* src, T* dst, Index n) {
  for_vectors<T>(0, n, [&](Index i, int lanes) LAMINA_STEP {
    store_some(dst + i, load_some(dst + i, lanes) + load_some(src + i, lanes), lanes);
  });
}

template <class T>
void col2im_row(const Conv2dShape& s, Index C, const T* col, Index oh, T* image) {
  for (Index ow = 0; ow < s.OW; ++ow) {
    const Index left = ow * s.stride_w - s.left;
    const TapRange taps = taps_inside(s, left);
    for (Index r = 0; r < s.KH; ++r, col += s.KW * C) {
      const Index ih = oh * s.stride_h + r * s.dilation_h - s.top;
      if (ih < 0 || ih >= s.H) continue;
      T* row = image + ih * s.W * s.C + left * s.C;
      if (taps_contiguous(s)) {
        add_to(col + taps.first * C, row + taps.first * C, (taps.last - taps.first) * C);
      } else {
        for (Index q = taps.first; q < taps.last; ++q) add_to(col + q * C, row + q * s.dilation_w * s.C, C);
      }
    }
  }
}

template <class T>
void im2col(const Conv2dShape& s, Index group, Index n0, Index images, const T* x, T* col) {
  const Index C = s.C / s.groups, K = s.KH * s.KW * C;
  parallel_for(images * s.OH, kByte * 2 * sizeof(T) * static_cast<double>(s.OW * K), [&](Index task) {
    const Index n = n0 + task / s.OH, oh = task % s.OH;
    im2col_row(s, C, x + n * s.H * s.W * s.C + group * C, oh, col + task * s.OW * K);
  });
}

template <class T>
Index im2col_images(const Conv2dShape& s) {
  const Index bytes = s.OH * s.OW * s.KH * s.KW * (s.C / s.groups) * static_cast<Index>(sizeof(T));
  return greatest(1, least(s.N, kColBytes / greatest(bytes, 1)));
}

template <class T>
void conv2d_im2col(const Conv2dShape& s, const T* x, const T* w, const T* b, bool relu, T* y) {
  const Index K = s.KH * s.KW * (s.C / s.groups), O = s.O / s.groups, pixels = s.OH * s.OW, step = im2col_images<T>(s);
  Buffer col(sizeof(T) * static_cast<std::size_t>(step * pixels * K));
  for (Index group = 0; group < s.groups; ++group) {
    for (Index n = 0; n < s.N; n += step) {
      const Index images = least(step, s.N - n);
      im2col(s, group, n, images, x, col.as<T>());
      gemm<T>(images * pixels, O, K, {col.as<T>(), K, 1}, {w + group * O * K, 1, K}, y + n * pixels * s.O + group * O,
              s.O, b ? b + group * O : nullptr, false, relu);
    }
  }
}

// w (O,K) packed for dcol = dy w, kDepth filters at a time.
template <class T>
void pack_slices(Index O, Index K, const T* w, T* packed) {
  for (Index o = 0; o < O; o += kDepth) {
    const Index depth = least(kDepth, O - o);
    pack_b<T>({w + o * K, K, 1}, depth, K, packed + panel_count<T>(K) * kPanel<T> * o);
  }
}

// An image is one task, for neighbouring windows write the same pixels. Its dcol is made some output rows at a time and
// scattered while it is in cache.
template <class T>
void conv2d_im2col_backward_input(const Conv2dShape& s, const T* dy, const T* w, const T* bias, bool relu, T* dx) {
  const Index C = s.C / s.groups, K = s.KH * s.KW * C, O = s.O / s.groups, panels = panel_count<T>(K);
  const Index packed_size = panels * kPanel<T> * O, row = s.OW * K;
  const Index rows = greatest(1, least(s.OH, kScatterBytes / greatest(1, row * static_cast<Index>(sizeof(T)))));
  Buffer packed(sizeof(T) * static_cast<std::size_t>(s.groups * packed_size));
  for (Index g = 0; g < s.groups; ++g) pack_slices(O, K, w + g * O * K, packed.as<T>() + g * packed_size);
  const double cost = 3.0 * static_cast<double>(s.OH * row) * static_cast<double>(s.O);
  parallel_for_scratch(s.N, cost, sizeof(T) * static_cast<std::size_t>(rows * row), [&](Index n, void* mine) {
    T* const col = static_cast<T*>(mine);
    T* const image = dx + n * s.H * s.W * s.C;
    if (!bias) fill_zero(image, s.H * s.W * s.C);
    for (Index pixel = 0; bias && pixel < s.H * s.W; ++pixel) copy(bias, image + pixel * s.C, s.C);
    for (Index g = 0; g < s.groups; ++g) {
      for (Index oh = 0; oh < s.OH; oh += rows) {
        const Index here = least(rows, s.OH - oh);
        const T* grad = dy + (n * s.OH + oh) * s.OW * s.O + g * O;
        for (Index o = 0; o < O; o += kDepth) {
          const T* b = packed.as<T>() + g * packed_size + panels * kPanel<T> * o;
          const GemmSlice<T> slice{b, {grad + o, s.O, 1}, ReadA::kRows, least(kDepth, O - o)};
          gemm_block<T>(slice, 0, here * s.OW, 0, panels, K, col, K, nullptr, o > 0);
        }
        for (Index r = 0; r < here; ++r) col2im_row(s, C, col + r * row, oh + r, image + g * C);
      }
    }
    if (relu)
      for_vectors<T>(0, s.H * s.W * s.C, [&](Index i, int lanes) LAMINA_STEP {
        store_some(image + i, vrelu(load_some(image + i, lanes)), lanes);
      });
  });
}

template <class T>
void conv2d_im2col_backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw) {
  const Index K = s.KH * s.KW * (s.C / s.groups), O = s.O / s.groups, pixels = s.OH * s.OW, step = im2col_images<T>(s);
  Buffer col(sizeof(T) * static_cast<std::size_t>(step * pixels * K));
  for (Index group = 0; group < s.groups; ++group) {
    if (s.N == 0) fill_zero(dw + group * O * K, O * K);
    for (Index n = 0; n < s.N; n += step) {
      const Index images = least(step, s.N - n);
      im2col(s, group, n, images, x, col.as<T>());
      gemm<T>(O, K, images * pixels, {dy + n * pixels * s.O + group * O, 1, s.O}, {col.as<T>(), K, 1},
              dw + group * O * K, K, nullptr, n > 0);
    }
  }
}

}  // namespace
}  // namespace lamina
