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

// How a matrix of columns is cut into panels: full ones, then one that may be a single vector or half a vector wide.
template <class T>
LAMINA_INLINE Index panel_count(Index columns) {
  return ceil_div(columns, kPanel<T>);
}
template <class T>
LAMINA_INLINE int panel_width(Index columns, Index panel) {
  const Index rest = columns - panel * kPanel<T>;
  return rest <= kHalfLanes<T> ? kHalfLanes<T> : rest <= kLanes<T> ? kLanes<T> : kPanel<T>;
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
};

template <class T, int L, int MR, int NV, bool kKMajor>
LAMINA_INLINE void multiply_rows(VecOf<T, L> (&acc)[MR][NV], const T* a, Index lda, const T* b, Index length) {
  for (Index k = 0; k < length; ++k) {
    VecOf<T, L> column[NV];
    LAMINA_UNROLL for (int j = 0; j < NV; ++j) column[j] = load_of<T, L>(b + j * L);
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      const VecOf<T, L> row = splat_of<T, L>(kKMajor ? a[i] : a[i * lda]);
      LAMINA_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] += row * column[j];
    }
    a += kKMajor ? lda : 1;
    b += NV * L;
  }
}

template <class T, int L, int MR, int NV>
LAMINA_INLINE void store_tile(VecOf<T, L> (&acc)[MR][NV], T* y, Index ldy, int columns) {
  if (columns == NV * L) {
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      LAMINA_UNROLL for (int j = 0; j < NV; ++j) store_of<T, L>(y + i * ldy + j * L, acc[i][j]);
    }
    return;
  }
  const int last = columns - (NV - 1) * L;  // the panel's width is chosen so that only its last vector is partial
  LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
    LAMINA_UNROLL for (int j = 0; j + 1 < NV; ++j) store_of<T, L>(y + i * ldy + j * L, acc[i][j]);
    store_n_of<T, L>(y + i * ldy + (NV - 1) * L, acc[i][NV - 1], last);
  }
}

template <class T, int L, int MR, int NV>
LAMINA_INLINE void load_tile(VecOf<T, L> (&acc)[MR][NV], const T* y, Index ldy, int columns) {
  const int last = columns - (NV - 1) * L;
  LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
    LAMINA_UNROLL for (int j = 0; j + 1 < NV; ++j) acc[i][j] = load_of<T, L>(y + i * ldy + j * L);
    acc[i][NV - 1] =
        last == L ? load_of<T, L>(y + i * ldy + (NV - 1) * L) : load_n_of<T, L>(y + i * ldy + (NV - 1) * L, last);
  }
}

template <class T, int L, int MR, int NV, bool kKMajor>
void row_tile(const RowTile<T>& t, const T* a, const T* b, T* y) {
  VecOf<T, L> acc[MR][NV];
  if (t.accumulate) {
    load_tile<T, L, MR, NV>(acc, y, t.ldy, t.columns);
  } else {
    VecOf<T, L> start[NV];
    LAMINA_UNROLL for (int j = 0; j < NV; ++j) {
      const int n = static_cast<int>(least(t.columns - j * L, L));
      start[j] =
          t.bias ? (n == L ? load_of<T, L>(t.bias + j * L) : load_n_of<T, L>(t.bias + j * L, n)) : splat_of<T, L>(T(0));
    }
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) { LAMINA_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = start[j]; }
  }
  for (Index u = 0; u < t.runs; ++u) {
    multiply_rows<T, L, MR, NV, kKMajor>(acc, a + t.run_offset[u], t.lda, b, t.run_length);
    b += t.run_length * NV * L;
  }
  if (t.relu) {
    LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
      LAMINA_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = vrelu(acc[i][j]);
    }
  }
  store_tile<T, L, MR, NV>(acc, y, t.ldy, t.columns);
}

// The pixels of a block, as outer_tile walks them: images, rows of an image, pixels of a row.
struct PixelWalk {
  Index images, rows, columns;
  Index image_step, row_step, pixel_step;  // elements of a
  Index b_image_step, b_row_step;          // of b, whose pixels are a panel's width apart
};

// w (MR rows of NV full vectors, contiguous) += sum over the pixels. kContiguous: input i of a pixel is a[i]; otherwise
// a[offset[i]].
template <class T, int L, int MR, int NV, bool kContiguous>
void outer_tile(const PixelWalk& walk, const T* a, const Index* offset, const T* b, T* w) {
  VecOf<T, L> acc[MR][NV];
  LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
    LAMINA_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = load_of<T, L>(w + (i * NV + j) * L);
  }
  for (Index n = 0; n < walk.images; ++n) {
    for (Index r = 0; r < walk.rows; ++r) {
      const T* pixel = a + n * walk.image_step + r * walk.row_step;
      const T* other = b + n * walk.b_image_step + r * walk.b_row_step;
      for (Index p = 0; p < walk.columns; ++p) {
        VecOf<T, L> column[NV];
        LAMINA_UNROLL for (int j = 0; j < NV; ++j) column[j] = load_of<T, L>(other + j * L);
        LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
          const VecOf<T, L> row = splat_of<T, L>(kContiguous ? pixel[i] : pixel[offset[i]]);
          LAMINA_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] += row * column[j];
        }
        pixel += walk.pixel_step;
        other += NV * L;
      }
    }
  }
  LAMINA_UNROLL for (int i = 0; i < MR; ++i) {
    LAMINA_UNROLL for (int j = 0; j < NV; ++j) store_of<T, L>(w + (i * NV + j) * L, acc[i][j]);
  }
}

// Tables from a number of rows to the tile of that size.
template <class T>
using RowTileFn = void (*)(const RowTile<T>&, const T*, const T*, T*);
template <class T>
using OuterTileFn = void (*)(const PixelWalk&, const T*, const Index*, const T*, T*);

template <class T, int L, int NV, bool kFlag, int... I>
struct TileTable {
  static constexpr RowTileFn<T> row[] = {&row_tile<T, L, I + 1, NV, kFlag>...};
  static constexpr OuterTileFn<T> outer[] = {&outer_tile<T, L, I + 1, NV, kFlag>...};
};
template <class T, int L, int NV, bool kFlag, int N, int... I>
struct MakeTable : MakeTable<T, L, NV, kFlag, N - 1, N - 1, I...> {};
template <class T, int L, int NV, bool kFlag, int... I>
struct MakeTable<T, L, NV, kFlag, 0, I...> : TileTable<T, L, NV, kFlag, I...> {};

template <class T, bool kFlag>
using FullTiles = MakeTable<T, kLanes<T>, kNV, kFlag, kMaxRows>;
template <class T, bool kFlag>
using VectorTiles = MakeTable<T, kLanes<T>, 1, kFlag, kMaxRows>;
template <class T, bool kFlag>
using HalfTiles = MakeTable<T, kHalfLanes<T>, 1, kFlag, kMaxRows>;

template <class T, bool kKMajor>
LAMINA_INLINE RowTileFn<T> row_tile_for(int rows, int width) {
  return width == kPanel<T>   ? FullTiles<T, kKMajor>::row[rows - 1]
         : width == kLanes<T> ? VectorTiles<T, kKMajor>::row[rows - 1]
                              : HalfTiles<T, kKMajor>::row[rows - 1];
}
template <class T, bool kContiguous>
LAMINA_INLINE OuterTileFn<T> outer_tile_for(int rows, int width) {
  return width == kPanel<T>   ? FullTiles<T, kContiguous>::outer[rows - 1]
         : width == kLanes<T> ? VectorTiles<T, kContiguous>::outer[rows - 1]
                              : HalfTiles<T, kContiguous>::outer[rows - 1];
}

}  // namespace
}  // namespace lamina
