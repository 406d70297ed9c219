// Codes of which only k units a row are not zero, and what is done with them without touching the others.
//
//   support:         the k greatest of each row of z (M,N): values and units (M,k), units rising, ties to the lowest
//   sparse_linear:   y[m] = b + sum over j of v[m][j] w[u[m][j]]                               w (N,D), y (M,D)
//   sparse_dots:     dv[m][j] = dy[m] . w[u[m][j]]
//   sparse_outer:    dw[n] = sum over the (m, j) with u[m][j] = n, in their order, of v[m][j] dy[m]
//                            (and then of v2[m][j] x[m])
//
// The cost follows k, not N, but for rows of dw that nobody chose: those are written as zeros.
#pragma once
#include <limits>
#include <type_traits>

#include "kernels/embedding.h"

namespace lamina {
namespace {

// The bits of a number as an integer of the same order; -0 as 0, NaN above all.
template <class T>
LAMINA_INLINE IntVec<T> ordered(Vec<T> x) {
  typedef IntVec<T> Bits;
  const Bits bits = reinterpret_cast<Bits>(x + splat(T(0)));
  const Bits lowest = reinterpret_cast<Bits>(splat(T(-0.0)));
  const Bits key = bits ^ ((bits >> (8 * sizeof(T) - 1)) & ~lowest);
  return x != x ? ~lowest : key;
}
template <class T>
using Key = std::remove_cvref_t<decltype(IntVec<T>{}[0])>;

// How many of n keys, padded to whole vectors with the least key, are at least `bound`.
template <class T>
LAMINA_INLINE Index count_from(const Key<T>* keys, Index vectors, Key<T> bound) {
  typedef IntVec<T> Bits;
  Bits found = {};
  const Bits least = found + bound;
  for (Index i = 0; i < vectors; ++i) found -= reinterpret_cast<const Bits*>(keys)[i] >= least;
  Index count = 0;
  for (int lane = 0; lane < kLanes<T>; ++lane) count += found[lane];
  return count;
}

// The k-th greatest key, by halving the range in which it lies: at most as many passes as a key has bits.
template <class T>
__attribute__((noinline)) Key<T> kth_greatest(const Key<T>* keys, Index vectors, Index k) {
  typedef std::make_unsigned_t<Key<T>> Unsigned;
  Key<T> low = std::numeric_limits<Key<T>>::max(), high = std::numeric_limits<Key<T>>::min();
  for (Index i = 0; i < vectors * kLanes<T>; ++i)
    low = keys[i] < low ? keys[i] : low, high = keys[i] > high ? keys[i] : high;
  while (low < high) {
    const Unsigned range = static_cast<Unsigned>(high) - static_cast<Unsigned>(low);
    const Key<T> middle = static_cast<Key<T>>(static_cast<Unsigned>(low) + range / 2 + range % 2);
    const Index count = count_from<T>(keys, vectors, middle);
    if (count >= k) low = middle;
    if (count == k) break;
    if (count < k) high = middle - 1;
  }
  return low;
}

template <class T>
void support_row(Index N, Index k, const T* z, Key<T>* keys, T* values, std::int64_t* units) {
  const Index vectors = ceil_div(N, kLanes<T>);
  for_vectors<T>(0, N, [&](Index j, int lanes) LAMINA_STEP {
    IntVec<T> key = ordered<T>(load_some(z + j, lanes));
    for (int lane = lanes; lane < kLanes<T>; ++lane) key[lane] = std::numeric_limits<Key<T>>::min();
    *reinterpret_cast<IntVec<T>*>(keys + j) = key;
  });
  const Key<T> bound = kth_greatest<T>(keys, vectors, k);
  Index ties = k;  // of those at the bound, as many are taken as those above leave room for
  for (Index j = 0; j < N; ++j) ties -= keys[j] > bound;
  for (Index j = 0, taken = 0; taken < k; ++j) {
    if (keys[j] < bound || (keys[j] == bound && ties-- <= 0)) continue;
    values[taken] = z[j];
    units[taken++] = j;
  }
}

template <class T>
void support(Index M, Index N, Index k, const T* z, T* values, std::int64_t* units) {
  const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(ceil_div(N, kLanes<T>) * kLanes<T>);
  parallel_for_scratch(M, 12.0 * static_cast<double>(N), bytes, [&](Index m, void* keys) {
    support_row(N, k, z + m * N, static_cast<Key<T>*>(keys), values + m * k, units + m * k);
  });
}

constexpr int kCodeVectors = 8;  // of a row of w at a time: so many sums stay in registers
constexpr Index kCodeRows = 16;  // of a task: the columns of w that it reads stay in L2 for the next ones
template <class T>
constexpr Index kCodeColumns = kCodeVectors * kLanes<T>;

// sum[0..n) = start + sum over j of v[j] w[u[j]], for n <= kCodeColumns columns.
template <class T>
__attribute__((noinline)) void add_rows(Index k, const T* v, const std::int64_t* u, const T* w, Index D, const T* start,
                                        T* sum, Index n) {
  if (n == kCodeColumns<T>) {
    Vec<T> acc[kCodeVectors];
    LAMINA_UNROLL for (int i = 0; i < kCodeVectors; ++i) acc[i] = start ? load(start + i * kLanes<T>) : splat(T(0));
    for (Index j = 0; j < k; ++j) {
      const Vec<T> value = splat(v[j]);
      const T* const row = w + u[j] * D;
      LAMINA_UNROLL for (int i = 0; i < kCodeVectors; ++i) acc[i] += value * load(row + i * kLanes<T>);
    }
    LAMINA_UNROLL for (int i = 0; i < kCodeVectors; ++i) store(sum + i * kLanes<T>, acc[i]);
    return;
  }
  for_vectors<T>(0, n, [&](Index c, int lanes) LAMINA_STEP {
    Vec<T> acc = start ? load_some(start + c, lanes) : splat(T(0));
    for (Index j = 0; j < k; ++j) acc += splat(v[j]) * load_some(w + u[j] * D + c, lanes);
    store_some(sum + c, acc, lanes);
  });
}

template <class T>
void sparse_linear(Index M, Index k, Index D, const T* v, const std::int64_t* u, const T* w, const T* b, T* y) {
  const Index blocks = ceil_div(M, kCodeRows), chunks = ceil_div(D, kCodeColumns<T>);
  parallel_for(blocks * chunks, 2.0 * static_cast<double>(kCodeRows * k * kCodeColumns<T>), [&](Index task) {
    const Index c = task / blocks * kCodeColumns<T>, first = task % blocks * kCodeRows;
    for (Index m = first; m < least(M, first + kCodeRows); ++m)
      add_rows(k, v + m * k, u + m * k, w + c, D, b ? b + c : nullptr, y + m * D + c, least(D - c, kCodeColumns<T>));
  });
}

template <class T>
LAMINA_INLINE T dot(Index n, const T* a, const T* b) {
  Vec<T> sum = splat(T(0)), more = splat(T(0));
  Index i = 0;
  for (; i + 2 * kLanes<T> <= n; i += 2 * kLanes<T>) {
    sum += load(a + i) * load(b + i);
    more += load(a + i + kLanes<T>) * load(b + i + kLanes<T>);
  }
  for_vectors<T>(i, n,
                 [&](Index j, int lanes) LAMINA_STEP { sum += load_some(a + j, lanes) * load_some(b + j, lanes); });
  return hsum<T>(sum + more);
}
template <class T>
void sparse_dots(Index M, Index k, Index D, const T* dy, const std::int64_t* u, const T* w, T* dv) {
  parallel_for(M, 2.0 * static_cast<double>(k * D), [&](Index m) {
    for (Index j = 0; j < k; ++j) dv[m * k + j] = dot(D, dy + m * D, w + u[m * k + j] * D);
  });
}

// The values of a code by unit: of unit n those from begin(n) to end(n) - 1, and the rows m they come from.
template <class T>
struct ByUnit {
  const RowsByToken by;
  Buffer buffer;
  Index* const rows;
  T *const values, *const values2;
  ByUnit(Index M, Index N, Index k, const std::int64_t* u, const T* v, const T* v2)
      : by(M * k, N, [u](Index p) { return u[p]; }),
        buffer((sizeof(Index) + 2 * sizeof(T)) * static_cast<std::size_t>(M * k)),
        rows(buffer.as<Index>()),
        values(reinterpret_cast<T*>(rows + M * k)),
        values2(values + M * k) {
    for (Index i = 0; i < M * k; ++i) {
      const Index p = by.order[i];
      rows[i] = p / k;
      values[i] = v[p];
      if (v2) values2[i] = v2[p];
    }
  }
};

// v2 and x may be null.
template <class T>
void sparse_outer(Index M, Index N, Index k, Index D, const std::int64_t* u, const T* v, const T* dy, const T* v2,
                  const T* x, T* dw) {
  const ByUnit<T> code(M, N, k, u, v, v2);
  const double cost = (v2 ? 4.0 : 2.0) * static_cast<double>(M * k * D) / static_cast<double>(greatest(1, N));
  parallel_for(N, cost + kByte * sizeof(T) * static_cast<double>(D), [&](Index n) {
    const Index first = code.by.begin(n), count = code.by.end(n) - first;
    for (Index c = 0; c < D; c += kCodeColumns<T>) {
      const Index columns = least(D - c, kCodeColumns<T>);
      T* const sum = dw + n * D + c;
      add_rows<T>(count, code.values + first, code.rows + first, dy + c, D, nullptr, sum, columns);
      if (v2) add_rows<T>(count, code.values2 + first, code.rows + first, x + c, D, sum, sum, columns);
    }
  });
}

}  // namespace
}  // namespace lamina
