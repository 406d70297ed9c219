// The micro-kernels: the only multiply-add loops of the library. A tile of MR rows times NV vectors of columns stays in
// registers while k runs; everything dense (GEMM, convolution in each direction, recurrent cells) is built of these
// two.
//
//   row_tile:   y[i][j] = init + sum over runs u, k < len:  a[u][i][k] * b[u][k][j]      (a: one row an output pixel),
//               or relu of that
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

// How a matrix of columns is cut into panels: full ones, then one that may be narrower by half vectors.
template <class T>
LAMINA_INLINE Index panel_count(Index columns) {
  return ceil_div(columns, kPanel<T>);
}
template <class T>
LAMINA_INLINE int panel_width(Index columns, Index panel) {
  const Index rest = columns - panel * kPanel<T>;
  return static_cast<int>(least(ceil_div(rest, kHalfLanes<T>) * kHalfLanes<T>, kPanel<T>));
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
  const T* bias;      // one a column, or null
  bool accumulate;    // start from y instead
  int columns;        // of this panel, at most its width
  bool relu = false;  // of the sums, before they are stored
  Index ldb = 0;      // between k's of b, if a is k-major; else they are a panel's width apart
};

// MR rows of a panel in registers: full vectors, then perhaps half a one.
template <class T, int kWidth, int MR>
struct Tile {
  static constexpr int L = kLanes<T>, kFull = kWidth / L, kRest = kWidth % L;
  static constexpr int kHalf = kRest > 0 ? kRest : kHalfLanes<T>;
  VecOf<T, L> full[MR][kFull > 0 ? kFull : 1];
  VecOf<T, kHalf> half[MR];

  LAMINA_INLINE void load(const T* p, Index ld) {
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      LAMINA_UNROLL for (int j = 0; j < kFull; ++j) full[i][j] = load_of<T, L>(p + i * ld + j * L);
      if constexpr (kRest > 0) half[i] = load_of<T, kHalf>(p + i * ld + kFull * L);
    }
  }
  // Of the first columns: a panel's width is chosen so that only its last vector is partial.
  LAMINA_INLINE void load_some(const T* p, Index ld, int columns) {
    if (columns == kWidth) return load(p, ld);
    constexpr int kWhole = kRest > 0 ? kFull : kFull - 1;
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      LAMINA_UNROLL for (int j = 0; j < kWhole; ++j) full[i][j] = load_of<T, L>(p + i * ld + j * L);
      const T* const last = p + i * ld + kWhole * L;
      if constexpr (kRest > 0)
        half[i] = load_n_of<T, kHalf>(last, columns - kWhole * L);
      else
        full[i][kWhole] = load_n_of<T, L>(last, columns - kWhole * L);
    }
  }
  LAMINA_INLINE void store(T* p, Index ld) const {
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      LAMINA_UNROLL for (int j = 0; j < kFull; ++j) store_of<T, L>(p + i * ld + j * L, full[i][j]);
      if constexpr (kRest > 0) store_of<T, kHalf>(p + i * ld + kFull * L, half[i]);
    }
  }
  LAMINA_INLINE void store_some(T* p, Index ld, int columns) const {
    if (columns == kWidth) return store(p, ld);
    constexpr int kWhole = kRest > 0 ? kFull : kFull - 1;
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      LAMINA_UNROLL for (int j = 0; j < kWhole; ++j) store_of<T, L>(p + i * ld + j * L, full[i][j]);
      T* const last = p + i * ld + kWhole * L;
      if constexpr (kRest > 0)
        store_n_of<T, kHalf>(last, half[i], columns - kWhole * L);
      else
        store_n_of<T, L>(last, full[i][kWhole], columns - kWhole * L);
    }
  }
  LAMINA_INLINE void fill(const Tile<T, kWidth, 1>& row) {
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      LAMINA_UNROLL for (int j = 0; j < kFull; ++j) full[i][j] = row.full[0][j];
      if constexpr (kRest > 0) half[i] = row.half[0];
    }
  }
  // kShared: half a vector's factors come from the whole one's register, which is slower but takes one less.
  template <bool kShared>
  LAMINA_INLINE void add_product(int i, T x, const Tile<T, kWidth, 1>& row) {
    const VecOf<T, L> all = splat_of<T, L>(x);
    LAMINA_UNROLL for (int j = 0; j < kFull; ++j) full[i][j] += all * row.full[0][j];
    if constexpr (kRest > 0) {
      VecOf<T, kHalf> some = splat_of<T, kHalf>(x);
      if constexpr (kShared && kFull > 0) __builtin_memcpy(&some, &all, sizeof some);
      half[i] += some * row.half[0];
    }
  }
  LAMINA_INLINE void relu() {
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      LAMINA_UNROLL for (int j = 0; j < kFull; ++j) full[i][j] = vrelu(full[i][j]);
      if constexpr (kRest > 0) half[i] = vrelu(half[i]);
    }
  }
};

template <class T, int kWidth, int MR, bool kKMajor>
void row_tile(const RowTile<T>& t, const T* a, const T* b, T* y) {
  Tile<T, kWidth, MR> acc;
  Tile<T, kWidth, 1> column;
  if (t.accumulate) {
    acc.load_some(y, t.ldy, t.columns);
  } else {
    if (t.bias)
      column.load_some(t.bias, 0, t.columns);
    else
      column = {};
    acc.fill(column);
  }
  for (Index u = 0; u < t.runs; ++u) {
    const T* row = a + t.run_offset[u];
    for (Index k = 0; k < t.run_length; ++k) {
      column.load(b, 0);
      LAMINA_UNROLL for (int i = 0; i < MR; ++i)
          acc.template add_product<kKMajor>(i, kKMajor ? row[i] : row[i * t.lda], column);
      row += kKMajor ? t.lda : 1;
      b += kKMajor ? t.ldb : kWidth;
    }
  }
  if (t.relu) acc.relu();
  acc.store_some(y, t.ldy, t.columns);
}

// The pixels of a block, as outer_tile walks them: images, rows of an image, pixels of a row.
struct PixelWalk {
  Index images, rows, columns;
  Index image_step, row_step, pixel_step;  // elements of a
  Index b_image_step, b_row_step;          // of b, whose pixels are a panel's width apart
};

// w (MR rows of a panel, contiguous) += sum over the pixels. kContiguous: input i of a pixel is a[i]; otherwise
// a[offset[i]].
template <class T, int kWidth, int MR, bool kContiguous>
void outer_tile(const PixelWalk& walk, const T* a, const Index* offset, const T* b, T* w) {
  Tile<T, kWidth, MR> acc;
  Tile<T, kWidth, 1> column;
  acc.load(w, kWidth);
  for (Index n = 0; n < walk.images; ++n) {
    for (Index r = 0; r < walk.rows; ++r) {
      const T* pixel = a + n * walk.image_step + r * walk.row_step;
      const T* other = b + n * walk.b_image_step + r * walk.b_row_step;
      for (Index p = 0; p < walk.columns; ++p) {
        column.load(other, 0);
        LAMINA_UNROLL for (int i = 0; i < MR; ++i)
            acc.template add_product<false>(i, kContiguous ? pixel[i] : pixel[offset[i]], column);
        pixel += walk.pixel_step;
        other += kWidth;
      }
    }
  }
  acc.store(w, kWidth);
}

// Tables from a number of rows to the tile of that size.
template <class T>
using RowTileFn = void (*)(const RowTile<T>&, const T*, const T*, T*);
template <class T>
using OuterTileFn = void (*)(const PixelWalk&, const T*, const Index*, const T*, T*);

template <class T, int kWidth, bool kFlag, int... I>
struct TileTable {
  static constexpr RowTileFn<T> row[] = {&row_tile<T, kWidth, I + 1, kFlag>...};
  static constexpr OuterTileFn<T> outer[] = {&outer_tile<T, kWidth, I + 1, kFlag>...};
};
template <class T, int kWidth, bool kFlag, int N = kMaxRows, int... I>
struct TilesOf : TilesOf<T, kWidth, kFlag, N - 1, N - 1, I...> {};
template <class T, int kWidth, bool kFlag, int... I>
struct TilesOf<T, kWidth, kFlag, 0, I...> : TileTable<T, kWidth, kFlag, I...> {};

template <class T, bool kKMajor>
LAMINA_INLINE RowTileFn<T> row_tile_for(int rows, int width) {
  constexpr int kVector = kLanes<T>, kHalf = kHalfLanes<T>;
  return width == kPanel<T> ? TilesOf<T, kPanel<T>, kKMajor>::row[rows - 1]
         : width == kVector ? TilesOf<T, kVector, kKMajor>::row[rows - 1]
         : width == kHalf   ? TilesOf<T, kHalf, kKMajor>::row[rows - 1]
                            : TilesOf<T, kVector + kHalf, kKMajor>::row[rows - 1];
}
template <class T, bool kContiguous>
LAMINA_INLINE OuterTileFn<T> outer_tile_for(int rows, int width) {
  constexpr int kVector = kLanes<T>, kHalf = kHalfLanes<T>;
  return width == kPanel<T> ? TilesOf<T, kPanel<T>, kContiguous>::outer[rows - 1]
         : width == kVector ? TilesOf<T, kVector, kContiguous>::outer[rows - 1]
         : width == kHalf   ? TilesOf<T, kHalf, kContiguous>::outer[rows - 1]
                            : TilesOf<T, kVector + kHalf, kContiguous>::outer[rows - 1];
}

}  // namespace
}  // namespace lamina
