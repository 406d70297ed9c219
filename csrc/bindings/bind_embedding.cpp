#include "bindings/checks.h"

namespace lamina {
namespace {

py::array embedding(const py::array& tokens, const py::array& w) {
  const char* op = "embedding";
  require_rank(op, "tokens", tokens, 1, "(P,)");
  return by_dtype(op, "w", w, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    require_rank(op, "w", w, 2, "(V, D)");
    const Index P = tokens.shape(0), V = w.shape(0), D = w.shape(1);
    const T* ws = input<T>(op, "w", w, {V, D});
    const std::int64_t* ts = tokens_below(op, "tokens", tokens, V);
    py::array y = allocate<T>({P, D});
    T* out = data<T>(y);
    run([=] { kernels<T>().embedding(P, D, ts, ws, out); });
    return y;
  });
}

py::array embedding_backward(const py::array& dy, const py::array& tokens, const py::array& w) {
  const char* op = "embedding_backward";
  require_rank(op, "tokens", tokens, 1, "(P,)");
  require_rank(op, "dy", dy, 2, "(P, D)");
  require_rank(op, "w", w, 2, "(V, D)");
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const Index P = tokens.shape(0), V = w.shape(0), D = w.shape(1);
    const T* ds = input<T>(op, "dy", dy, {P, D});
    input<T>(op, "w", w, {V, D});
    const std::int64_t* ts = tokens_below(op, "tokens", tokens, V);
    py::array dw = allocate<T>({V, D});
    T* out = data<T>(dw);
    run([=] { kernels<T>().embedding_backward(P, V, D, ts, ds, out); });
    return dw;
  });
}

}  // namespace

void bind_embedding(py::module_& m) {
  using py::arg;
  m.def("embedding", &embedding, arg("tokens"), arg("w"));
  m.def("embedding_backward", &embedding_backward, arg("dy"), arg("tokens"), arg("w"));
}

}  // namespace lamina
