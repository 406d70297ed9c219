// The textbook convolution: a matrix with one row for each output pixel and one column for each (r,s,c), then one product.
//
//   col[n,oh,ow][r,s,c] = x[n, oh*stride + r*dilation - padding, ow*..., c]       y = col w^T + b
//   dcol = dy w, scattered back by col2im                                        dw = dy^T col
//
// Images are taken in chunks whose matrix stays below kColBytes. Tasks: output rows (im2col), images (col2im), blocks of the
// product (gemm).
#pragma once
#include "kernels/gemm.h"

namespace lamina {
namespace {

constexpr Index kColBytes = 16 << 20;

template <class T>
void im2col_row(const Conv2dShape& s, Index C, const T* image, Index oh, T* col) {
  for (Index ow = 0; ow < s.OW; ++ow) {
    const Index left = ow * s.stride_w - s.left;
    const bool whole = s.dilation_w == 1 && C == s.C && left >= 0 && left + s.KW <= s.W;
    for (Index r = 0; r < s.KH; ++r, col += s.KW * C) {
      const Index ih = oh * s.stride_h + r * s.dilation_h - s.top;
      if (ih < 0 || ih >= s.H) {
        fill_zero(col, s.KW * C);
        continue;
      }
      const T* row = image + ih * s.W * s.C;
      if (whole) {
        copy(row + left * s.C, col, s.KW * C);
        continue;
      }
      for (Index q = 0; q < s.KW; ++q) {
        const Index iw = left + q * s.dilation_w;
        if (iw < 0 || iw >= s.W) fill_zero(col + q * C, C);
        else copy(row + iw * s.C, col + q * C, C);
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
void col2im(const Conv2dShape& s, Index group, Index n0, Index images, const T* col, T* dx) {
  const Index C = s.C / s.groups, K = s.KH * s.KW * C;
  parallel_for(images, kByte * 3 * sizeof(T) * static_cast<double>(s.OH * s.OW * K), [&](Index image) {
    const T* c = col + image * s.OH * s.OW * K;
    T* base = dx + (n0 + image) * s.H * s.W * s.C + group * C;
    for (Index oh = 0; oh < s.OH; ++oh) {
      for (Index ow = 0; ow < s.OW; ++ow) {
        for (Index r = 0; r < s.KH; ++r) {
          for (Index q = 0; q < s.KW; ++q, c += C) {
            const Index ih = oh * s.stride_h + r * s.dilation_h - s.top, iw = ow * s.stride_w + q * s.dilation_w - s.left;
            if (ih < 0 || ih >= s.H || iw < 0 || iw >= s.W) continue;
            T* out = base + (ih * s.W + iw) * s.C;
            for_vectors<T>(0, C, [&](Index i, int n) { store_some(out + i, load_some(out + i, n) + load_some(c + i, n), n); });
          }
        }
      }
    }
  });
}

template <class T>
Index im2col_images(const Conv2dShape& s) {
  const Index bytes = s.OH * s.OW * s.KH * s.KW * (s.C / s.groups) * static_cast<Index>(sizeof(T));
  return greatest(1, least(s.N, kColBytes / greatest(bytes, 1)));
}

template <class T>
void conv2d_im2col(const Conv2dShape& s, const T* x, const T* w, const T* b, T* y) {
  const Index K = s.KH * s.KW * (s.C / s.groups), O = s.O / s.groups, pixels = s.OH * s.OW, step = im2col_images<T>(s);
  Buffer col(sizeof(T) * static_cast<std::size_t>(step * pixels * K));
  for (Index group = 0; group < s.groups; ++group) {
    for (Index n = 0; n < s.N; n += step) {
      const Index images = least(step, s.N - n);
      im2col(s, group, n, images, x, col.as<T>());
      gemm<T>(images * pixels, O, K, {col.as<T>(), K, 1}, {w + group * O * K, 1, K}, y + n * pixels * s.O + group * O, s.O,
              b ? b + group * O : nullptr, false);
    }
  }
}

template <class T>
void conv2d_im2col_backward_input(const Conv2dShape& s, const T* dy, const T* w, T* dx) {
  const Index K = s.KH * s.KW * (s.C / s.groups), O = s.O / s.groups, pixels = s.OH * s.OW, step = im2col_images<T>(s);
  Buffer col(sizeof(T) * static_cast<std::size_t>(step * pixels * K));
  parallel_blocks(s.N * s.H * s.W * s.C, 1 << 14, kByte * sizeof(T), [&](Index i, Index end) { fill_zero(dx + i, end - i); });
  for (Index group = 0; group < s.groups; ++group) {
    for (Index n = 0; n < s.N; n += step) {
      const Index images = least(step, s.N - n);
      gemm<T>(images * pixels, K, O, {dy + n * pixels * s.O + group * O, s.O, 1}, {w + group * O * K, K, 1}, col.as<T>(), K, nullptr, false);
      col2im(s, group, n, images, col.as<T>(), dx);
    }
  }
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
      gemm<T>(O, K, images * pixels, {dy + n * pixels * s.O + group * O, 1, s.O}, {col.as<T>(), K, 1}, dw + group * O * K, K, nullptr, n > 0);
    }
  }
}

}  // namespace
}  // namespace lamina
