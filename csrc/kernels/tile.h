// The micro-kernels: the only multiply-add loops of the library. A tile of MR rows times NV vectors of columns stays in
// registers while k runs; everything dense (GEMM, convolution in each direction, recurrent cells) is built of these
// two.
//
//   row_tile:   y[i][j] = init + sum over runs u, k < len:  a[u][i][k] * b[u][k][j]      (a: one row an output pixel)
//   outer_tile: w[i][j] += sum over p:  a[p][i] * b[p][j]                                (a: MR inputs of a pixel)
//
// Every loop over the tile is unrolled by pragma: a loop left rolled would keep the accumulators in memory.
#pragma once
#include "simd/vec.h"

namespace lamina {
namespace {

constexpr int kNV = 2;  // vectors across a full panel
#if defined(__AVX512F__)
constexpr int kMaxRows = 14;  // 28 accumulators, 2 columns, 1 broadcast, of 32 registers
#elif defined(__aarch64__)
constexpr int kMaxRows = 12;
#else
constexpr int kMaxRows = 6;  // 12 accumulators, 2 columns, 1 broadcast (and a product without FMA), of 16
#endif

template <class T>
constexpr int kPanel = kNV * kLanes<T>;  // columns of a full panel

// How a matrix of columns is cut into panels: full ones, then one that is a single vector wide if that is enough.
template <class T>
LAMINA_INLINE Index panel_count(Index columns) {
  return ceil_div(columns, kPanel<T>);
}
template <class T>
LAMINA_INLINE int panel_vectors(Index columns, Index panel) {
  return columns - panel * kPanel<T> <= kLanes<T> ? 1 : kNV;
}
// Elements before panel p in a packing of `depth` rows: only the last panel may be narrow.
template <class T>
LAMINA_INLINE Index panel_offset(Index panel, Index depth) {
  return panel * kPanel<T> * depth;
}

// n rows in equal tiles of at most kMaxRows: the rows of tile t.
struct Tiles {
  Index count, base, extra;
  LAMINA_INLINE explicit Tiles(Index n, int most = kMaxRows)
      : count(ceil_div(n, most)), base(n / greatest(count, 1)), extra(n % greatest(count, 1)) {}
  LAMINA_INLINE int rows(Index t) const { return static_cast<int>(base + (t < extra)); }
};

template <class T>
struct RowTile {
  Index lda;         // between rows of a (or between k's of a k-major one)
  Index run_length;  // k's in a run
  Index runs;
  const Index* run_offset;  // where in a each run starts
  Index ldy;
  const T* bias;    // one a column, or null
  bool accumulate;  // start from y instead
  int columns;      // of this panel, at most its width
};

template <class T, int MR, int NV, bool kKMajor>
LAMINA_INLINE void multiply_rows(Vec<T> (&acc)[MR][NV], const T* a, Index lda, const T* b, Index length) {
  for (Index k = 0; k < length; ++k) {
    Vec<T> column[NV];
    LAMINA_UNROLL for (int j = 0; j < NV; ++j) column[j] = load(b + j * kLanes<T>);
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      const Vec<T> row = splat(kKMajor ? a[i] : a[i * lda]);
      LAMINA_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] += row * column[j];
    }
    a += kKMajor ? lda : 1;
    b += NV * kLanes<T>;
  }
}

template <class T, int MR, int NV>
LAMINA_INLINE void store_tile(Vec<T> (&acc)[MR][NV], T* y, Index ldy, int columns) {
  constexpr int W = kLanes<T>;
  if (columns == NV * W) {
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      LAMINA_UNROLL for (int j = 0; j < NV; ++j) store(y + i * ldy + j * W, acc[i][j]);
    }
    return;
  }
  const int last = columns - (NV - 1) * W;  // the panel's width is chosen so that only its last vector is partial
  LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
    LAMINA_UNROLL for (int j = 0; j + 1 < NV; ++j) store(y + i * ldy + j * W, acc[i][j]);
    store_n(y + i * ldy + (NV - 1) * W, acc[i][NV - 1], last);
  }
}

template <class T, int MR, int NV>
LAMINA_INLINE void load_tile(Vec<T> (&acc)[MR][NV], const T* y, Index ldy, int columns) {
  constexpr int W = kLanes<T>;
  const int last = columns - (NV - 1) * W;
  LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
    LAMINA_UNROLL for (int j = 0; j + 1 < NV; ++j) acc[i][j] = load(y + i * ldy + j * W);
    acc[i][NV - 1] = last == W ? load(y + i * ldy + (NV - 1) * W) : load_n(y + i * ldy + (NV - 1) * W, last);
  }
}

template <class T, int MR, int NV, bool kKMajor>
void row_tile(const RowTile<T>& t, const T* a, const T* b, T* y) {
  constexpr int W = kLanes<T>;
  Vec<T> acc[MR][NV];
  if (t.accumulate) {
    load_tile<T, MR, NV>(acc, y, t.ldy, t.columns);
  } else {
    Vec<T> start[NV];
    LAMINA_UNROLL for (int j = 0; j < NV; ++j) {
      const int n = static_cast<int>(least(t.columns - j * W, W));
      start[j] = t.bias ? (n == W ? load(t.bias + j * W) : load_n(t.bias + j * W, n)) : splat(T(0));
    }
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) { LAMINA_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = start[j]; }
  }
  for (Index u = 0; u < t.runs; ++u) {
    multiply_rows<T, MR, NV, kKMajor>(acc, a + t.run_offset[u], t.lda, b, t.run_length);
    b += t.run_length * NV * W;
  }
  store_tile<T, MR, NV>(acc, y, t.ldy, t.columns);
}

// The pixels of a block, as outer_tile walks them: images, rows of an image, pixels of a row.
struct PixelWalk {
  Index images, rows, columns;
  Index image_step, row_step, pixel_step;  // elements of a
};

// w (MR rows of NV full vectors, contiguous) += sum over the pixels. b holds the pixels one after another. kContiguous:
// input i of a pixel is a[i]; otherwise a[offset[i]].
template <class T, int MR, int NV, bool kContiguous>
void outer_tile(const PixelWalk& walk, const T* a, const Index* offset, const T* b, T* w) {
  constexpr int W = kLanes<T>;
  Vec<T> acc[MR][NV];
  LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
    LAMINA_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = load(w + (i * NV + j) * W);
  }
  for (Index n = 0; n < walk.images; ++n) {
    for (Index r = 0; r < walk.rows; ++r) {
      const T* pixel = a + n * walk.image_step + r * walk.row_step;
      for (Index p = 0; p < walk.columns; ++p) {
        Vec<T> column[NV];
        LAMINA_UNROLL for (int j = 0; j < NV; ++j) column[j] = load(b + j * W);
        LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
          const Vec<T> row = splat(kContiguous ? pixel[i] : pixel[offset[i]]);
          LAMINA_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] += row * column[j];
        }
        pixel += walk.pixel_step;
        b += NV * W;
      }
    }
  }
  LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
    LAMINA_UNROLL for (int j = 0; j < NV; ++j) store(w + (i * NV + j) * W, acc[i][j]);
  }
}

// Tables from a number of rows to the tile of that size.
template <class T>
using RowTileFn = void (*)(const RowTile<T>&, const T*, const T*, T*);
template <class T>
using OuterTileFn = void (*)(const PixelWalk&, const T*, const Index*, const T*, T*);

template <class T, int NV, bool kFlag, int... I>
struct TileTable {
  static constexpr RowTileFn<T> row[] = {&row_tile<T, I + 1, NV, kFlag>...};
  static constexpr OuterTileFn<T> outer[] = {&outer_tile<T, I + 1, NV, kFlag>...};
};
template <class T, int NV, bool kFlag, int N, int... I>
struct MakeTable : MakeTable<T, NV, kFlag, N - 1, N - 1, I...> {};
template <class T, int NV, bool kFlag, int... I>
struct MakeTable<T, NV, kFlag, 0, I...> : TileTable<T, NV, kFlag, I...> {};

template <class T, bool kKMajor>
LAMINA_INLINE RowTileFn<T> row_tile_for(int rows, int vectors) {
  return vectors == 1 ? MakeTable<T, 1, kKMajor, kMaxRows>::row[rows - 1]
                      : MakeTable<T, kNV, kKMajor, kMaxRows>::row[rows - 1];
}
template <class T, bool kContiguous>
LAMINA_INLINE OuterTileFn<T> outer_tile_for(int rows, int vectors) {
  return vectors == 1 ? MakeTable<T, 1, kContiguous, kMaxRows>::outer[rows - 1]
                      : MakeTable<T, kNV, kContiguous, kMaxRows>::outer[rows - 1];
}

}  // namespace
}  // namespace lamina
