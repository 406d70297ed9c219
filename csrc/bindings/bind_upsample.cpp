#include "bindings/checks.h"

namespace lamina {
namespace {

UpsampleShape upsample_shape(const char* op, const Shape& x, Pair factor, bool bilinear) {
  const Index limit = Index{1} << 31;
  if (factor[0] < 1 || factor[1] < 1 || factor[0] > limit || factor[1] > limit)
    fail_value(std::string(op) + ": factors must be from 1 to " + std::to_string(limit));
  if (x[1] * factor[0] > limit || x[2] * factor[1] > limit)
    fail_value(std::string(op) + ": the image would be too large");
  return {x[0], x[1], x[2], x[3], factor[0], factor[1], bilinear};
}

py::array upsample2d(const py::array& x, Pair factor, bool bilinear) {
  const char* op = "upsample2d";
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1, -1, -1});
    const UpsampleShape s = upsample_shape(op, shape_of(x), factor, bilinear);
    py::array y = allocate<T>({s.N, s.H * s.factor_h, s.W * s.factor_w, s.C});
    T* out = data<T>(y);
    run([=] { kernels<T>().upsample2d(s, xs, out); });
    return y;
  });
}

py::array upsample2d_backward(const py::array& dy, Pair factor, bool bilinear) {
  const char* op = "upsample2d_backward";
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* dys = input<T>(op, "dy", dy, {-1, -1, -1, -1});
    if (factor[0] < 1 || factor[1] < 1 || dy.shape(1) % factor[0] || dy.shape(2) % factor[1])
      fail_value(std::string(op) + ": factors must be at least 1 and divide the image");
    const Shape x{dy.shape(0), dy.shape(1) / factor[0], dy.shape(2) / factor[1], dy.shape(3)};
    const UpsampleShape s = upsample_shape(op, x, factor, bilinear);
    py::array dx = allocate<T>(x);
    T* out = data<T>(dx);
    run([=] { kernels<T>().upsample2d_backward(s, dys, out); });
    return dx;
  });
}

}  // namespace

void bind_upsample(py::module_& m) {
  using py::arg;
  m.def("upsample2d", &upsample2d, arg("x"), arg("factor"), arg("bilinear"));
  m.def("upsample2d_backward", &upsample2d_backward, arg("dy"), arg("factor"), arg("bilinear"));
}

}  // namespace lamina
