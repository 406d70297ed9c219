#include "bindings/checks.h"

namespace lamina {
namespace {

// x_shape (N,H,W,C), w_shape (OH,OW,O,KH,KW,C); OH and OW must be what stride and padding make of the image.
Conv2dShape local_shape(const char* op, const Shape& x, const Shape& w, Pair stride, Sides padding) {
  const Index limit = Index{1} << 31;
  for (const Index n : {x[1], x[2], x[3], w[2], w[3], w[4], stride[0], stride[1]})
    if (n < 1 || n >= limit) fail_value(std::string(op) + ": sizes and strides must be from 1 to 2**31 - 1");
  for (const Index n : padding)
    if (n < 0 || n >= limit) fail_value(std::string(op) + ": padding must be from 0 to 2**31 - 1");
  const Index h = x[1] + padding[0] + padding[1] - w[3], v = x[2] + padding[2] + padding[3] - w[4];
  if (h < 0 || v < 0 || w[0] != h / stride[0] + 1 || w[1] != v / stride[1] + 1 || w[5] != x[3])
    fail_value(std::string(op) + ": w has shape " + shape_text(w) + " (OH,OW,O,KH,KW,C), which does not fit x " +
               shape_text(x) + " (NHWC)");
  return {x[0],      x[1],      x[2],       x[3],       w[2],       w[3],       w[4], w[0], w[1],
          stride[0], stride[1], padding[0], padding[1], padding[2], padding[3], 1,    1,    1};
}

py::array locally_connected2d(const py::array& x, const py::array& w, const std::optional<py::array>& b, Pair stride,
                              Sides padding) {
  const char* op = "locally_connected2d";
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T *xs = input<T>(op, "x", x, {-1, -1, -1, -1}), *ws = input<T>(op, "w", w, {-1, -1, -1, -1, -1, -1});
    const Conv2dShape s = local_shape(op, shape_of(x), shape_of(w), stride, padding);
    const T* bs = optional_input<T>(op, "b", b, {s.OH, s.OW, s.O});
    py::array y = allocate<T>({s.N, s.OH, s.OW, s.O});
    T* out = data<T>(y);
    run([=] { kernels<T>().locally_connected2d(s, xs, ws, bs, out); });
    return y;
  });
}

py::array locally_connected2d_backward_input(const py::array& dy, const py::array& w, Pair input_size, Pair stride,
                                             Sides padding) {
  const char* op = "locally_connected2d_backward_input";
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    require_rank(op, "dy", dy, 4, "(N, OH, OW, O)");
    const T* ws = input<T>(op, "w", w, {-1, -1, -1, -1, -1, -1});
    const Shape x_shape{dy.shape(0), input_size[0], input_size[1], w.shape(5)};
    const Conv2dShape s = local_shape(op, x_shape, shape_of(w), stride, padding);
    const T* dys = input<T>(op, "dy", dy, {s.N, s.OH, s.OW, s.O});
    py::array dx = allocate<T>(x_shape);
    T* out = data<T>(dx);
    run([=] { kernels<T>().locally_connected2d_backward_input(s, dys, ws, out); });
    return dx;
  });
}

py::array locally_connected2d_backward_weight(const py::array& dy, const py::array& x, Pair kernel_size, Pair stride,
                                              Sides padding) {
  const char* op = "locally_connected2d_backward_weight";
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    require_rank(op, "dy", dy, 4, "(N, OH, OW, O)");
    const T* xs = input<T>(op, "x", x, {dy.shape(0), -1, -1, -1});
    const Shape w_shape{dy.shape(1), dy.shape(2), dy.shape(3), kernel_size[0], kernel_size[1], x.shape(3)};
    const Conv2dShape s = local_shape(op, shape_of(x), w_shape, stride, padding);
    const T* dys = input<T>(op, "dy", dy, {s.N, s.OH, s.OW, s.O});
    py::array dw = allocate<T>(w_shape);
    T* out = data<T>(dw);
    run([=] { kernels<T>().locally_connected2d_backward_weight(s, dys, xs, out); });
    return dw;
  });
}

}  // namespace

void bind_locally_connected(py::module_& m) {
  using py::arg;
  m.def("locally_connected2d", &locally_connected2d, arg("x"), arg("w"), arg("b"), arg("stride"), arg("padding"));
  m.def("locally_connected2d_backward_input", &locally_connected2d_backward_input, arg("dy"), arg("w"),
        arg("input_size"), arg("stride"), arg("padding"));
  m.def("locally_connected2d_backward_weight", &locally_connected2d_backward_weight, arg("dy"), arg("x"),
        arg("kernel_size"), arg("stride"), arg("padding"));
}

}  // namespace lamina
