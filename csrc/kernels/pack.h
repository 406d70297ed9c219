// Packing: matrices rearranged into the order in which the tiles read them.
#pragma once
#include "kernels/tile.h"

namespace lamina {
namespace {

const char kMaker = 0;  // its address tells what one instruction set packed from what another did

template <class T>
LAMINA_INLINE void copy(const T* src, T* dst, Index n) {
  for_vectors<T>(0, n, [&](Index i, int lanes) LAMINA_STEP { store_some(dst + i, load_some(src + i, lanes), lanes); });
}
// Butterfly step of a transpose: the even and odd groups of D lanes of a and b, interleaved.
template <class T, int D, bool kHigh, int... I>
LAMINA_INLINE Vec<T> interleave(Vec<T> a, Vec<T> b) {
  constexpr int W = kLanes<T>;
  return __builtin_shufflevector(a, b, ((I / D) % 2 == 0 ? I + (kHigh ? D : 0) : W + I - (kHigh ? 0 : D))...);
}
template <class T, int D, bool kHigh, int N, int... I>
LAMINA_INLINE Vec<T> interleave_lanes(Vec<T> a, Vec<T> b) {
  if constexpr (N == 0)
    return interleave<T, D, kHigh, I...>(a, b);
  else
    return interleave_lanes<T, D, kHigh, N - 1, N - 1, I...>(a, b);
}
template <class T, int D>
LAMINA_INLINE void transpose_step(Vec<T> (&r)[kLanes<T>]) {
  constexpr int W = kLanes<T>;
  LAMINA_UNROLL for (int i = 0; i < W; ++i) {
    if ((i / D) % 2 == 0) {
      const Vec<T> a = r[i], b = r[i + D];
      r[i] = interleave_lanes<T, D, false, W>(a, b);
      r[i + D] = interleave_lanes<T, D, true, W>(a, b);
    }
  }
  if constexpr (D > 1) transpose_step<T, D / 2>(r);
}

// dst[j * ldd + i] = src[i * lds + j] for i, j < W.
template <class T>
LAMINA_INLINE void transpose_square(const T* src, Index lds, T* dst, Index ldd) {
  constexpr int W = kLanes<T>;
  Vec<T> r[W];
  LAMINA_UNROLL for (int i = 0; i < W; ++i) r[i] = load(src + i * lds);
  transpose_step<T, W / 2>(r);
  LAMINA_UNROLL for (int i = 0; i < W; ++i) store(dst + i * ldd, r[i]);
}

// Asks for the lines of n rows of `columns` elements, to write them soon or else to read them.
template <class T, bool kWrite = false>
LAMINA_INLINE void prefetch_rows(const T* p, int n, Index ld, int columns) {
  constexpr int kLine = 64 / static_cast<int>(sizeof(T));
  for (int j = 0; j < columns; j += kLine)
    for (int i = 0; i < n; ++i) __builtin_prefetch(p + i * ld + j, kWrite);
}
constexpr Index kAhead = 16;  // rows that are asked for before they are packed

// One panel of b: dst[k][j], k < depth, j < width; columns from `columns` on are zero.
template <class T>
void pack_panel(MatrixView<T> b, Index depth, int columns, int width, T* dst) {
  constexpr int W = kLanes<T>;
  if (b.cs == 1) {
    for (Index k = 0; k < depth; ++k) {
      const T* row = b.data + k * b.rs;
      prefetch_rows(row + kAhead * b.rs, 1, 0, columns);
      int j = 0;
      for (; j + W <= columns; j += W) store(dst + k * width + j, load(row + j));
      if (j < columns)
        store_some(dst + k * width + j, load_n(row + j, columns - j), static_cast<int>(least(width - j, W)));
    }
    return;
  }
  for (int j = 0; j < width; j += W) {
    Index k = 0;
    if (b.rs == 1 && j + W <= columns) {
      for (; k + W <= depth; k += W) transpose_square(b.data + j * b.cs + k, b.cs, dst + k * width + j, width);
    }
    for (; k < depth; ++k) {
      for (int i = 0; i < least(W, width - j); ++i)
        dst[k * width + j + i] = j + i < columns ? b.data[k * b.rs + (j + i) * b.cs] : T(0);
    }
  }
}

// Rows [0, rows) and k's [0, depth) of a, tile by tile, k-major within each: dst[tile][k][i].
template <class T>
void pack_rows_k_major(MatrixView<T> a, const Tiles& tiles, Index depth, T* dst) {
  Index row = 0;
  for (Index t = 0; t < tiles.count; ++t) {
    const int n = tiles.rows(t);
    for (Index k = 0; k < depth; ++k) {
      const T* source = a.data + row * a.rs + k * a.cs;
      if (a.rs == 1) {
        copy(source, dst + k * n, n);
      } else {
        for (int i = 0; i < n; ++i) dst[k * n + i] = source[i * a.rs];
      }
    }
    dst += depth * n;
    row += n;
  }
}

template <class T>
LAMINA_INLINE void fill_zero(T* dst, Index n) {
  for_vectors<T>(0, n, [&](Index i, int lanes) LAMINA_STEP { store_some(dst + i, splat(T(0)), lanes); });
}

}  // namespace
}  // namespace lamina
