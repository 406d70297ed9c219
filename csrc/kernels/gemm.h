// c (M,N) = a (M,K) b (K,N) + bias, or c += a b, for operands of any strides.
//
// b is packed into panels of kPanel columns, kDepth k's at a time; a is read in place where its rows are contiguous, else
// packed tile by tile. Tasks are blocks of c, so no sum is ever split between threads: each element is one chain of
// multiply-adds over k, cut into pieces of kDepth.
#pragma once
#include "common/parallel.h"
#include "kernels/pack.h"

namespace lamina {
namespace {

constexpr Index kDepth = 512;      // a panel of 512 x 32 floats is 64 KiB: it stays in L2 while the rows of a pass by
constexpr Index kBlockRows = 112;  // 112 x 512 floats of a: another 224 KiB

// Rows at a stride of a multiple of 2 KiB fall into few cache sets and evict each other.
template <class T>
LAMINA_INLINE bool must_copy_rows(MatrixView<T> a, Index rows) {
  return rows > 4 && (a.rs * static_cast<Index>(sizeof(T))) % 2048 == 0;
}

template <class T>
void gemm_block(MatrixView<T> a, Index rows, Index depth, const T* packed_b, Index first_panel, Index last_panel,
                Index columns, T* c, Index ldc, const T* bias, bool accumulate, T* scratch) {
  const Tiles tiles(rows);
  const bool k_major = a.cs != 1;
  if (k_major) {
    pack_rows_k_major(a, tiles, depth, scratch);
  } else if (must_copy_rows(a, rows)) {
    for (Index i = 0; i < rows; ++i) copy(a.data + i * a.rs, scratch + i * depth, depth);
    a = {scratch, depth, 1};
  }
  const Index zero = 0;
  for (Index p = first_panel; p < last_panel; ++p) {
    const int vectors = panel_vectors<T>(columns, p);
    const Index j = p * kPanel<T>;
    RowTile<T> t{a.rs, depth, 1, &zero, ldc, bias ? bias + j : nullptr, accumulate,
                 static_cast<int>(least(columns - j, kPanel<T>))};
    const T* panel = packed_b + panel_offset<T>(p, depth);
    const T* packed_a = scratch;
    Index i = 0;
    for (Index tile = 0; tile < tiles.count; ++tile) {
      const int n = tiles.rows(tile);
      T* out = c + i * ldc + j;
      LAMINA_UNROLL for (int r = 0; r < kMaxRows; ++r)
        if (r < n) __builtin_prefetch(out + r * ldc, 1);
      if (k_major) {
        t.lda = n;
        row_tile_for<T, true>(n, vectors)(t, packed_a, panel, out);
        packed_a += depth * n;
      } else {
        row_tile_for<T, false>(n, vectors)(t, a.data + i * a.rs, panel, out);
      }
      i += n;
    }
  }
}

template <class T>
void gemm(Index M, Index N, Index K, MatrixView<T> a, MatrixView<T> b, T* c, Index ldc, const T* bias, bool accumulate) {
  if (M == 0 || N == 0) return;
  const Index panels = panel_count<T>(N);
  Buffer packed(sizeof(T) * static_cast<std::size_t>(panels * kPanel<T> * least(K, kDepth)));
  T* const packed_b = packed.as<T>();
  const Index row_blocks = ceil_div(M, kBlockRows);
  const Index column_blocks = least(panels, greatest(1, ceil_div(32, row_blocks)));
  const Tiles row_split(M, static_cast<int>(kBlockRows));
  for (Index k0 = 0; k0 < greatest(K, 1); k0 += kDepth) {
    const Index depth = least(K - k0, kDepth);
    parallel_for(panels, kByte * 2 * sizeof(T) * static_cast<double>(depth * kPanel<T>), [&](Index p) {
      const Index j = p * kPanel<T>;
      pack_panel<T>({b.data + k0 * b.rs + j * b.cs, b.rs, b.cs}, depth, static_cast<int>(least(N - j, kPanel<T>)),
                    panel_vectors<T>(N, p), packed_b + panel_offset<T>(p, depth));
    });
    const double cost = 2.0 * static_cast<double>(M) * N * depth / static_cast<double>(row_blocks * column_blocks);
    parallel_for_scratch(row_blocks * column_blocks, cost, sizeof(T) * (kBlockRows + 1) * depth, [&](Index task, void* mine) {
      const Index rb = task / column_blocks, cb = task % column_blocks;
      const Index i = rb * row_split.base + least(rb, row_split.extra);
      gemm_block<T>({a.data + i * a.rs + k0 * a.cs, a.rs, a.cs}, row_split.rows(rb), depth, packed_b,
                    cb * panels / column_blocks, (cb + 1) * panels / column_blocks, N, c + i * ldc, ldc,
                    k0 == 0 ? bias : nullptr, accumulate || k0 > 0, static_cast<T*>(mine));
    });
  }
}

}  // namespace
}  // namespace lamina
