// Convolution with weights of their own at every place (LeCun 1989), w (OH,OW,O,KH,KW,C) and b (OH,OW,O) or null:
//
//   y[n,oh,ow,o] = b[oh,ow,o] + col . w[oh,ow,o]     col: the window of image n at (oh, ow), K = KH KW C numbers
//   dcol = sum over o of dy w[o], added into dx      dw[oh,ow,o] = sum over n of dy col
//
// Each weight is read once for a block of images. Tasks: output rows; for dx, blocks of images.
#pragma once
#include <type_traits>

#include "kernels/im2col.h"

namespace lamina {
namespace {

constexpr Index kLocalBytes = 256 << 10;  // of windows at a time: they stay in the second-level cache
constexpr int kLocalImages = 4;           // that share a load of the weights

// f(pointer to each of `count` <= kLocalImages images, as a constant count)
template <class F>
LAMINA_INLINE void for_images(Index n, F&& f) {
  Index i = 0;
  for (; i + kLocalImages <= n; i += kLocalImages) f(i, std::integral_constant<int, kLocalImages>{});
  for (; i < n; ++i) f(i, std::integral_constant<int, 1>{});
}

// f(oh, first image, images, windows): the windows (images, OW, K) of an output row, a block of images at a time.
template <class T, class F>
void for_windows(const Conv2dShape& s, const T* x, F&& f) {
  const Index K = s.KH * s.KW * s.C, row = s.OW * K;
  const Index block = greatest(1, least(s.N, kLocalBytes / (row * static_cast<Index>(sizeof(T)))));
  parallel_for_scratch(s.OH, 2 * static_cast<double>(s.N * row * s.O),
                       sizeof(T) * static_cast<std::size_t>(block * row), [&](Index oh, void* scratch) {
                         T* const col = static_cast<T*>(scratch);
                         for (Index n = 0; n < s.N; n += block) {
                           const Index images = least(block, s.N - n);
                           for (Index i = 0; i < images; ++i)
                             im2col_row(s, s.C, x + (n + i) * s.H * s.W * s.C, oh, col + i * row);
                           f(oh, n, images, col);
                         }
                       });
}

template <class T>
void locally_connected2d(const Conv2dShape& s, const T* x, const T* w, const T* b, T* y) {
  const Index K = s.KH * s.KW * s.C, row = s.OW * K, plane = s.OH * s.OW * s.O;
  for_windows<T>(s, x, [&](Index oh, Index n, Index images, const T* col) {
    for (Index at = oh * s.OW * s.O; at < (oh + 1) * s.OW * s.O; ++at) {
      const T* const window = col + (at / s.O - oh * s.OW) * K;
      for_images(images, [&](Index i, auto count) LAMINA_STEP {
        constexpr int NI = decltype(count)::value;
        Vec<T> sum[NI];
        LAMINA_UNROLL for (int j = 0; j < NI; ++j) sum[j] = splat(T(0));
        for_vectors<T>(0, K, [&](Index k, int lanes) LAMINA_STEP {
          const Vec<T> weight = load_some(w + at * K + k, lanes);
          LAMINA_UNROLL for (int j = 0; j < NI; ++j) sum[j] += weight * load_some(window + (i + j) * row + k, lanes);
        });
        LAMINA_UNROLL for (int j = 0; j < NI; ++j) y[(n + i + j) * plane + at] = hsum<T>(sum[j]) + (b ? b[at] : T(0));
      });
    }
  });
}

template <class T>
void locally_connected2d_backward_input(const Conv2dShape& s, const T* dy, const T* w, T* dx) {
  const Index K = s.KH * s.KW * s.C, row = s.OW * K, plane = s.OH * s.OW * s.O, image = s.H * s.W * s.C;
  parallel_for_scratch(
      ceil_div(s.N, kLocalImages), 2.0 * kLocalImages * static_cast<double>(plane * K),
      sizeof(T) * static_cast<std::size_t>(kLocalImages * row), [&](Index task, void* scratch) {
        const Index first = task * kLocalImages;
        T* const col = static_cast<T*>(scratch);
        for_images(least(kLocalImages, s.N - first), [&](Index i, auto count) LAMINA_STEP {
          constexpr int NI = decltype(count)::value;
          const Index n = first + i;
          fill_zero(dx + n * image, NI * image);
          for (Index oh = 0; oh < s.OH; ++oh) {
            for (Index ow = 0; ow < s.OW; ++ow) {
              const Index at = (oh * s.OW + ow) * s.O;
              for_vectors<T>(0, K, [&](Index k, int lanes) LAMINA_STEP {
                Vec<T> sum[NI];
                LAMINA_UNROLL for (int j = 0; j < NI; ++j) sum[j] = splat(T(0));
                for (Index o = at; o < at + s.O; ++o) {
                  const Vec<T> weight = load_some(w + o * K + k, lanes);
                  LAMINA_UNROLL for (int j = 0; j < NI; ++j) sum[j] += splat(dy[(n + j) * plane + o]) * weight;
                }
                LAMINA_UNROLL for (int j = 0; j < NI; ++j) store_some(col + j * row + ow * K + k, sum[j], lanes);
              });
            }
            for (int j = 0; j < NI; ++j) col2im_row(s, s.C, col + j * row, oh, dx + (n + j) * image);
          }
        });
      });
}

template <class T>
void locally_connected2d_backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw) {
  const Index K = s.KH * s.KW * s.C, row = s.OW * K, plane = s.OH * s.OW * s.O;
  if (s.N == 0) return fill_zero(dw, plane * K);
  for_windows<T>(s, x, [&](Index oh, Index n, Index images, const T* col) {
    for (Index at = oh * s.OW * s.O; at < (oh + 1) * s.OW * s.O; ++at) {
      const T* const window = col + (at / s.O - oh * s.OW) * K;
      for_vectors<T>(0, K, [&](Index k, int lanes) LAMINA_STEP {
        Vec<T> sum = n == 0 ? splat(T(0)) : load_some(dw + at * K + k, lanes);
        for (Index i = 0; i < images; ++i)
          sum += splat(dy[(n + i) * plane + at]) * load_some(window + i * row + k, lanes);
        store_some(dw + at * K + k, sum, lanes);
      });
    }
  });
}

}  // namespace
}  // namespace lamina
