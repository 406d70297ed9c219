#include "bindings/checks.h"

namespace lamina {
namespace {

constexpr Index kByteCodes = 255;  // window offsets that fit one byte beside the code of no pixel

// Every window must hold at least one pixel of the image.
void check_axis(const char* op, Index size, Index outputs, Index kernel, Index stride, Index before, Index after) {
  const Index limit = Index{1} << 31;
  if (kernel < 1 || stride < 1 || before < 0 || after < 0 || outputs < 1 || size >= limit || kernel >= limit ||
      stride >= limit || before >= limit || after >= limit || outputs >= limit)
    fail_value(std::string(op) + ": kernel size, stride and output size must be at least 1 and padding not negative");
  if (before >= kernel || (outputs - 1) * stride - before >= size)
    fail_value(std::string(op) + ": a window would lie wholly outside the image (image " + std::to_string(size) +
               ", kernel " + std::to_string(kernel) + ", stride " + std::to_string(stride) + ", padding " +
               std::to_string(before) + ", output " + std::to_string(outputs) + ")");
}

Pool2dShape pool_shape(const char* op, const Shape& x, Pair kernel, Pair stride, Sides padding, Pair output) {
  check_axis(op, x[1], output[0], kernel[0], stride[0], padding[0], padding[1]);
  check_axis(op, x[2], output[1], kernel[1], stride[1], padding[2], padding[3]);
  return {x[0],      x[1],      x[2],      x[3],       kernel[0],  kernel[1],  output[0],
          output[1], stride[0], stride[1], padding[0], padding[1], padding[2], padding[3]};
}

py::tuple max_pool2d(const py::array& x, Pair kernel_size, Pair stride, Sides padding, Pair output_size, bool relu) {
  const char* op = "max_pool2d";
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1, -1, -1});
    const Pool2dShape s = pool_shape(op, shape_of(x), kernel_size, stride, padding, output_size);
    const bool bytes = s.KH * s.KW <= kByteCodes;
    const Shape shape{s.N, s.OH, s.OW, s.C};
    py::array y = allocate<T>(shape), argmax = bytes ? allocate<std::uint8_t>(shape) : allocate<std::int32_t>(shape);
    T* ys = data<T>(y);
    void* codes = argmax.mutable_data();
    run([=] {
      if (bytes)
        kernels<T>().max_pool2d_u8(s, relu, xs, ys, static_cast<std::uint8_t*>(codes));
      else
        kernels<T>().max_pool2d_i32(s, relu, xs, ys, static_cast<std::int32_t*>(codes));
    });
    return py::make_tuple(y, argmax);
  });
}

py::array max_pool2d_backward(const py::array& dy, const py::array& argmax, Pair input_size, Pair kernel_size,
                              Pair stride, Sides padding) {
  const char* op = "max_pool2d_backward";
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* dys = input<T>(op, "dy", dy, {-1, -1, -1, -1});
    const Shape shape = shape_of(dy), x_shape{shape[0], input_size[0], input_size[1], shape[3]};
    const Pool2dShape s = pool_shape(op, x_shape, kernel_size, stride, padding, {shape[1], shape[2]});
    const bool bytes = s.KH * s.KW <= kByteCodes;
    const std::uint8_t* u8 = bytes ? input<std::uint8_t>(op, "argmax", argmax, shape) : nullptr;
    const std::int32_t* i32 = bytes ? nullptr : input<std::int32_t>(op, "argmax", argmax, shape);
    py::array dx = allocate<T>(x_shape);
    T* out = data<T>(dx);
    run([=] {
      if (bytes)
        kernels<T>().max_pool2d_backward_u8(s, dys, u8, out);
      else
        kernels<T>().max_pool2d_backward_i32(s, dys, i32, out);
    });
    return dx;
  });
}

py::array max_unpool2d_backward(const py::array& dy, const py::array& argmax, Pair kernel_size, Pair stride,
                                Sides padding) {
  const char* op = "max_unpool2d_backward";
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* dys = input<T>(op, "dy", dy, {-1, -1, -1, -1});
    require_rank(op, "argmax", argmax, 4, "NHWC");
    const Shape shape{dy.shape(0), argmax.shape(1), argmax.shape(2), dy.shape(3)};
    const Pool2dShape s = pool_shape(op, shape_of(dy), kernel_size, stride, padding, {shape[1], shape[2]});
    const bool bytes = s.KH * s.KW <= kByteCodes;
    const std::uint8_t* u8 = bytes ? input<std::uint8_t>(op, "argmax", argmax, shape) : nullptr;
    const std::int32_t* i32 = bytes ? nullptr : input<std::int32_t>(op, "argmax", argmax, shape);
    py::array dx = allocate<T>(shape);
    T* out = data<T>(dx);
    run([=] {
      if (bytes)
        kernels<T>().max_unpool2d_backward_u8(s, dys, u8, out);
      else
        kernels<T>().max_unpool2d_backward_i32(s, dys, i32, out);
    });
    return dx;
  });
}

py::array avg_pool2d(const py::array& x, Pair kernel_size, Pair stride, Sides padding, Pair output_size,
                     bool count_include_pad) {
  const char* op = "avg_pool2d";
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1, -1, -1});
    const Pool2dShape s = pool_shape(op, shape_of(x), kernel_size, stride, padding, output_size);
    py::array y = allocate<T>({s.N, s.OH, s.OW, s.C});
    T* out = data<T>(y);
    run([=] { kernels<T>().avg_pool2d(s, count_include_pad, xs, out); });
    return y;
  });
}

py::array avg_pool2d_backward(const py::array& dy, Pair input_size, Pair kernel_size, Pair stride, Sides padding,
                              bool count_include_pad) {
  const char* op = "avg_pool2d_backward";
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* dys = input<T>(op, "dy", dy, {-1, -1, -1, -1});
    const Shape shape = shape_of(dy), x_shape{shape[0], input_size[0], input_size[1], shape[3]};
    const Pool2dShape s = pool_shape(op, x_shape, kernel_size, stride, padding, {shape[1], shape[2]});
    py::array dx = allocate<T>(x_shape);
    T* out = data<T>(dx);
    run([=] { kernels<T>().avg_pool2d_backward(s, count_include_pad, dys, out); });
    return dx;
  });
}

}  // namespace

void bind_pool(py::module_& m) {
  using py::arg;
  m.def("max_pool2d", &max_pool2d, arg("x"), arg("kernel_size"), arg("stride"), arg("padding"), arg("output_size"),
        arg("relu") = false);
  m.def("max_pool2d_backward", &max_pool2d_backward, arg("dy"), arg("argmax"), arg("input_size"), arg("kernel_size"),
        arg("stride"), arg("padding"));
  m.def("max_unpool2d_backward", &max_unpool2d_backward, arg("dy"), arg("argmax"), arg("kernel_size"), arg("stride"),
        arg("padding"));
  m.def("avg_pool2d", &avg_pool2d, arg("x"), arg("kernel_size"), arg("stride"), arg("padding"), arg("output_size"),
        arg("count_include_pad"));
  m.def("avg_pool2d_backward", &avg_pool2d_backward, arg("dy"), arg("input_size"), arg("kernel_size"), arg("stride"),
        arg("padding"), arg("count_include_pad"));
}

}  // namespace lamina
