#include "bindings/checks.h"

namespace lamina {
namespace {

Algorithm algorithm_named(const char* op, const std::string& name) {
  constexpr std::pair<const char*, Algorithm> known[] = {
      {"auto", Algorithm::automatic}, {"fast", Algorithm::fast},           {"im2col", Algorithm::im2col},
      {"direct", Algorithm::direct},  {"winograd2", Algorithm::winograd2}, {"winograd4", Algorithm::winograd4}};
  for (const auto& [word, algorithm] : known)
    if (name == word) return algorithm;
  fail_value(std::string(op) +
             ": algorithm must be 'auto', 'fast', 'im2col', 'direct', 'winograd2' or 'winograd4', not '" + name + "'");
}

struct Options {
  Pair stride;
  Sides padding;
  Pair dilation;
  Index groups;
};

// The output length of an axis; refuses what has none.
Index output_length(const char* op, Index size, Index before, Index after, Index kernel, Index stride, Index dilation) {
  if (kernel < 1 || stride < 1 || dilation < 1)
    fail_value(std::string(op) + ": kernel size, stride and dilation must be at least 1");
  if (before < 0 || after < 0) fail_value(std::string(op) + ": padding must not be negative");
  const Index limit = Index{1} << 31;
  if (size >= limit || before >= limit || after >= limit || kernel >= limit || stride >= limit || dilation >= limit)
    fail_value(std::string(op) + ": sizes must be below 2**31");
  const Index reach = dilation * (kernel - 1) + 1, padded = size + before + after;
  if (reach > padded)
    fail_value(std::string(op) + ": the kernel reaches over " + std::to_string(reach) +
               " pixels but the padded image has " + std::to_string(padded));
  return (padded - reach) / stride + 1;
}

// x_shape (N,H,W,C), w_shape (O,KH,KW,I).
Conv2dShape conv_shape(const char* op, const Shape& x, const Shape& w, const Options& o, Algorithm algorithm) {
  if (x[1] < 1 || x[2] < 1 || x[3] < 1 || w[0] < 1)
    fail_value(std::string(op) + ": only N may be empty, but x has shape " + shape_text(x) + " (NHWC) and w " +
               shape_text(w) + " (OHWI)");
  if (o.groups < 1 || x[3] % o.groups != 0 || w[0] % o.groups != 0 || x[3] / o.groups != w[3])
    fail_value(std::string(op) + ": x has " + std::to_string(x[3]) + " channels and w has shape " + shape_text(w) +
               " (OHWI), which do not fit groups = " + std::to_string(o.groups));
  const Index OH = output_length(op, x[1], o.padding[0], o.padding[1], w[1], o.stride[0], o.dilation[0]);
  const Index OW = output_length(op, x[2], o.padding[2], o.padding[3], w[2], o.stride[1], o.dilation[1]);
  const Conv2dShape s{x[0],         x[1],         x[2],         x[3],          w[0],          w[1],
                      w[2],         OH,           OW,           o.stride[0],   o.stride[1],   o.padding[0],
                      o.padding[1], o.padding[2], o.padding[3], o.dilation[0], o.dilation[1], o.groups};
  if ((algorithm == Algorithm::winograd2 && !s.is_plain(3) && !s.is_plain(5)) ||
      (algorithm == Algorithm::winograd4 && !s.is_plain(3)))
    fail_value(std::string(op) +
               ": Winograd's algorithm needs 3x3 filters (tiles of 2x2 outputs also 5x5), stride 1, dilation 1 and "
               "groups 1");
  return s;
}

py::array conv2d(const py::array& x, const py::array& w, const std::optional<py::array>& b, Pair stride, Sides padding,
                 Pair dilation, Index groups, const std::string& algorithm, bool relu) {
  const char* op = "conv2d";
  const Algorithm chosen = algorithm_named(op, algorithm);
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1, -1, -1});
    const T* ws = input<T>(op, "w", w, {-1, -1, -1, -1});
    const Conv2dShape s = conv_shape(op, shape_of(x), shape_of(w), {stride, padding, dilation, groups}, chosen);
    const T* bs = optional_input<T>(op, "b", b, {s.O});
    py::array y = allocate<T>({s.N, s.OH, s.OW, s.O});
    T* out = data<T>(y);
    run_packing([=] { kernels<T>().conv2d(s, chosen, xs, ws, bs, relu, out); });
    return y;
  });
}

py::array conv2d_backward_input(const py::array& dy, const py::array& w, Pair input_size, Pair stride, Sides padding,
                                Pair dilation, Index groups, const std::string& algorithm,
                                const std::optional<py::array>& b, bool relu) {
  const char* op = "conv2d_backward_input";
  const Algorithm chosen = algorithm_named(op, algorithm);
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    require_rank(op, "dy", dy, 4, "(N, OH, OW, O)");
    const T* ws = input<T>(op, "w", w, {-1, -1, -1, -1});
    const Shape x_shape{dy.shape(0), input_size[0], input_size[1], w.shape(3) * groups};
    const Conv2dShape s = conv_shape(op, x_shape, shape_of(w), {stride, padding, dilation, groups}, chosen);
    const T* dys = input<T>(op, "dy", dy, {s.N, s.OH, s.OW, s.O});
    const T* bs = optional_input<T>(op, "b", b, {s.C});
    py::array dx = allocate<T>(x_shape);
    T* out = data<T>(dx);
    run_packing([=] { kernels<T>().conv2d_backward_input(s, chosen, dys, ws, bs, relu, out); });
    return dx;
  });
}

py::tuple conv2d_backward_weight(const py::array& dy, const py::array& x, Pair kernel_size, Pair stride, Sides padding,
                                 Pair dilation, Index groups, const std::string& algorithm,
                                 const std::optional<py::array>& dw_out, const std::optional<py::array>& db_out) {
  const char* op = "conv2d_backward_weight";
  const Algorithm chosen = algorithm_named(op, algorithm);
  return by_dtype(op, "dy", dy, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    require_rank(op, "dy", dy, 4, "(N, OH, OW, O)");
    const T* xs = input<T>(op, "x", x, {dy.shape(0), -1, -1, -1});
    const Shape w_shape{dy.shape(3), kernel_size[0], kernel_size[1], groups > 0 ? x.shape(3) / groups : 0};
    const Conv2dShape s = conv_shape(op, shape_of(x), w_shape, {stride, padding, dilation, groups}, chosen);
    const T* dys = input<T>(op, "dy", dy, {s.N, s.OH, s.OW, s.O});
    py::array dw = result<T>(op, "dw", dw_out, w_shape), db = result<T>(op, "db", db_out, {s.O});
    T *dws = data<T>(dw), *dbs = data<T>(db);
    run([=] { kernels<T>().conv2d_backward_weight(s, chosen, dys, xs, dws, dbs); });
    return py::make_tuple(dw, db);
  });
}

py::array conv2d_norm(const py::array& x, const py::array& w, const std::optional<py::array>& b, const py::array& mean,
                      const py::array& scale, const py::array& shift, bool relu, Pair stride, Sides padding,
                      Pair dilation, Index groups, const std::string& algorithm) {
  const char* op = "conv2d_norm";
  const Algorithm chosen = algorithm_named(op, algorithm);
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T *xs = input<T>(op, "x", x, {-1, -1, -1, -1}), *ws = input<T>(op, "w", w, {-1, -1, -1, -1});
    const Conv2dShape s = conv_shape(op, shape_of(x), shape_of(w), {stride, padding, dilation, groups}, chosen);
    const T* bs = optional_input<T>(op, "b", b, {s.O});
    const Normal<T> n{input<T>(op, "mean", mean, {s.O}),   nullptr, input<T>(op, "scale", scale, {s.O}),
                      input<T>(op, "shift", shift, {s.O}), relu,    true};
    py::array y = allocate<T>({s.N, s.OH, s.OW, s.O});
    T* out = data<T>(y);
    run_packing([=] { kernels<T>().conv2d_norm(s, chosen, xs, ws, bs, n, out); });
    return y;
  });
}

py::tuple conv2d_moments(const py::array& x, const py::array& w, const std::optional<py::array>& b, Pair stride,
                         Sides padding, Pair dilation, Index groups, const std::string& algorithm) {
  const char* op = "conv2d_moments";
  const Algorithm chosen = algorithm_named(op, algorithm);
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1, -1, -1});
    const T* ws = input<T>(op, "w", w, {-1, -1, -1, -1});
    const Conv2dShape s = conv_shape(op, shape_of(x), shape_of(w), {stride, padding, dilation, groups}, chosen);
    if (s.N == 0) fail_value("conv2d_moments: x has no images");
    const T* bs = optional_input<T>(op, "b", b, {s.O});
    py::array y = allocate<T>({s.N, s.OH, s.OW, s.O}), mean = allocate<T>({s.O}), var = allocate<T>({s.O});
    T *ys = data<T>(y), *means = data<T>(mean), *vars = data<T>(var);
    run_packing([=] { kernels<T>().conv2d_moments(s, chosen, xs, ws, bs, ys, means, vars); });
    return py::make_tuple(y, mean, var);
  });
}

py::tuple conv2d_norm_backward(const py::array& dy, const py::array& y, const py::array& mean, const py::array& inv,
                               const py::array& scale, const py::array& shift, bool relu, const py::array& x,
                               const py::array& w, Pair stride, Sides padding, Pair dilation, Index groups,
                               const std::string& algorithm, bool needs_dx, const std::optional<py::array>& dw_out,
                               const std::optional<py::array>& db_out, const std::optional<py::array>& dgamma_out,
                               const std::optional<py::array>& dbeta_out) {
  const char* op = "conv2d_norm_backward";
  const Algorithm chosen = algorithm_named(op, algorithm);
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T *xs = input<T>(op, "x", x, {-1, -1, -1, -1}), *ws = input<T>(op, "w", w, {-1, -1, -1, -1});
    const Conv2dShape s = conv_shape(op, shape_of(x), shape_of(w), {stride, padding, dilation, groups}, chosen);
    if (s.N == 0) fail_value("conv2d_norm_backward: x has no images");
    const Shape made{s.N, s.OH, s.OW, s.O}, channels{s.O};
    const T *dys = input<T>(op, "dy", dy, made), *ys = input<T>(op, "y", y, made);
    const Normal<T> n{input<T>(op, "mean", mean, channels),
                      input<T>(op, "inv", inv, channels),
                      input<T>(op, "scale", scale, channels),
                      input<T>(op, "shift", shift, channels),
                      relu,
                      false};
    py::array dx = allocate<T>(needs_dx ? shape_of(x) : Shape{0}), dw = result<T>(op, "dw", dw_out, shape_of(w)),
              db = result<T>(op, "db", db_out, channels), dgamma = result<T>(op, "dgamma", dgamma_out, channels),
              dbeta = result<T>(op, "dbeta", dbeta_out, channels);
    T *dxs = needs_dx ? data<T>(dx) : nullptr, *dws = data<T>(dw), *dbs = data<T>(db), *dgammas = data<T>(dgamma),
      *dbetas = data<T>(dbeta);
    run([=] { kernels<T>().conv2d_norm_backward(s, chosen, dys, ys, n, xs, ws, dxs, dws, dbs, dgammas, dbetas); });
    return py::make_tuple(needs_dx ? py::object(dx) : py::object(py::none()), dw, db, dgamma, dbeta);
  });
}

}  // namespace

void bind_conv(py::module_& m) {
  using py::arg;
  m.def("conv2d", &conv2d, arg("x"), arg("w"), arg("b").none(true), arg("stride"), arg("padding"), arg("dilation"),
        arg("groups"), arg("algorithm") = "auto", arg("relu") = false);
  m.def("conv2d_backward_input", &conv2d_backward_input, arg("dy"), arg("w"), arg("input_size"), arg("stride"),
        arg("padding"), arg("dilation"), arg("groups"), arg("algorithm") = "auto", arg("b") = py::none(),
        arg("relu") = false);
  m.def("conv2d_backward_weight", &conv2d_backward_weight, arg("dy"), arg("x"), arg("kernel_size"), arg("stride"),
        arg("padding"), arg("dilation"), arg("groups"), arg("algorithm") = "auto", arg("dw") = py::none(),
        arg("db") = py::none());
  m.def("conv2d_norm", &conv2d_norm, arg("x"), arg("w"), arg("b").none(true), arg("mean"), arg("scale"), arg("shift"),
        arg("relu"), arg("stride"), arg("padding"), arg("dilation"), arg("groups"), arg("algorithm") = "auto");
  m.def("conv2d_moments", &conv2d_moments, arg("x"), arg("w"), arg("b").none(true), arg("stride"), arg("padding"),
        arg("dilation"), arg("groups"), arg("algorithm") = "auto");
  m.def("conv2d_norm_backward", &conv2d_norm_backward, arg("dy"), arg("y"), arg("mean"), arg("inv"), arg("scale"),
        arg("shift"), arg("relu"), arg("x"), arg("w"), arg("stride"), arg("padding"), arg("dilation"), arg("groups"),
        arg("algorithm") = "auto", arg("needs_dx") = true, arg("dw") = py::none(), arg("db") = py::none(),
        arg("dgamma") = py::none(), arg("dbeta") = py::none());
}

}  // namespace lamina
