// c (M,N) = a (M,K) b (K,N) + bias, or c += a b, for operands of any strides.
//
// b is packed into panels of kPanel columns, kDepth k's at a time; a is read in place where its rows are contiguous,
// else packed tile by tile. Tasks are blocks of c, so no sum is ever split between threads: each element is one chain
// of multiply-adds over k, cut into pieces of kDepth.
#pragma once
#include "common/parallel.h"
#include "kernels/gemv.h"
#include "kernels/pack.h"

namespace lamina {
namespace {

constexpr Index kDepth = 512;      // a panel of 512 x 32 floats is 64 KiB: it stays in L2 while the rows of a pass by
constexpr Index kBlockRows = 112;  // 112 x 512 floats of a: another 224 KiB
constexpr Index kMostTasks = 32;

// Rows at a stride of a multiple of 2 KiB fall into few cache sets and evict each other.
template <class T>
LAMINA_INLINE bool rows_collide(MatrixView<T> a, Index rows) {
  return rows > 4 && (a.rs * static_cast<Index>(sizeof(T))) % 2048 == 0;
}

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
  MatrixView<T> a;  // rows contiguous; or, if k_major, tiles of packed k-major rows
  bool k_major;
  Index depth;
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

// Rows of a where the tiles cannot read them in place: k-major if they are not contiguous, else copied close together.
template <class T>
GemmSlice<T> pack_a(MatrixView<T> a, Index rows, Index depth, const T* packed_b, T* dst) {
  const RowBlocks blocks(rows);
  const bool k_major = a.cs != 1;
  if (!k_major && !rows_collide(a, rows)) return {packed_b, a, false, depth};
  parallel_for(blocks.split.count, kByte * 2 * sizeof(T) * static_cast<double>(depth * kBlockRows), [&](Index b) {
    const Index i = blocks.begin(b);
    const int n = blocks.split.rows(b);
    if (k_major)
      pack_rows_k_major({a.data + i * a.rs, a.rs, a.cs}, Tiles(n), depth, dst + i * depth);
    else
      for (int r = 0; r < n; ++r) copy(a.data + (i + r) * a.rs, dst + (i + r) * depth, depth);
  });
  return {packed_b, {dst, depth, 1}, k_major, depth};
}

// One block of c: rows [i, i + rows), panels [first, last).
template <class T>
void gemm_block(const GemmSlice<T>& s, Index i, Index rows, Index first, Index last, Index columns, T* c, Index ldc,
                const T* bias, bool accumulate) {
  const Tiles tiles(rows);
  const Index zero = 0;
  for (Index p = first; p < last; ++p) {
    const int width = panel_width<T>(columns, p);
    const Index j = p * kPanel<T>;
    RowTile<T> t{s.a.rs,     s.depth,
                 1,          &zero,
                 ldc,        bias ? bias + j : nullptr,
                 accumulate, static_cast<int>(least(columns - j, kPanel<T>))};
    const T* panel = s.b + panel_offset<T>(p, s.depth);
    Index row = i;
    for (Index tile = 0; tile < tiles.count; ++tile) {
      const int n = tiles.rows(tile);
      T* out = c + row * ldc + j;
      for (int r = 0; r < n; ++r) __builtin_prefetch(out + r * ldc, 1);
      if (s.k_major) {
        t.lda = n;
        row_tile_for<T, true>(n, width)(t, s.a.data + row * s.depth, panel, out);
      } else {
        row_tile_for<T, false>(n, width)(t, s.a.data + row * s.a.rs, panel, out);
      }
      row += n;
    }
  }
}

template <class T>
void gemm(Index M, Index N, Index K, MatrixView<T> a, MatrixView<T> b, T* c, Index ldc, const T* bias,
          bool accumulate) {
  if (M == 0 || N == 0) return;
  if (suits_gemv(M, a, b)) return gemv(M, N, K, a, b, c, ldc, bias, accumulate);
  const Index panels = panel_count<T>(N), most = least(K, kDepth);
  Buffer packed_b(sizeof(T) * static_cast<std::size_t>(panels * kPanel<T> * most));
  Buffer packed_a(a.cs != 1 || rows_collide(a, M) ? sizeof(T) * static_cast<std::size_t>(M * most) : 0);
  const RowBlocks blocks(M);
  const Index row_blocks = blocks.split.count,
              column_blocks = least(panels, greatest(1, ceil_div(kMostTasks, row_blocks)));
  for (Index k0 = 0; k0 < greatest(K, 1); k0 += kDepth) {
    const Index depth = least(K - k0, kDepth);
    pack_b<T>({b.data + k0 * b.rs, b.rs, b.cs}, depth, N, packed_b.as<T>());
    const GemmSlice<T> slice =
        pack_a<T>({a.data + k0 * a.cs, a.rs, a.cs}, M, depth, packed_b.as<T>(), packed_a.as<T>());
    const double cost = 2.0 * static_cast<double>(M) * N * depth / static_cast<double>(row_blocks * column_blocks);
    parallel_for(row_blocks * column_blocks, cost, [&](Index task) {
      const Index rb = task / column_blocks, cb = task % column_blocks;
      gemm_block(slice, blocks.begin(rb), blocks.split.rows(rb), cb * panels / column_blocks,
                 (cb + 1) * panels / column_blocks, N, c, ldc, k0 == 0 ? bias : nullptr, accumulate || k0 > 0);
    });
  }
}

}  // namespace
}  // namespace lamina
