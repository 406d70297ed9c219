// Max and mean pooling over windows of NHWC images, vectors across the channels.
//
//   max:   y = the greatest x of the window that lies in the image; argmax = its offset kh*KW+kw (first of equals; first NaN)
//   mean:  y = sum / divisor; the divisor counts the padding or not, but never what lies beyond it (ceil_mode)
//
// Backward gathers: each input pixel asks the windows that cover it, in order, so nothing is zeroed first and overlapping
// windows need no atomics. Tasks: output rows forward, input rows backward.
#pragma once
#include "common/parallel.h"
#include "simd/vec.h"

namespace lamina {
namespace {

template <class T, class Code>
struct CodeVec {
  typedef Code type __attribute__((vector_size(sizeof(Code) * kLanes<T>), aligned(1), may_alias));
};
template <class T, class Code>
LAMINA_INLINE void store_code(Code* p, IntVec<T> v, int n) {
  if (n == kLanes<T>) {
    *reinterpret_cast<typename CodeVec<T, Code>::type*>(p) = __builtin_convertvector(v, typename CodeVec<T, Code>::type);
  } else {
    for (int i = 0; i < n; ++i) p[i] = static_cast<Code>(v[i]);
  }
}
template <class T, class Code>
LAMINA_INLINE IntVec<T> load_code(const Code* p, int n) {
  if (n == kLanes<T>)
    return __builtin_convertvector(*reinterpret_cast<const typename CodeVec<T, Code>::type*>(p), IntVec<T>);
  IntVec<T> v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}

// The part of a window, or of the windows over a pixel, that exists: first..last-1.
struct Range {
  Index first, last;
};
LAMINA_INLINE Range window_range(Index out, Index stride, Index padding, Index kernel, Index size) {
  const Index start = out * stride - padding;
  return {greatest(0, -start), least(kernel, size - start)};
}
LAMINA_INLINE Range windows_over(Index in, Index stride, Index padding, Index kernel, Index outputs) {
  const Index reach = in + padding - kernel + 1;
  return {reach <= 0 ? 0 : ceil_div(reach, stride), least(outputs, (in + padding) / stride + 1)};
}

template <class T, class Code>
void max_pool2d(const Pool2dShape& s, const T* x, T* y, Code* argmax) {
  typedef IntVec<T> Offsets;
  const double cost = kByte * sizeof(T) * static_cast<double>(s.OW * s.C * s.KH * s.KW);
  parallel_for(s.N * s.OH, cost, [&](Index task) {
    const Index n = task / s.OH, oh = task % s.OH;
    const Range rows = window_range(oh, s.stride_h, s.top, s.KH, s.H);
    for (Index ow = 0; ow < s.OW; ++ow) {
      const Range cols = window_range(ow, s.stride_w, s.left, s.KW, s.W);
      const T* corner = x + ((n * s.H + oh * s.stride_h - s.top) * s.W + ow * s.stride_w - s.left) * s.C;
      const Index out = (task * s.OW + ow) * s.C;
      for_vectors<T>(0, s.C, [&](Index c, int lanes) {
        Vec<T> best = load_some(corner + (rows.first * s.W + cols.first) * s.C + c, lanes);
        Offsets where = Offsets{} + static_cast<decltype(where[0] + 0)>(rows.first * s.KW + cols.first);
        for (Index r = rows.first; r < rows.last; ++r) {
          for (Index q = cols.first; q < cols.last; ++q) {
            const Vec<T> v = load_some(corner + (r * s.W + q) * s.C + c, lanes);
            const Offsets better = ~(v <= best) & (best == best);  // greater, or the first NaN
            best = better ? v : best;
            where = better ? Offsets{} + static_cast<decltype(where[0] + 0)>(r * s.KW + q) : where;
          }
        }
        store_some(y + out + c, best, lanes);
        store_code<T>(argmax + out + c, where, lanes);
      });
    }
  });
}

template <class T, class Code>
void max_pool2d_backward(const Pool2dShape& s, const T* dy, const Code* argmax, T* dx) {
  typedef IntVec<T> Offsets;
  const double cost = kByte * 2 * sizeof(T) * static_cast<double>(s.W * s.C);
  parallel_for(s.N * s.H, cost, [&](Index task) {
    const Index n = task / s.H, ih = task % s.H;
    const Range rows = windows_over(ih, s.stride_h, s.top, s.KH, s.OH);
    for (Index iw = 0; iw < s.W; ++iw) {
      const Range cols = windows_over(iw, s.stride_w, s.left, s.KW, s.OW);
      T* out = dx + (task * s.W + iw) * s.C;
      for_vectors<T>(0, s.C, [&](Index c, int lanes) {
        Vec<T> sum = splat(T(0));
        for (Index oh = rows.first; oh < rows.last; ++oh) {
          for (Index ow = cols.first; ow < cols.last; ++ow) {
            const Index from = ((n * s.OH + oh) * s.OW + ow) * s.C + c;
            const Index code = (ih + s.top - oh * s.stride_h) * s.KW + iw + s.left - ow * s.stride_w;
            const Offsets here = load_code<T>(argmax + from, lanes) == static_cast<decltype(Offsets{}[0] + 0)>(code);
            sum += here ? load_some(dy + from, lanes) : splat(T(0));
          }
        }
        store_some(out + c, sum, lanes);
      });
    }
  });
}

// What a window is divided by: its elements in the image, or in the image and its padding.
LAMINA_INLINE Index pool_divisor(const Pool2dShape& s, Index oh, Index ow, bool count_padding) {
  const Range rows = window_range(oh, s.stride_h, s.top, s.KH, s.H + (count_padding ? s.bottom : 0));
  const Range cols = window_range(ow, s.stride_w, s.left, s.KW, s.W + (count_padding ? s.right : 0));
  return count_padding ? rows.last * cols.last : (rows.last - rows.first) * (cols.last - cols.first);
}

template <class T>
void avg_pool2d(const Pool2dShape& s, bool count_padding, const T* x, T* y) {
  const double cost = kByte * sizeof(T) * static_cast<double>(s.OW * s.C * s.KH * s.KW);
  parallel_for(s.N * s.OH, cost, [&](Index task) {
    const Index n = task / s.OH, oh = task % s.OH;
    const Range rows = window_range(oh, s.stride_h, s.top, s.KH, s.H);
    for (Index ow = 0; ow < s.OW; ++ow) {
      const Range cols = window_range(ow, s.stride_w, s.left, s.KW, s.W);
      const T* corner = x + ((n * s.H + oh * s.stride_h - s.top) * s.W + ow * s.stride_w - s.left) * s.C;
      const Vec<T> divisor = splat(static_cast<T>(pool_divisor(s, oh, ow, count_padding)));
      for_vectors<T>(0, s.C, [&](Index c, int lanes) {
        Vec<T> sum = splat(T(0));
        for (Index r = rows.first; r < rows.last; ++r)
          for (Index q = cols.first; q < cols.last; ++q) sum += load_some(corner + (r * s.W + q) * s.C + c, lanes);
        store_some(y + (task * s.OW + ow) * s.C + c, sum / divisor, lanes);
      });
    }
  });
}

template <class T>
void avg_pool2d_backward(const Pool2dShape& s, bool count_padding, const T* dy, T* dx) {
  const double cost = kByte * 2 * sizeof(T) * static_cast<double>(s.W * s.C);
  parallel_for(s.N * s.H, cost, [&](Index task) {
    const Index n = task / s.H, ih = task % s.H;
    const Range rows = windows_over(ih, s.stride_h, s.top, s.KH, s.OH);
    for (Index iw = 0; iw < s.W; ++iw) {
      const Range cols = windows_over(iw, s.stride_w, s.left, s.KW, s.OW);
      T* out = dx + (task * s.W + iw) * s.C;
      for_vectors<T>(0, s.C, [&](Index c, int lanes) {
        Vec<T> sum = splat(T(0));
        for (Index oh = rows.first; oh < rows.last; ++oh) {
          for (Index ow = cols.first; ow < cols.last; ++ow) {
            const Vec<T> divisor = splat(static_cast<T>(pool_divisor(s, oh, ow, count_padding)));
            sum += load_some(dy + ((n * s.OH + oh) * s.OW + ow) * s.C + c, lanes) / divisor;
          }
        }
        store_some(out + c, sum, lanes);
      });
    }
  });
}

}  // namespace
}  // namespace lamina
