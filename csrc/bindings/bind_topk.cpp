#include "bindings/checks.h"

namespace lamina {
namespace {

py::tuple top_k(const py::array& x, Index k) {
  return by_dtype("topk", "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T* xs = input<T>("topk", "x", x, {-1, -1});
    const Index M = x.shape(0), N = x.shape(1);
    if (k < 1 || k > N)
      fail_value("topk: k must be from 1 to the row length " + std::to_string(N) + ", not " + std::to_string(k));
    py::array values = allocate<T>({M, k}), indices = allocate<std::int64_t>({M, k});
    T* vs = data<T>(values);
    std::int64_t* is = data<std::int64_t>(indices);
    run([=] { topk<T>(M, N, k, xs, vs, is); });
    return py::make_tuple(values, indices);
  });
}

}  // namespace

void bind_topk(py::module_& m) { m.def("topk", &top_k, py::arg("x"), py::arg("k")); }

}  // namespace lamina
