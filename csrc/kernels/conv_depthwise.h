// Depthwise convolution (groups = C = O): one filter a channel, vectors across the channels, no packing but the
// filters' (r,s) order: w[r,s][c]. It is bound by memory, not by arithmetic.
//
//   y[n,oh,ow,c] = b[c] + sum over r,s:  x[n, oh*stride + r*dilation - padding, ow*..., c]  w[r,s][c]
//
// Tasks: output rows (forward), input rows (backward to the input: each pixel gathers the outputs it fed), chunks of
// images with partial sums added in order (backward to the filters).
#pragma once
#include "common/parallel.h"
#include "simd/vec.h"

namespace lamina {
namespace {

template <class T>
void turn_filters(const Conv2dShape& s, const T* w, T* turned) {
  const Index taps = s.KH * s.KW;
  for (Index c = 0; c < s.C; ++c)
    for (Index t = 0; t < taps; ++t) turned[t * s.C + c] = w[c * taps + t];
}

template <class T>
void conv2d_depthwise(const Conv2dShape& s, const T* x, const T* w, const T* b, T* y) {
  Buffer turned(sizeof(T) * static_cast<std::size_t>(s.KH * s.KW * s.C));
  turn_filters(s, w, turned.as<T>());
  const double cost = 2.0 * kByte * static_cast<double>(s.OW * s.C * s.KH * s.KW);
  parallel_for(s.N * s.OH, cost, [&](Index task) {
    const Index n = task / s.OH, oh = task % s.OH;
    for (Index ow = 0; ow < s.OW; ++ow) {
      T* out = y + (task * s.OW + ow) * s.C;
      for_vectors<T>(0, s.C, [&](Index c, int lanes) LAMINA_STEP {
        Vec<T> sum = b ? load_some(b + c, lanes) : splat(T(0));
        for (Index r = 0; r < s.KH; ++r) {
          const Index ih = oh * s.stride_h + r * s.dilation_h - s.top;
          if (ih < 0 || ih >= s.H) continue;
          for (Index q = 0; q < s.KW; ++q) {
            const Index iw = ow * s.stride_w + q * s.dilation_w - s.left;
            if (iw < 0 || iw >= s.W) continue;
            sum += load_some(x + ((n * s.H + ih) * s.W + iw) * s.C + c, lanes) *
                   load_some(turned.as<T>() + (r * s.KW + q) * s.C + c, lanes);
          }
        }
        store_some(out + c, sum, lanes);
      });
    }
  });
}

template <class T>
void conv2d_depthwise_backward_input(const Conv2dShape& s, const T* dy, const T* w, T* dx) {
  Buffer turned(sizeof(T) * static_cast<std::size_t>(s.KH * s.KW * s.C));
  turn_filters(s, w, turned.as<T>());
  const double cost = 2.0 * kByte * static_cast<double>(s.W * s.C * s.KH * s.KW);
  parallel_for(s.N * s.H, cost, [&](Index task) {
    const Index n = task / s.H, ih = task % s.H;
    for (Index iw = 0; iw < s.W; ++iw) {
      T* out = dx + (task * s.W + iw) * s.C;
      for_vectors<T>(0, s.C, [&](Index c, int lanes) LAMINA_STEP {
        Vec<T> sum = splat(T(0));
        for (Index r = 0; r < s.KH; ++r) {
          const Index top = ih + s.top - r * s.dilation_h, oh = top / s.stride_h;
          if (top < 0 || top % s.stride_h != 0 || oh >= s.OH) continue;
          for (Index q = 0; q < s.KW; ++q) {
            const Index left = iw + s.left - q * s.dilation_w, ow = left / s.stride_w;
            if (left < 0 || left % s.stride_w != 0 || ow >= s.OW) continue;
            sum += load_some(dy + ((n * s.OH + oh) * s.OW + ow) * s.C + c, lanes) *
                   load_some(turned.as<T>() + (r * s.KW + q) * s.C + c, lanes);
          }
        }
        store_some(out + c, sum, lanes);
      });
    }
  });
}

template <class T>
void conv2d_depthwise_backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw, T* db) {
  const Index taps = s.KH * s.KW, rows = taps + 1;  // the last row is the bias
  const Index units = s.N * s.OH, chunks = greatest(1, least(units, 16));
  Buffer partial_buffer(sizeof(T) * static_cast<std::size_t>(chunks * rows * s.C));
  T* const partial = partial_buffer.as<T>();
  const double cost =
      2.0 * kByte * static_cast<double>(units * s.OW) * static_cast<double>(s.C * rows) / static_cast<double>(chunks);
  parallel_for(chunks, cost, [&](Index chunk) {
    T* const sums = partial + chunk * rows * s.C;
    fill_zero(sums, rows * s.C);
    for (Index unit = chunk * units / chunks; unit < (chunk + 1) * units / chunks; ++unit) {
      const Index n = unit / s.OH, oh = unit % s.OH;
      const T* grad = dy + unit * s.OW * s.C;
      for_vectors<T>(0, s.C, [&](Index c, int lanes) LAMINA_STEP {
        Vec<T> sum = load_some(sums + taps * s.C + c, lanes);
        for (Index ow = 0; ow < s.OW; ++ow) sum += load_some(grad + ow * s.C + c, lanes);
        store_some(sums + taps * s.C + c, sum, lanes);
        for (Index r = 0; r < s.KH; ++r) {
          const Index ih = oh * s.stride_h + r * s.dilation_h - s.top;
          if (ih < 0 || ih >= s.H) continue;
          for (Index q = 0; q < s.KW; ++q) {
            T* const tap = sums + (r * s.KW + q) * s.C + c;
            Vec<T> acc = load_some(tap, lanes);
            for (Index ow = 0; ow < s.OW; ++ow) {
              const Index iw = ow * s.stride_w + q * s.dilation_w - s.left;
              if (iw < 0 || iw >= s.W) continue;
              acc +=
                  load_some(grad + ow * s.C + c, lanes) * load_some(x + ((n * s.H + ih) * s.W + iw) * s.C + c, lanes);
            }
            store_some(tap, acc, lanes);
          }
        }
      });
    }
  });
  for (Index t = 0; t < rows; ++t) {
    for (Index c = 0; c < s.C; ++c) {
      T sum = 0;
      for (Index chunk = 0; chunk < chunks; ++chunk) sum += partial[(chunk * rows + t) * s.C + c];
      (t < taps ? dw[c * taps + t] : db[c]) = sum;
    }
  }
}

}  // namespace
}  // namespace lamina
