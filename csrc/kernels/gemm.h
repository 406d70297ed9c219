// c (M,N) = a (M,K) b (K,N) + bias, or c += a b, or relu of either, for operands of any strides.
//
// b is packed into panels of kPanel columns, kDepth k's at a time; a is read in place where its rows are contiguous,
// else packed tile by tile. Tasks are blocks of c, so no sum is ever split between threads: each element is one chain
// of multiply-adds over k, cut into pieces of kDepth. With few rows, as in a layer's batch, a task packs its own panels
// just before it uses them; with many, b is packed once for all blocks of rows.
#pragma once
#include "common/parallel.h"
#include "kernels/gemv.h"
#include "kernels/pack.h"

namespace lamina {
namespace {

constexpr Index kDepth = 512;      // a panel of 512 x 32 floats is 64 KiB: it stays in L2 while the rows of a pass by
constexpr Index kBlockRows = 112;  // 112 x 512 floats of a: another 224 KiB
constexpr Index kFewBlocks = 4;    // of rows, for which panels are not shared
constexpr Index kMostTasks = 32;
constexpr Index kGap = 32;            // elements between rows of a, up to which they are asked for as one stretch
constexpr Index kShortColumns = 256;  // k's, up to which a's columns are read where they lie, slice by slice

// How the tiles read a: rows where they lie; columns where they lie (a transposed view, as in x^T dy); or packed, as
// rows where a's own collide in the cache, as k-major tiles otherwise.
enum class ReadA { kRows, kColumns, kPackedRows, kPackedTiles };

template <class T>
LAMINA_INLINE ReadA how_to_read(MatrixView<T> a, Index rows, Index depth) {
  // Lines at a stride of a multiple of 2 KiB fall into few cache sets and evict each other.
  const auto collide = [](Index n, Index stride) {
    return n > 4 && stride * static_cast<Index>(sizeof(T)) % 2048 == 0;
  };
  if (a.cs == 1) return collide(rows, a.rs) ? ReadA::kPackedRows : ReadA::kRows;
  return a.rs == 1 && depth <= kShortColumns && !collide(depth, a.cs) ? ReadA::kColumns : ReadA::kPackedTiles;
}
LAMINA_INLINE bool is_packed(ReadA how) { return how == ReadA::kPackedRows || how == ReadA::kPackedTiles; }

// Rows of c cut into blocks: where block b begins.
struct RowBlocks {
  Tiles split;
  LAMINA_INLINE explicit RowBlocks(Index rows) : split(rows, static_cast<int>(kBlockRows)) {}
  LAMINA_INLINE Index begin(Index b) const { return b * split.base + least(b, split.extra); }
};

// A slice of `depth` k's of both operands, ready for the tiles.
template <class T>
struct GemmSlice {
  const T* b;       // packed panels
  MatrixView<T> a;  // of packed tiles: their start
  ReadA how;
  Index depth;
  Index ldb = 0;  // if not 0, b is one panel where it lies, its rows that far apart
};

template <class T>
void pack_b(MatrixView<T> b, Index depth, Index columns, T* dst) {
  const Index panels = panel_count<T>(columns);
  if (b.cs != 1) {
    parallel_for(panels, kByte * 2 * sizeof(T) * static_cast<double>(depth * kPanel<T>), [&](Index p) {
      const Index j = p * kPanel<T>;
      pack_panel<T>({b.data + j * b.cs, b.rs, b.cs}, depth, static_cast<int>(least(columns - j, kPanel<T>)),
                    panel_width<T>(columns, p), dst + panel_offset<T>(p, depth));
    });
    return;
  }
  constexpr Index kRows = 16;  // whole rows are read, so that memory is walked in order
  parallel_for(ceil_div(depth, kRows), kByte * 2 * sizeof(T) * static_cast<double>(kRows * columns), [&](Index task) {
    const Index k = task * kRows, rows = least(kRows, depth - k);
    for (Index p = 0; p < panels; ++p) {
      const Index j = p * kPanel<T>;
      const int width = panel_width<T>(columns, p);
      pack_panel<T>({b.data + k * b.rs + j, b.rs, 1}, rows, static_cast<int>(least(columns - j, kPanel<T>)), width,
                    dst + panel_offset<T>(p, depth) + k * width);
    }
  });
}

template <class T>
void pack_a(MatrixView<T> a, ReadA how, Index rows, Index depth, T* dst) {
  const RowBlocks blocks(rows);
  parallel_for(blocks.split.count, kByte * 2 * sizeof(T) * static_cast<double>(depth * kBlockRows), [&](Index b) {
    const Index i = blocks.begin(b);
    const int n = blocks.split.rows(b);
    if (how == ReadA::kPackedTiles)
      pack_rows_k_major({a.data + i * a.rs, a.rs, a.cs}, Tiles(n), depth, dst + i * depth);
    else
      for (int r = 0; r < n; ++r) copy(a.data + (i + r) * a.rs, dst + (i + r) * depth, depth);
  });
}

// One block of c: rows [i, i + rows), panels [first, last).
template <class T>
void gemm_block(const GemmSlice<T>& s, Index i, Index rows, Index first, Index last, Index columns, T* c, Index ldc,
                const T* bias, bool accumulate, bool relu = false) {
  const Tiles tiles(rows);
  const Index zero = 0;
  const bool read_ahead = s.how == ReadA::kRows && s.a.rs <= s.depth + kGap;
  for (Index p = first; p < last; ++p) {
    const int width = panel_width<T>(columns, p);
    const Index j = p * kPanel<T>;
    RowTile<T> t{s.how == ReadA::kColumns ? s.a.cs : s.a.rs,
                 s.depth,
                 1,
                 &zero,
                 ldc,
                 bias ? bias + j : nullptr,
                 accumulate,
                 static_cast<int>(least(columns - j, kPanel<T>)),
                 relu,
                 s.ldb ? s.ldb : width};
    const T* panel = s.b + panel_offset<T>(p, s.depth);
    Index row = i;
    for (Index tile = 0; tile < tiles.count; ++tile) {
      const int n = tiles.rows(tile);
      T* out = c + row * ldc + j;
      prefetch_rows<T, true>(out, n, ldc, t.columns);
      if (read_ahead && p == first && tile + 1 < tiles.count)
        prefetch_rows(s.a.data + (row + n) * s.a.rs, 1, 0, static_cast<int>(tiles.rows(tile + 1) * s.a.rs));
      if (s.how == ReadA::kPackedTiles) {
        t.lda = n;
        row_tile_for<T, true>(n, width)(t, s.a.data + row * s.depth, panel, out);
      } else if (s.how == ReadA::kColumns) {
        row_tile_for<T, true>(n, width)(t, s.a.data + row, panel, out);
      } else {
        row_tile_for<T, false>(n, width)(t, s.a.data + row * s.a.rs, panel, out);
      }
      row += n;
    }
  }
}

// Slice by slice of depth; b packed for all tasks.
template <class T>
void gemm_shared_panels(Index M, Index N, Index K, MatrixView<T> a, MatrixView<T> b, T* c, Index ldc, const T* bias,
                        bool accumulate, bool relu) {
  const Index panels = panel_count<T>(N), most = least(K, kDepth);
  const ReadA how = how_to_read(a, M, K);
  Buffer packed_b(sizeof(T) * static_cast<std::size_t>(panels * kPanel<T> * most));
  Buffer packed_a(is_packed(how) ? sizeof(T) * static_cast<std::size_t>(M * most) : 0);
  const RowBlocks blocks(M);
  const Index row_blocks = blocks.split.count,
              column_blocks = least(panels, greatest(1, ceil_div(kMostTasks, row_blocks)));
  for (Index k0 = 0; k0 < greatest(K, 1); k0 += kDepth) {
    const Index depth = least(K - k0, kDepth);
    pack_b<T>({b.data + k0 * b.rs, b.rs, b.cs}, depth, N, packed_b.as<T>());
    GemmSlice<T> slice{packed_b.as<T>(), {a.data + k0 * a.cs, a.rs, a.cs}, how, depth};
    if (is_packed(how)) {
      pack_a(slice.a, how, M, depth, packed_a.as<T>());
      slice.a = {packed_a.as<T>(), depth, 1};
    }
    const double cost = 2.0 * static_cast<double>(M) * N * depth / static_cast<double>(row_blocks * column_blocks);
    parallel_for(row_blocks * column_blocks, cost, [&](Index task) {
      const Index rb = task / column_blocks, cb = task % column_blocks;
      gemm_block(slice, blocks.begin(rb), blocks.split.rows(rb), cb * panels / column_blocks,
                 (cb + 1) * panels / column_blocks, N, c, ldc, k0 == 0 ? bias : nullptr, accumulate || k0 > 0,
                 relu && k0 + depth == K);
    });
  }
}

// Panel by panel; each packed by its task, slice by slice. Where there are many slices and a's columns are read, so are
// b's rows where they lie: to pack them takes longer than what few rows of c gain by it.
template <class T>
void gemm_own_panels(Index M, Index N, Index K, MatrixView<T> a, MatrixView<T> b, T* c, Index ldc, const T* bias,
                     bool accumulate, bool relu) {
  const RowBlocks blocks(M);
  const ReadA how = how_to_read(a, M, least(K, kShortColumns));
  const Index slice_depth = how == ReadA::kColumns ? kShortColumns : kDepth, most = least(K, slice_depth);
  Buffer packed_a(is_packed(how) ? sizeof(T) * static_cast<std::size_t>(M * K) : 0);
  for (Index k0 = 0; is_packed(how) && k0 < K; k0 += kDepth)
    pack_a<T>({a.data + k0 * a.cs, a.rs, a.cs}, how, M, least(K - k0, kDepth), packed_a.as<T>() + k0 * M);
  const bool k_major = how == ReadA::kColumns || how == ReadA::kPackedTiles;
  const double cost = 2.0 * static_cast<double>((M + 4) * K * kPanel<T>);
  parallel_for_scratch(
      panel_count<T>(N), cost, sizeof(T) * static_cast<std::size_t>(kPanel<T> * most), [&](Index p, void* mine) {
        T* const panel = static_cast<T*>(mine);
        const Index j = p * kPanel<T>;
        const int columns = static_cast<int>(least(N - j, kPanel<T>)), width = panel_width<T>(N, p);
        const bool in_place = k_major && K > kDepth && b.cs == 1 && columns == width;
        for (Index k0 = 0; k0 < greatest(K, 1); k0 += slice_depth) {
          const Index depth = least(K - k0, slice_depth);
          const MatrixView<T> rows{b.data + k0 * b.rs + j * b.cs, b.rs, b.cs};
          if (!in_place) pack_panel<T>(rows, depth, columns, width, panel);
          GemmSlice<T> slice{
              in_place ? rows.data : panel, {a.data + k0 * a.cs, a.rs, a.cs}, how, depth, in_place ? b.rs : 0};
          if (is_packed(how)) slice.a = {packed_a.as<T>() + k0 * M, depth, 1};
          for (Index rb = 0; rb < blocks.split.count; ++rb)
            gemm_block(slice, blocks.begin(rb), blocks.split.rows(rb), 0, 1, columns, c + j, ldc,
                       bias && k0 == 0 ? bias + j : nullptr, accumulate || k0 > 0, relu && k0 + depth == K);
        }
      });
}

template <class T>
void gemm(Index M, Index N, Index K, MatrixView<T> a, MatrixView<T> b, T* c, Index ldc, const T* bias, bool accumulate,
          bool relu = false) {
  if (M == 0 || N == 0) return;
  if (suits_gemv(M, a, b)) return gemv(M, N, K, a, b, c, ldc, bias, accumulate, relu);
  if (RowBlocks(M).split.count <= kFewBlocks)
    gemm_own_panels(M, N, K, a, b, c, ldc, bias, accumulate, relu);
  else
    gemm_shared_panels(M, N, K, a, b, c, ldc, bias, accumulate, relu);
}

}  // namespace
}  // namespace lamina
