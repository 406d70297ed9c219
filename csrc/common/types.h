// The shapes that kernels take. One vocabulary in all strata: N H W C images, O output channels, KH KW kernel,
// OH OW output image, T D sequences.
#pragma once
#include <cstddef>
#include <cstdint>

namespace lamina {

using Index = std::ptrdiff_t;

struct Conv2dShape {
  Index N, H, W, C;  // input image
  Index O, KH, KW;   // filters: (O, KH, KW, C / groups)
  Index OH, OW;      // output image
  Index stride_h, stride_w;
  Index top, bottom, left, right;  // padding
  Index dilation_h, dilation_w;
  Index groups;
  bool is_plain(Index kernel) const {
    return KH == kernel && KW == kernel && stride_h == 1 && stride_w == 1 && dilation_h == 1 && dilation_w == 1 &&
           groups == 1;
  }
};

struct Pool2dShape {
  Index N, H, W, C;
  Index KH, KW;
  Index OH, OW;
  Index stride_h, stride_w;
  Index top, bottom, left, right;
};

// A matrix of any strides (in elements): element (i, j) is data[i * rs + j * cs].
template <class T>
struct MatrixView {
  const T* data;
  Index rs, cs;
};

// fast may take Winograd's way, which rounds more; automatic may not.
enum class Algorithm { automatic, fast, im2col, direct, winograd2, winograd4 };

}  // namespace lamina
