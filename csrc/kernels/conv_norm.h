// A convolution and the batch normalisation behind it: the bits of the one and then the other, in fewer passes over
// memory. Large images are bound by it: a part of them goes from one kernel to the next while it is in cache.
//
//   y = conv2d(x, w) + b, and its moments;    dy = the normalisation's gradient, dx, dw, db = the convolution's of it
//
// Forward, where each output sees one pixel: the moments of a block of rows right behind their sums. With statistics
// that are known: a block is normalised where it stands, in cache. Backward, by the
// direct kernels: dy of a part of the images is made in scratch, read for the filters and the input, and forgotten.
#pragma once
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"

namespace lamina {
namespace {

// Each output sees one pixel, at its own place: images are rows of pixels.
LAMINA_INLINE bool is_pointwise(const Conv2dShape& s) {
  return s.is_plain(1) && s.OH == s.H && s.OW == s.W && s.top == 0 && s.left == 0;
}
// Some images, or rows of one, as a convolution of their own.
LAMINA_INLINE Conv2dShape part_of(Conv2dShape s, const ImagePart& part) {
  s.N = part.images;
  if (part.rows < s.OH) s.H = s.OH = part.rows;
  return s;
}

template <class T>
void pointwise_moments(const Conv2dShape& s, const T* x, const T* w, const T* b, T* y, T* mean, T* var) {
  constexpr Index kOutBytes = 256 << 10, kItem = sizeof(T);
  const Index M = s.N * s.OH * s.OW, rows = norm_rows(s.O), blocks = ceil_div(M, rows);
  const Index fit = least(kBlockBytes / (kItem * s.C), kOutBytes / (kItem * s.O)), step = greatest(1, fit / rows);
  const BlockMoments<T> moments(M, s.O, y);
  const TapGrid whole = forward_grid(s);
  const WeightBuffer packed(sizeof(T) * static_cast<std::size_t>(whole.packed_size(kPanel<T>)), &kMaker);
  if (!packed.is_filled()) pack_filters<T>(whole, forward_filters(s, w), packed.as<T>());
  parallel_for(ceil_div(blocks, step), 2.0 * static_cast<double>(step * rows * s.O * s.C), [&](Index task) {
    const Index first = task * step, last = least(blocks, first + step), begin = first * rows,
                end = least(M, last * rows);
    Conv2dShape part = s;
    part.N = part.H = part.OH = 1, part.W = part.OW = end - begin;
    direct_conv(forward_grid(part), 1, x + begin * s.C, packed.as<T>(), b, false, y + begin * s.O);
    for (Index block = first; block < last; ++block) moments.add(block);
  });
  moments.merge(mean, var);
}

template <class T>
void conv2d_moments(const Conv2dShape& s, Algorithm algorithm, const T* x, const T* w, const T* b, T* y, T* mean,
                    T* var) {
  if (is_pointwise(s) && choose_algorithm(s, algorithm) == Algorithm::direct)
    return pointwise_moments(s, x, w, b, y, mean, var);
  conv2d(s, algorithm, x, w, b, false, y);
  column_moments(s.N * s.OH * s.OW, s.O, y, mean, var);
}

// y normalised with n's statistics.
template <class T>
void conv2d_norm(const Conv2dShape& s, Algorithm algorithm, const T* x, const T* w, const T* b, const Normal<T>& n,
                 T* y) {
  const auto after = [&](Index image, Index first, Index rows) {
    T* const block = y + (image * s.OH + first) * s.OW * s.O;
    normalise(rows * s.OW, s.O, static_cast<const T*>(block), n.mean, n.scale, n.shift, n.relu, block);
  };
  const bool winograd = by_winograd<T>(s, algorithm, s.OH, s.OW, kFilterCost, [](auto) {});
  if (!winograd && takes_lanes<T>(s, algorithm) && LaneGroups::of<T>(forward_grid(s)).in_place)
    return conv2d_lanes(s, x, w, b, false, y, after);
  if (!winograd && s.groups == 1 && choose_algorithm(s, algorithm) == Algorithm::direct)
    return conv2d_direct(s, x, w, b, false, y, after);
  conv2d(s, algorithm, x, w, b, false, y);
  batch_norm(s.N * s.OH * s.OW, s.O, static_cast<const T*>(y), n.mean, n.scale, n.shift, n.relu, y);
}

// Whether the direct kernels, or those of few channels a group, are what computes both gradients.
template <class T>
bool goes_directly(const Conv2dShape& s, Algorithm algorithm, bool needs_dx) {
  const auto nothing = [](auto) {};
  if (by_winograd<T>(s, algorithm, s.OH, s.OW, kFilterSumsCost, nothing)) return false;
  if (needs_dx && by_winograd<T>(s, algorithm, s.H, s.W, kFilterCost, nothing)) return false;
  if (takes_lanes<T>(s, algorithm)) return true;
  return choose_algorithm(s, algorithm) == Algorithm::direct && !(needs_dx && wastes_lanes<T>(s));
}

// False if the images do not fall into parts that fit into cache, enough for all threads.
template <class T, class Sums>
bool backward_by_parts(const Conv2dShape& s, const NormGradients<T>& gradients, const T* x, const T* w, T* dx, T* dw,
                       T* db) {
  constexpr std::size_t kMostBytes = 1 << 20;
  constexpr Index kLeastPixels = 64;  // of a part: its filters are packed for it
  const Sums sums(s);
  const WeightPlan& plan = sums.plan;
  if (s.groups == 1 && plan.images * plan.rows * s.OW < kLeastPixels) return false;
  const std::size_t part_bytes =
      (sizeof(T) * static_cast<std::size_t>(plan.images * plan.rows * s.OW * s.O) + kAlignment - 1) / kAlignment *
      kAlignment;
  if (part_bytes > kMostBytes || plan.chunks < max_threads() || !(plan.has_whole_images() || is_pointwise(s)))
    return false;
  const double cost = sums.cost() * static_cast<double>(sums.shares() * (dx ? 2 : 1));
  parallel_for_scratch(plan.chunks, cost, part_bytes + sums.scratch_bytes(), [&](Index chunk, void* mine) {
    T* const dy = static_cast<T*>(mine);
    void* const scratch = static_cast<char*>(mine) + part_bytes;
    for (Index share = 0; share < sums.shares(); ++share) sums.clear(chunk, share);
    plan.for_parts(chunk, [&](const ImagePart& part) {
      const Index row = part.n0 * s.OH + part.first;
      gradients.make(row * s.OW, (row + part.images * part.rows) * s.OW, dy);
      for (Index share = 0; share < sums.shares(); ++share) sums.add(chunk, share, part, dy, x, scratch);
      if (dx)
        conv2d_backward_input<T>(part_of(s, part), Algorithm::direct, dy, w, nullptr, false,
                                 dx + (part.n0 * s.H + part.first) * s.W * s.C);
    });
  });
  sums.finish(dw, db);
  return true;
}

// y: the convolution's, which n normalised; dy: of what came of it. dx: null if nobody needs it.
template <class T>
void conv2d_norm_backward(const Conv2dShape& s, Algorithm algorithm, const T* dy, const T* y, const Normal<T>& n,
                          const T* x, const T* w, T* dx, T* dw, T* db, T* dgamma, T* dbeta) {
  const Index M = s.N * s.OH * s.OW;
  const NormGradients<T> gradients(M, s.O, dy, y, n, dgamma, dbeta);
  if (goes_directly<T>(s, algorithm, dx != nullptr) &&
      (takes_lanes<T>(s, algorithm) ? backward_by_parts<T, LaneFilterSums<T>>(s, gradients, x, w, dx, dw, db)
                                    : backward_by_parts<T, DirectFilterSums<T>>(s, gradients, x, w, dx, dw, db)))
    return;
  Buffer made(sizeof(T) * static_cast<std::size_t>(M * s.O));
  norm_blocks<T>(M, s.O, 3,
                 [&](Index begin, Index end, Index) { gradients.make(begin, end, made.as<T>() + begin * s.O); });
  if (dx) conv2d_backward_input<T>(s, algorithm, made.as<T>(), w, nullptr, false, dx);
  conv2d_backward_weight<T>(s, algorithm, made.as<T>(), x, dw, db);
}

}  // namespace
}  // namespace lamina
