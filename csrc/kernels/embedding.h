// Rows of a table by number, and the way back: the sum of the gradients of each row.
//
//   y[p] = w[t_p]           dw[v] = sum of dy[p] over the p with t_p = v, in their order
//
// tokens (P), each in 0..V-1; w, dw (V,D); y, dy (P,D). Backward sorts the rows by token first, so that each row of dw
// is one sum. The parallel axis: blocks of rows p forward, tokens v backward.
#pragma once
#include "kernels/pack.h"

namespace lamina {
namespace {

constexpr Index kEmbeddingRows = 64;  // of a task

// Rows p in 0..P-1 by token, those of one token in their order: v has order[begin(v)] to order[end(v) - 1].
struct RowsByToken {
  Buffer buffer;
  Index *const order, *const ends;
  template <class TokenOf>
  RowsByToken(Index P, Index V, TokenOf&& token_of)
      : buffer(sizeof(Index) * static_cast<std::size_t>(P + V + 1)),
        order(buffer.as<Index>()),
        ends(buffer.as<Index>() + P) {
    for (Index v = 0; v <= V; ++v) ends[v] = 0;
    for (Index p = 0; p < P; ++p) ++ends[token_of(p) + 1];
    for (Index v = 0; v < V; ++v) ends[v + 1] += ends[v];
    for (Index p = 0; p < P; ++p) order[ends[token_of(p)]++] = p;  // begins become ends
  }
  Index begin(Index v) const { return v == 0 ? 0 : ends[v - 1]; }
  Index end(Index v) const { return ends[v]; }
};

// out (V,n): row v is the sum of the rows with token v of x (P, n), which are ld apart.
template <class T, class TokenOf>
void sum_by_token(Index P, Index V, Index n, TokenOf&& token_of, const T* x, Index ld, T* out) {
  const RowsByToken rows(P, V, token_of);
  const double cost = kByte * sizeof(T) * static_cast<double>((P + V) * n) / static_cast<double>(greatest(1, V));
  parallel_for(V, cost, [&](Index v) {
    for_vectors<T>(0, n, [&](Index j, int lanes) LAMINA_STEP {
      Vec<T> sum = splat(T(0));
      for (Index i = rows.begin(v); i < rows.end(v); ++i) sum += load_some(x + rows.order[i] * ld + j, lanes);
      store_some(out + v * n + j, sum, lanes);
    });
  });
}

template <class T>
void embedding(Index P, Index D, const std::int64_t* tokens, const T* w, T* y) {
  parallel_blocks(P, kEmbeddingRows, kByte * 2 * sizeof(T) * static_cast<double>(D), [&](Index begin, Index end) {
    for (Index p = begin; p < end; ++p) copy(w + tokens[p] * D, y + p * D, D);
  });
}

template <class T>
void embedding_backward(Index P, Index V, Index D, const std::int64_t* tokens, const T* dy, T* dw) {
  sum_by_token(P, V, D, [&](Index p) { return tokens[p]; }, dy, D, dw);
}

}  // namespace
}  // namespace lamina
