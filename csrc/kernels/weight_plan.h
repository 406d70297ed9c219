// How the sums of a filters' gradient are cut, by the shape alone: so they have one order for any number of threads.
//
// Chunks of the pixels, each into its own partial result, which are then added in order; of each chunk its shares, some
// channels each; of each share its parts, in order: some images, or some rows of one.
#pragma once
#include "common/parallel.h"
#include "simd/vec.h"

namespace lamina {
namespace {

constexpr Index kMostChunks = 16;
constexpr Index kPartialBytes = 16 << 20;  // of all chunks' sums, where a chunk's are large

struct ImagePart {
  Index n0, images, first, rows;
};

struct WeightPlan {
  Index N, OH, rows, images, chunks;  // images of a part, or its rows of one
  WeightPlan(Index count, Index height, Index part_rows, Index part_images, Index most_chunks)
      : N(count), OH(height), rows(part_rows), images(part_images), chunks(greatest(1, least(most_chunks, parts()))) {}
  bool has_whole_images() const { return rows >= OH; }
  Index parts() const { return ceil_div(N, images) * ceil_div(OH, rows); }
  Index parts_of_chunk() const { return ceil_div(parts(), chunks); }
  // f(part) for those of a chunk, in order.
  template <class F>
  void for_parts(Index chunk, F&& f) const {
    const Index blocks = ceil_div(OH, rows), count = parts();
    for (Index i = chunk * count / chunks; i < (chunk + 1) * count / chunks; ++i) {
      const Index n0 = i / blocks * images, first = i % blocks * rows;
      f(ImagePart{n0, least(images, N - n0), first, least(rows, OH - first)});
    }
  }
};

// All chunks and shares of Sums: DirectFilterSums, LaneFilterSums.
template <class T, class Sums>
void backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw, T* db) {
  const Sums sums(s);
  const Index shares = sums.shares();
  parallel_for_scratch(sums.plan.chunks * shares, sums.cost(), sums.scratch_bytes(), [&](Index task, void* scratch) {
    const Index chunk = task / shares, share = task % shares;
    sums.clear(chunk, share);
    sums.plan.for_parts(chunk, [&](const ImagePart& part) {
      sums.add(chunk, share, part, dy + (part.n0 * s.OH + part.first) * s.OW * s.O, x, scratch);
    });
  });
  sums.finish(dw, db);
}

}  // namespace
}  // namespace lamina
