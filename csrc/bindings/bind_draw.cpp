#include "bindings/checks.h"

namespace lamina {
namespace {

py::array draw_rows(const py::array& x, double temperature, const py::array& u) {
  const char* op = "draw";
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1});
    const Index M = x.shape(0), V = x.shape(1);
    const T* us = input<T>(op, "u", u, {M});
    if (!(temperature >= 0)) fail_value("draw: temperature must be at least 0");
    py::array indices = allocate<std::int64_t>({M});
    std::int64_t* out = data<std::int64_t>(indices);
    run([=] { draw<T>(M, V, xs, temperature, us, out); });
    return indices;
  });
}

}  // namespace

void bind_draw(py::module_& m) {
  using py::arg;
  m.def("draw", &draw_rows, arg("x"), arg("temperature"), arg("u"));
}

}  // namespace lamina
