// Max and mean pooling over windows of NHWC images, vectors across the channels.
//
//   max:   y = the greatest x of the window that lies in the image; argmax = its offset kh*KW+kw (first of equals;
//   first NaN); of relu(x): where that is not above 0, y = 0 and argmax = KH*KW, which no pixel has
//   mean:  y = sum / divisor; the divisor counts the padding or not, but never what lies beyond it
//   (ceil_mode)
//
// Backward, windows that do not overlap write their pixels once. Overlapping ones gather: each input pixel asks the
// windows that cover it, in order, so nothing is zeroed first and no two tasks write one place. Tasks: output rows;
// when gathering, input rows.
#pragma once
#include "common/parallel.h"
#include "kernels/pack.h"

namespace lamina {
namespace {

template <class T, class Code>
struct CodeVec {
  typedef Code type __attribute__((vector_size(sizeof(Code) * kLanes<T>), aligned(1), may_alias));
};

// A vector of codes, widened (maskz: GCC 12 warns of its header's plain form). GCC 12 takes a conversion from bytes
// apart, lane by lane, so the processor's own is named.
template <class T, class Code>
LAMINA_INLINE IntVec<T> widen_codes(const Code* p) {
  if constexpr (sizeof(Code) == 1) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return (IntVec<T>)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    else
      return (IntVec<T>)_mm512_maskz_cvtepu8_epi64(0xff, _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return (IntVec<T>)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    else
      return (IntVec<T>)_mm256_cvtepu8_epi64(_mm_loadu_si32(p));
#endif
  }
  return __builtin_convertvector(*reinterpret_cast<const typename CodeVec<T, Code>::type*>(p), IntVec<T>);
}
template <class T, class Code>
LAMINA_INLINE void narrow_codes(Code* p, IntVec<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Code) == 1 && sizeof(T) == 4) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v));
    return;
  }
#endif
  *reinterpret_cast<typename CodeVec<T, Code>::type*>(p) = __builtin_convertvector(v, typename CodeVec<T, Code>::type);
}

// The first n codes; the rest of a vector passes through a buffer, for taking lanes out one by one is slow.
template <class T, class Code>
LAMINA_INLINE void store_code(Code* p, IntVec<T> v, int n) {
  if (n == kLanes<T>) return narrow_codes<T>(p, v);
#if defined(__AVX512F__)
  if constexpr (sizeof(Code) == 1 && sizeof(T) == 4) {
    _mm512_mask_cvtepi32_storeu_epi8(p, static_cast<__mmask16>((1u << n) - 1), (__m512i)v);
    return;
  }
#endif
  Code codes[kLanes<T>];
  narrow_codes<T>(codes, v);
  for (int i = 0; i < n; ++i) p[i] = codes[i];
}
template <class T, class Code>
LAMINA_INLINE IntVec<T> load_code(const Code* p, int n) {
  if (n == kLanes<T>) return widen_codes<T>(p);
#if defined(__AVX512F__)
  if constexpr (sizeof(Code) == 1 && sizeof(T) == 4) {
    const __mmask16 some = static_cast<__mmask16>((1u << n) - 1);
    return (IntVec<T>)_mm512_maskz_cvtepu8_epi32(some, _mm_maskz_loadu_epi8(some, p));
  }
#endif
  Code codes[kLanes<T>] = {};
  for (int i = 0; i < n; ++i) codes[i] = p[i];
  return widen_codes<T>(codes);
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

// G windows side by side, whose first pixels' neighbourhoods begin at `corner` and lie `step` apart: each waits for its
// own last comparison only.
template <class T, int G, class Code>
LAMINA_INLINE void max_of_windows(const Pool2dShape& s, bool relu, Range rows, Range cols, const T* corner, Index step,
                                  T* y, Code* argmax) {
  typedef IntVec<T> Offsets;
  const Index first = relu ? s.KH * s.KW : rows.first * s.KW + cols.first;
  for_vectors<T>(0, s.C, [&](Index c, int lanes) LAMINA_STEP {
    Vec<T> best[G];
    Offsets where[G];
    LAMINA_UNROLL for (int g = 0; g < G; ++g) {
      const T* const start = corner + g * step + (rows.first * s.W + cols.first) * s.C;
      best[g] = relu ? splat(T(0)) : load_some(start + c, lanes);
      where[g] = Offsets{} + static_cast<decltype(where[0][0] + 0)>(first);
    }
    for (Index r = rows.first; r < rows.last; ++r) {
      for (Index q = cols.first; q < cols.last; ++q) {
        const T* const pixel = corner + (r * s.W + q) * s.C + c;
        const Offsets here = Offsets{} + static_cast<decltype(where[0][0] + 0)>(r * s.KW + q);
        LAMINA_UNROLL for (int g = 0; g < G; ++g) {
          const Vec<T> v = load_some(pixel + g * step, lanes);
          const Offsets better = ~(v <= best[g]) & (best[g] == best[g]);  // greater, or the first NaN
          best[g] = better ? v : best[g];
          where[g] = better ? here : where[g];
        }
      }
    }
    LAMINA_UNROLL for (int g = 0; g < G; ++g) {
      store_some(y + g * s.C + c, best[g], lanes);
      store_code<T>(argmax + g * s.C + c, where[g], lanes);
    }
  });
}

template <class T, class Code>
void max_pool2d(const Pool2dShape& s, bool relu, const T* x, T* y, Code* argmax) {
  constexpr int kTogether = 4;
  constexpr Index kFewBytes = 512;  // of a pixel: beyond, so many windows at a time collide in the cache
  const double cost = kByte * sizeof(T) * static_cast<double>(s.OW * s.C * s.KH * s.KW);
  const Index step = s.stride_w * s.C;
  const bool few = s.C * static_cast<Index>(sizeof(T)) <= kFewBytes;
  parallel_for(s.N * s.OH, cost, [&](Index task) {
    const Index n = task / s.OH, oh = task % s.OH;
    const Range rows = window_range(oh, s.stride_h, s.top, s.KH, s.H), whole{0, s.KW};
    for (Index ow = 0; ow < s.OW;) {
      const Range cols = window_range(ow, s.stride_w, s.left, s.KW, s.W);
      const Index last = ow + kTogether - 1, out = (task * s.OW + ow) * s.C;
      const T* corner = x + ((n * s.H + oh * s.stride_h - s.top) * s.W + ow * s.stride_w - s.left) * s.C;
      const bool together = few && cols.first == 0 && last < s.OW && last * s.stride_w - s.left + s.KW <= s.W;
      if (together)
        max_of_windows<T, kTogether>(s, relu, rows, whole, corner, step, y + out, argmax + out);
      else
        max_of_windows<T, 1>(s, relu, rows, cols, corner, step, y + out, argmax + out);
      ow += together ? kTogether : 1;
    }
  });
}

// The windows over each pixel of an axis: a table, for a division a pixel would cost more than the pixel.
LAMINA_INLINE void windows_table(Index size, Index stride, Index padding, Index kernel, Index outputs, Range* table) {
  for (Index i = 0; i < size; ++i) table[i] = windows_over(i, stride, padding, kernel, outputs);
}

// dx where no two windows overlap: value(c, out, tap, lanes) for the pixels of a window, zero between windows.
template <class T, class Value>
void spread_disjoint(const Pool2dShape& s, T* dx, Value&& value) {
  const bool tiled = s.stride_h == s.KH && s.stride_w == s.KW && s.OW * s.KW - s.left >= s.W;
  const double cost = kByte * 2 * sizeof(T) * static_cast<double>(s.stride_h * s.W * s.C);
  parallel_for(s.N * s.OH, cost, [&](Index task) {
    const Index n = task / s.OH, oh = task % s.OH;
    const Range rows = window_range(oh, s.stride_h, s.top, s.KH, s.H);
    const Index band = oh == 0 ? 0 : least(s.H, oh * s.stride_h - s.top);
    const Index next = oh == s.OH - 1 ? s.H : least(s.H, (oh + 1) * s.stride_h - s.top);
    T* const image = dx + n * s.H * s.W * s.C;
    if (!tiled || next - band != rows.last - rows.first) fill_zero(image + band * s.W * s.C, (next - band) * s.W * s.C);
    for (Index ow = 0; ow < s.OW; ++ow) {
      const Range cols = window_range(ow, s.stride_w, s.left, s.KW, s.W);
      T* corner = image + ((oh * s.stride_h - s.top) * s.W + ow * s.stride_w - s.left) * s.C;
      for_vectors<T>(0, s.C, [&](Index c, int lanes) LAMINA_STEP {
        const auto of = value((task * s.OW + ow) * s.C + c, oh, ow, lanes);
        for (Index r = rows.first; r < rows.last; ++r)
          for (Index q = cols.first; q < cols.last; ++q)
            store_some(corner + (r * s.W + q) * s.C + c, of(r * s.KW + q), lanes);
      });
    }
  });
}

// dx where windows overlap: the sum of value(out, oh, ow, tap, lanes) over the windows of each pixel.
template <class T, class Value>
void gather_overlapping(const Pool2dShape& s, T* dx, Value&& value) {
  Buffer tables(sizeof(Range) * static_cast<std::size_t>(s.H + s.W));
  Range* const over_h = tables.as<Range>();
  Range* const over_w = over_h + s.H;
  windows_table(s.H, s.stride_h, s.top, s.KH, s.OH, over_h);
  windows_table(s.W, s.stride_w, s.left, s.KW, s.OW, over_w);
  const double cost = kByte * 4 * sizeof(T) * static_cast<double>(s.W * s.C);
  parallel_for(s.N * s.H, cost, [&](Index task) {
    const Index n = task / s.H, ih = task % s.H;
    const Range rows = over_h[ih];
    for (Index iw = 0; iw < s.W; ++iw) {
      const Range cols = over_w[iw];
      for_vectors<T>(0, s.C, [&](Index c, int lanes) LAMINA_STEP {
        Vec<T> sum = splat(T(0));
        for (Index oh = rows.first; oh < rows.last; ++oh) {
          for (Index ow = cols.first; ow < cols.last; ++ow) {
            const Index tap = (ih + s.top - oh * s.stride_h) * s.KW + iw + s.left - ow * s.stride_w;
            sum += value(((n * s.OH + oh) * s.OW + ow) * s.C + c, oh, ow, lanes)(tap);
          }
        }
        store_some(dx + (task * s.W + iw) * s.C + c, sum, lanes);
      });
    }
  });
}

template <class T, class Value>
void pool_backward(const Pool2dShape& s, T* dx, Value&& value) {
  if (s.stride_h >= s.KH && s.stride_w >= s.KW)
    spread_disjoint(s, dx, value);
  else
    gather_overlapping(s, dx, value);
}

template <class T, class Code>
void max_pool2d_backward(const Pool2dShape& s, const T* dy, const Code* argmax, T* dx) {
  pool_backward(s, dx, [&](Index out, Index, Index, int lanes) LAMINA_STEP {
    const IntVec<T> code = load_code<T>(argmax + out, lanes);
    const Vec<T> grad = load_some(dy + out, lanes);
    return [code, grad](Index tap)
               LAMINA_STEP -> Vec<T> { return code == static_cast<decltype(code[0] + 0)>(tap) ? grad : splat(T(0)); };
  });
}

// The way back of max-unpooling, whose forward is the map above: dx is dy where the maximum stood.
template <class T, class Code>
void max_unpool2d_backward(const Pool2dShape& s, const T* dy, const Code* argmax, T* dx) {
  const double cost = kByte * 2 * sizeof(T) * static_cast<double>(s.OW * s.C * s.KH * s.KW);
  parallel_for(s.N * s.OH, cost, [&](Index task) {
    const Index n = task / s.OH, oh = task % s.OH;
    const Range rows = window_range(oh, s.stride_h, s.top, s.KH, s.H);
    for (Index ow = 0; ow < s.OW; ++ow) {
      const Range cols = window_range(ow, s.stride_w, s.left, s.KW, s.W);
      const T* corner = dy + ((n * s.H + oh * s.stride_h - s.top) * s.W + ow * s.stride_w - s.left) * s.C;
      const Index out = (task * s.OW + ow) * s.C;
      for_vectors<T>(0, s.C, [&](Index c, int lanes) LAMINA_STEP {
        const IntVec<T> code = load_code<T>(argmax + out + c, lanes);
        Vec<T> found = splat(T(0));
        for (Index r = rows.first; r < rows.last; ++r)
          for (Index q = cols.first; q < cols.last; ++q) {
            const Vec<T> v = load_some(corner + (r * s.W + q) * s.C + c, lanes);
            found = code == static_cast<decltype(code[0] + 0)>(r * s.KW + q) ? v : found;
          }
        store_some(dx + out + c, found, lanes);
      });
    }
  });
}

// What the windows along one axis count: their elements in the image, or in the image and its padding. The divisor of a
// window is the product of its two counts.
LAMINA_INLINE void window_counts(Index outputs, Index stride, Index before, Index after, Index kernel, Index size,
                                 bool count_padding, Index* counts) {
  for (Index i = 0; i < outputs; ++i) {
    const Range r = window_range(i, stride, before, kernel, size + (count_padding ? after : 0));
    counts[i] = count_padding ? r.last : r.last - r.first;
  }
}
struct Divisors {
  Buffer buffer;
  Index *rows, *cols;
  Divisors(const Pool2dShape& s, bool count_padding)
      : buffer(sizeof(Index) * static_cast<std::size_t>(s.OH + s.OW)), rows(buffer.as<Index>()), cols(rows + s.OH) {
    window_counts(s.OH, s.stride_h, s.top, s.bottom, s.KH, s.H, count_padding, rows);
    window_counts(s.OW, s.stride_w, s.left, s.right, s.KW, s.W, count_padding, cols);
  }
};

template <class T>
void avg_pool2d(const Pool2dShape& s, bool count_padding, const T* x, T* y) {
  const Divisors divisors(s, count_padding);
  const double cost = kByte * sizeof(T) * static_cast<double>(s.OW * s.C * s.KH * s.KW);
  parallel_for(s.N * s.OH, cost, [&](Index task) {
    const Index n = task / s.OH, oh = task % s.OH;
    const Range rows = window_range(oh, s.stride_h, s.top, s.KH, s.H);
    for (Index ow = 0; ow < s.OW; ++ow) {
      const Range cols = window_range(ow, s.stride_w, s.left, s.KW, s.W);
      const T* corner = x + ((n * s.H + oh * s.stride_h - s.top) * s.W + ow * s.stride_w - s.left) * s.C;
      const Vec<T> divisor = splat(static_cast<T>(divisors.rows[oh] * divisors.cols[ow]));
      for_vectors<T>(0, s.C, [&](Index c, int lanes) LAMINA_STEP {
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
  const Divisors divisors(s, count_padding);
  pool_backward(s, dx, [&](Index out, Index oh, Index ow, int lanes) LAMINA_STEP {
    const Vec<T> share = load_some(dy + out, lanes) / splat(static_cast<T>(divisors.rows[oh] * divisors.cols[ow]));
    return [share](Index) LAMINA_STEP { return share; };
  });
}

}  // namespace
}  // namespace lamina
