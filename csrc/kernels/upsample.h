// Enlarging NHWC images by whole factors, vectors across the channels.
//
//   y[oh][ow] = sum over the pixels (h, w) that oh and ow see, of their weights, x[h][w]
//
// Nearest: oh sees h = oh / factor alone. Bilinear: it stands at (oh + 1/2) / factor - 1/2 among the rows, within the
// image, and sees the two rows around it by their nearness. Backward, a pixel asks those that see it, in order. Tasks:
// rows of what is written.
#pragma once
#include "common/parallel.h"
#include "kernels/pack.h"

namespace lamina {
namespace {

// What each output along one axis sees: `low` and the one after it, with weights 1 - part and part.
template <class T>
struct Seen {
  Index low;
  T part;
};
template <class T>
Seen<T> seen_from(Index out, Index size, Index factor, bool bilinear) {
  if (!bilinear) return {out / factor, T(0)};
  const double place = (static_cast<double>(out) + 0.5) / static_cast<double>(factor) - 0.5;
  const double inside = place < 0 ? 0 : place;
  const Index low = least(static_cast<Index>(inside), size - 1);
  return {low, low + 1 < size ? static_cast<T>(inside - static_cast<double>(low)) : T(0)};
}
template <class T>
LAMINA_INLINE T weight_of(const Seen<T>& seen, Index pixel) {
  return pixel == seen.low ? T(1) - seen.part : pixel == seen.low + 1 ? seen.part : T(0);
}

// The outputs of an axis, and for each of its pixels those that may see it: [first, last).
template <class T>
struct SeenAxis {
  Index factor, outputs;
  bool bilinear;
  Buffer buffer;
  SeenAxis(Index size, Index by, bool two)
      : factor(by), outputs(size * by), bilinear(two), buffer(sizeof(Seen<T>) * static_cast<std::size_t>(size * by)) {
    for (Index out = 0; out < outputs; ++out) buffer.as<Seen<T>>()[out] = seen_from<T>(out, size, by, two);
  }
  const Seen<T>& operator[](Index out) const { return buffer.as<Seen<T>>()[out]; }
  Index first(Index pixel) const { return bilinear ? greatest(0, (pixel - 1) * factor) : pixel * factor; }
  Index last(Index pixel) const { return least(outputs, (pixel + (bilinear ? 2 : 1)) * factor); }
};

template <class T>
void upsample2d(const UpsampleShape& s, const T* x, T* y) {
  const SeenAxis<T> rows(s.H, s.factor_h, s.bilinear), columns(s.W, s.factor_w, s.bilinear);
  const Index C = s.C, OH = rows.outputs, OW = columns.outputs;
  parallel_for(s.N * OH, kByte * 2 * sizeof(T) * static_cast<double>(OW * C), [&](Index task) {
    const Seen<T> at = rows[task % OH];
    const T* const top = x + (task / OH * s.H + at.low) * s.W * C;
    const T* const below = at.part == 0 ? top : top + s.W * C;
    for (Index ow = 0; ow < OW; ++ow) {
      const Seen<T> to = columns[ow];
      T* const out = y + (task * OW + ow) * C;
      if (!s.bilinear) {
        copy(top + to.low * C, out, C);
        continue;
      }
      const Index left = to.low * C, right = to.part == 0 ? left : left + C;
      for_vectors<T>(0, C, [&](Index c, int n) LAMINA_STEP {
        const Vec<T> l =
            splat(T(1) - at.part) * load_some(top + left + c, n) + splat(at.part) * load_some(below + left + c, n);
        const Vec<T> r =
            splat(T(1) - at.part) * load_some(top + right + c, n) + splat(at.part) * load_some(below + right + c, n);
        store_some(out + c, splat(T(1) - to.part) * l + splat(to.part) * r, n);
      });
    }
  });
}

template <class T>
void upsample2d_backward(const UpsampleShape& s, const T* dy, T* dx) {
  const SeenAxis<T> rows(s.H, s.factor_h, s.bilinear), columns(s.W, s.factor_w, s.bilinear);
  const Index C = s.C, OH = rows.outputs, OW = columns.outputs, area = s.factor_h * s.factor_w * (s.bilinear ? 4 : 1);
  parallel_for(s.N * s.H, kByte * sizeof(T) * static_cast<double>(s.W * C * (1 + area)), [&](Index task) {
    const Index h = task % s.H;
    const T* const image = dy + task / s.H * OH * OW * C;
    for (Index w = 0; w < s.W; ++w) {
      for_vectors<T>(0, C, [&](Index c, int n) LAMINA_STEP {
        Vec<T> sum = splat(T(0));
        for (Index oh = rows.first(h); oh < rows.last(h); ++oh) {
          const T of_row = weight_of(rows[oh], h);
          for (Index ow = columns.first(w); ow < columns.last(w); ++ow) {
            const T weight = of_row * weight_of(columns[ow], w);
            if (weight != 0) sum += splat(weight) * load_some(image + (oh * OW + ow) * C + c, n);
          }
        }
        store_some(dx + (task * s.W + w) * C + c, sum, n);
      });
    }
  });
}

}  // namespace
}  // namespace lamina
