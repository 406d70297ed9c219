// What the kernels of whole sequences have in common: their work cut into parts, the weights that a step multiplies by,
// and tokens.
#pragma once
#include "kernels/embedding.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/reduce.h"

namespace lamina {
namespace {

// Sequences cut into parts of about the same number of steps: part k has rows [begin(k), begin(k + 1)).
class RowParts {
 public:
  RowParts(const SequenceShape& s, double cost_per_step) : s_(s) {
    const double total = cost_per_step * static_cast<double>(s.total());
    count = plan_threads(s.N, total / static_cast<double>(greatest(s.N, 1)));
  }
  Index begin(Index k) const {
    if (k >= count) return s_.N;
    const double goal = static_cast<double>(s_.total()) * static_cast<double>(k) / static_cast<double>(count);
    Index row = 0, last = s_.steps;
    for (double before = 0; row < s_.N; ++row) {
      while (last > 0 && s_.rows(last - 1) <= row) --last;  // steps of this row
      if (before + 0.5 * static_cast<double>(last) >= goal) break;
      before += static_cast<double>(last);
    }
    return row;
  }
  Index count;

 private:
  const SequenceShape& s_;
};

constexpr double kCurve = 50;  // operations that take as long as a sigmoid or tanh

// How threads share the work: parts of the sequences, each a thread's own, or one part and a team for its units. A team
// takes up to kFewSequences, as far as a member's part of a step is longer than waiting for the others; and more of
// them, fewer than kFewEach a thread, where all threads' parts are large. Its members deal `blocks` of units.
class Shares {
 public:
  Shares(const SequenceShape& s, Cell cell, Index D, Index blocks) : parts(s, product(s, cell, D)) {
    constexpr double kLargePart = 1e6, kLeastPart = 4e4;
    constexpr Index kFewEach = 4;
    const double step =
        static_cast<double>(s.N) * (product(s, cell, D) + kCurve * static_cast<double>(gate_count(cell) * s.H));
    const Index threads = max_threads();
    if (s.N <= kFewSequences)
      team = least(least(threads, processors()), static_cast<Index>(step / kLeastPart));
    else if (s.N < kFewEach * threads && step >= kLargePart * static_cast<double>(threads))
      team = threads;
    team = greatest(1, least(team, blocks));
    if (team > 1) parts.count = 1;
    cost = product(s, cell, D) * static_cast<double>(s.total()) / static_cast<double>(parts.count);
  }
  // f(part, member, scratch), for each part or for each member of the team.
  template <class F>
  void run(std::size_t bytes, F&& f) const {
    if (team > 1) return parallel_team(team, bytes, [&](Member& member, void* scratch) { f(0, member, scratch); });
    parallel_for_scratch(parts.count, cost, bytes, [&](Index part, void* scratch) {
      std::atomic<Index> nobody{0};
      Member alone(nobody, 0, 1);
      f(part, alone, scratch);
    });
  }
  RowParts parts;
  Index team = 1;
  double cost;

 private:
  static double product(const SequenceShape& s, Cell cell, Index D) {  // of one sequence at a step
    return 2.0 * static_cast<double>(gate_count(cell) * s.H * (D + s.H));
  }
};

// Panels [first, last) of a product.
struct PanelRange {
  Index first, last;
};

// Packed weights of a product with `groups` times as many results as a group has columns.
template <class T>
struct Panels {
  Index groups, columns, depth;
  T* data;
  PanelRange all() const { return {0, panel_count<T>(columns)}; }
  T* group(Index g) const { return data + g * panel_offset<T>(panel_count<T>(columns), depth); }
  static std::size_t bytes(Index groups, Index columns, Index depth) {
    return sizeof(T) * static_cast<std::size_t>(groups * panel_count<T>(columns) * kPanel<T> * depth);
  }
};

// Of a product with w^T, or with [w | more]^T: rows of w (., D) and more (., H) from `first` on, some in each group.
template <class T>
struct ForwardPanels : Panels<T> {
  WeightBuffer packed;
  ForwardPanels(const T* w, Index D, const T* more, Index H, Index first, Index groups, Index columns)
      : Panels<T>{groups, columns, D + H, nullptr}, packed(this->bytes(groups, columns, D + H), &kMaker) {
    this->data = packed.as<T>();
    if (packed.is_filled()) return;
    const Index count = panel_count<T>(columns);
    parallel_for(groups * count, kByte * 4 * sizeof(T) * static_cast<double>((D + H) * kPanel<T>), [&](Index task) {
      const Index p = task % count, j = p * kPanel<T>, row = first + task / count * columns + j;
      const int width = panel_width<T>(columns, p), some = static_cast<int>(least(columns - j, kPanel<T>));
      T* const to = this->group(task / count) + panel_offset<T>(p, D + H);
      if (D > 0) pack_panel<T>({w + row * D, 1, D}, D, some, width, to);
      if (H > 0) pack_panel<T>({more + row * H, 1, H}, H, some, width, to + D * width);
    });
  }
};
// Of a product with rows [first, first + depth) of w (., columns).
template <class T>
struct BackwardPanels : Panels<T> {
  Buffer packed;
  BackwardPanels(const T* w, Index first, Index depth, Index columns)
      : Panels<T>{1, columns, depth, nullptr}, packed(this->bytes(1, columns, depth)) {
    this->data = packed.as<T>();
    pack_b<T>({w + first * columns, columns, 1}, depth, columns, this->data);
  }
};

// out (rows, columns) = or += a (rows, depth) times some panels of each group, on the caller's thread.
template <class T>
void times(const T* a, Index lda, Index rows, const Panels<T>& panels, PanelRange some, T* out, Index ldo,
           const T* bias, bool accumulate) {
  for (Index g = 0; g < panels.groups; ++g) {
    const GemmSlice<T> slice{panels.group(g), {a, lda, 1}, ReadA::kRows, panels.depth};
    const Index j = g * panels.columns;
    gemm_block(slice, 0, rows, some.first, some.last, panels.columns, out + j, ldo, bias ? bias + j : nullptr,
               accumulate);
  }
}

// Rows of gradients are this far apart: an odd number of lines, or they would collide in the cache.
template <class T>
LAMINA_INLINE Index apart(Index n) {
  return padded_row(n, sizeof(T));
}

template <class T>
LAMINA_INLINE Index row_of_xh(Index D, Index H) {
  return apart<T>(D + H + 1);
}

// c one step earlier: the initial one, or that of step - 1.
template <class T>
LAMINA_INLINE const T* c_before(const SequenceShape& s, Index step, const T* initial, const T* packed) {
  return step == 0 ? initial : packed + s.offset[step - 1] * s.H;
}

// What each token adds to the pre-activations: row v is column v of w_ih (n,D), plus b.
template <class T>
void token_table(Index n, Index D, const T* w_ih, const T* b, T* table) {
  parallel_for(n, kByte * 2 * sizeof(T) * static_cast<double>(D), [&](Index j) {
    for (Index v = 0; v < D; ++v) table[v * n + j] = b[j] + w_ih[j * D + v];
  });
}

// dw_ih from da (P, ld): column v is the sum of the rows with token v, in their order.
template <class T>
void token_gradient(const SequenceShape& s, const std::int64_t* tokens, Index n, const T* da, Index ld, T* dw_ih) {
  const Index D = s.D;
  Buffer sums(sizeof(T) * static_cast<std::size_t>(D * n));
  sum_by_token(s.total(), D, n, [&](Index p) { return tokens[s.source[p]]; }, da, ld, sums.as<T>());
  parallel_for(n, kByte * 2 * sizeof(T) * static_cast<double>(D), [&](Index j) {
    for (Index v = 0; v < D; ++v) dw_ih[j * D + v] = sums.as<T>()[v * n + j];
  });
}

}  // namespace
}  // namespace lamina
