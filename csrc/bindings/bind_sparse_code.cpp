#include "bindings/checks.h"

namespace lamina {
namespace {

// units (M,k), each in 0..N-1.
const std::int64_t* units_below(const char* op, const py::array& units, const Shape& shape, Index N) {
  const auto* found = input<std::int64_t>(op, "units", units, shape);
  const Index n = size_of(shape);
  run([=] {
    for (Index i = 0; i < n; ++i)
      if (found[i] < 0 || found[i] >= N) fail_value(std::string(op) + ": a unit is out of range");
  });
  return found;
}

py::tuple support(const py::array& x, Index k) {
  const char* op = "support";
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1});
    const Index M = x.shape(0), N = x.shape(1);
    if (k < 1 || k > N)
      fail_value("support: k must be from 1 to the row length " + std::to_string(N) + ", not " + std::to_string(k));
    py::array values = allocate<T>({M, k}), units = allocate<std::int64_t>({M, k});
    T* vs = data<T>(values);
    auto* us = data<std::int64_t>(units);
    run([=] { kernels<T>().support(M, N, k, xs, vs, us); });
    return py::make_tuple(values, units);
  });
}

py::array sparse_linear(const py::array& values, const py::array& units, const py::array& w,
                        const std::optional<py::array>& b) {
  const char* op = "sparse_linear";
  require_rank(op, "values", values, 2, "(M, k)");
  require_rank(op, "w", w, 2, "(N, D)");
  const Index M = values.shape(0), k = values.shape(1), N = w.shape(0), D = w.shape(1);
  const auto* us = units_below(op, units, {M, k}, N);
  return by_dtype(op, "values", values, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T *vs = input<T>(op, "values", values, {M, k}), *ws = input<T>(op, "w", w, {N, D}),
            *bs = optional_input<T>(op, "b", b, {D});
    py::array y = allocate<T>({M, D});
    T* out = data<T>(y);
    run([=] { kernels<T>().sparse_linear(M, k, D, vs, us, ws, bs, out); });
    return y;
  });
}

py::array sparse_dots(const py::array& dy, const py::array& units, const py::array& w) {
  const char* op = "sparse_dots";
  require_rank(op, "units", units, 2, "(M, k)");
  require_rank(op, "w", w, 2, "(N, D)");
  const Index M = units.shape(0), k = units.shape(1), N = w.shape(0), D = w.shape(1);
  const auto* us = units_below(op, units, {M, k}, N);
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T *dys = input<T>(op, "dy", dy, {M, D}), *ws = input<T>(op, "w", w, {N, D});
    py::array dv = allocate<T>({M, k});
    T* out = data<T>(dv);
    run([=] { kernels<T>().sparse_dots(M, k, D, dys, us, ws, out); });
    return dv;
  });
}

py::array sparse_outer(const py::array& units, const py::array& values, const py::array& dy,
                       const std::optional<py::array>& values2, const std::optional<py::array>& x, Index N,
                       const std::optional<py::array>& out) {
  const char* op = "sparse_outer";
  require_rank(op, "units", units, 2, "(M, k)");
  require_rank(op, "dy", dy, 2, "(M, D)");
  if (N < 1 || values2.has_value() != x.has_value()) fail_value("sparse_outer: N, values2 and x do not fit");
  const Index M = units.shape(0), k = units.shape(1), D = dy.shape(1);
  const auto* us = units_below(op, units, {M, k}, N);
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T *vs = input<T>(op, "values", values, {M, k}), *dys = input<T>(op, "dy", dy, {M, D}),
            *v2 = optional_input<T>(op, "values2", values2, {M, k}), *xs = optional_input<T>(op, "x", x, {M, D});
    py::array dw = result<T>(op, "out", out, {N, D});
    T* dws = data<T>(dw);
    run([=] { kernels<T>().sparse_outer(M, N, k, D, us, vs, dys, v2, xs, dws); });
    return dw;
  });
}

}  // namespace

void bind_sparse_code(py::module_& m) {
  using py::arg;
  m.def("support", &support, arg("x"), arg("k"));
  m.def("sparse_linear", &sparse_linear, arg("values"), arg("units"), arg("w"), arg("b"));
  m.def("sparse_dots", &sparse_dots, arg("dy"), arg("units"), arg("w"));
  m.def("sparse_outer", &sparse_outer, arg("units"), arg("values"), arg("dy"), arg("values2"), arg("x"), arg("n"),
        arg("out") = py::none());
}

}  // namespace lamina
