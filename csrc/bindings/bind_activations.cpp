#include "bindings/checks.h"

namespace lamina {
namespace {

// An op from x to y of one shape, by elements; and its backward from (dy, y).
template <class Pick>
void bind_map(py::module_& m, const char* op, const char* backward, Pick pick) {
  m.def(
      op,
      [op, pick](const py::array& x) {
        return by_dtype(op, "x", x, [&](auto type) -> py::array {
          using T = typename decltype(type)::type;
          const Shape shape = shape_of(x);
          const T* xs = input<T>(op, "x", x, shape);
          py::array y = allocate<T>(shape);
          T* ys = data<T>(y);
          const Index n = size_of(shape);
          run([=] { pick(kernels<T>(), n, xs, ys); });
          return y;
        });
      },
      py::arg("x"));
  m.def(
      backward,
      [backward, pick](const py::array& dy, const py::array& y) {
        return by_dtype(backward, "dy", dy, [&](auto type) -> py::array {
          using T = typename decltype(type)::type;
          const Shape shape = shape_of(dy);
          const T *dys = input<T>(backward, "dy", dy, shape), *ys = input<T>(backward, "y", y, shape);
          py::array dx = allocate<T>(shape);
          T* out = data<T>(dx);
          const Index n = size_of(shape);
          run([=] { pick(kernels<T>(), n, dys, ys, out); });
          return dx;
        });
      },
      py::arg("dy"), py::arg("y"));
}

// The same over the rows of a matrix.
template <class Pick>
void bind_rows(py::module_& m, const char* op, const char* backward, Pick pick) {
  m.def(
      op,
      [op, pick](const py::array& x) {
        return by_dtype(op, "x", x, [&](auto type) -> py::array {
          using T = typename decltype(type)::type;
          const T* xs = input<T>(op, "x", x, {-1, -1});
          const Index M = x.shape(0), N = x.shape(1);
          if (N == 0) fail_value(std::string(op) + ": a row of x needs at least one element");
          py::array y = allocate<T>({M, N});
          T* ys = data<T>(y);
          run([=] { pick(kernels<T>(), M, N, xs, ys); });
          return y;
        });
      },
      py::arg("x"));
  m.def(
      backward,
      [backward, pick](const py::array& dy, const py::array& y) {
        return by_dtype(backward, "dy", dy, [&](auto type) -> py::array {
          using T = typename decltype(type)::type;
          require_rank(backward, "dy", dy, 2, "(M, N)");
          const Index M = dy.shape(0), N = dy.shape(1);
          const T *dys = input<T>(backward, "dy", dy, {M, N}), *ys = input<T>(backward, "y", y, {M, N});
          py::array dx = allocate<T>({M, N});
          T* out = data<T>(dx);
          run([=] { pick(kernels<T>(), M, N, dys, ys, out); });
          return dx;
        });
      },
      py::arg("dy"), py::arg("y"));
}

// One callable for both directions: as many pointers as the kernel of that direction takes.
#define LAMINA_MAP(name)                                                                  \
  struct {                                                                                \
    template <class T>                                                                    \
    void operator()(const Kernels<T>& k, Index n, const T* x, T* y) const {               \
      k.name(n, x, y);                                                                    \
    }                                                                                     \
    template <class T>                                                                    \
    void operator()(const Kernels<T>& k, Index n, const T* dy, const T* y, T* dx) const { \
      k.name##_backward(n, dy, y, dx);                                                    \
    }                                                                                     \
  } const pick_##name
#define LAMINA_ROWS(name)                                                                          \
  struct {                                                                                         \
    template <class T>                                                                             \
    void operator()(const Kernels<T>& k, Index M, Index N, const T* x, T* y) const {               \
      k.name(M, N, x, y);                                                                          \
    }                                                                                              \
    template <class T>                                                                             \
    void operator()(const Kernels<T>& k, Index M, Index N, const T* dy, const T* y, T* dx) const { \
      k.name##_backward(M, N, dy, y, dx);                                                          \
    }                                                                                              \
  } const pick_##name

Curve curve_named(const char* op, const std::string& name) {
  const char* const names[] = {"leaky_relu", "elu", "softplus", "silu", "gelu", "gelu_tanh"};
  for (int i = 0; i < 6; ++i)
    if (name == names[i]) return static_cast<Curve>(i);
  fail_value(std::string(op) + ": unknown kind '" + name + "'");
}

py::array curve(const std::string& kind, const py::array& x, double a) {
  const char* op = "curve";
  const Curve named = curve_named(op, kind);
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const Shape shape = shape_of(x);
    const T* xs = input<T>(op, "x", x, shape);
    py::array y = allocate<T>(shape);
    T* out = data<T>(y);
    const Index n = size_of(shape);
    run([=] { kernels<T>().curve(named, n, xs, static_cast<T>(a), out); });
    return y;
  });
}

py::array curve_backward(const std::string& kind, const py::array& dy, const py::array& x, double a) {
  const char* op = "curve_backward";
  const Curve named = curve_named(op, kind);
  return by_dtype(op, "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const Shape shape = shape_of(dy);
    const T *dys = input<T>(op, "dy", dy, shape), *xs = input<T>(op, "x", x, shape);
    py::array dx = allocate<T>(shape);
    T* out = data<T>(dx);
    const Index n = size_of(shape);
    run([=] { kernels<T>().curve_backward(named, n, dys, xs, static_cast<T>(a), out); });
    return dx;
  });
}

LAMINA_MAP(relu);
LAMINA_MAP(sigmoid);
LAMINA_MAP(tanh);
LAMINA_ROWS(softmax);
LAMINA_ROWS(log_softmax);

}  // namespace

py::array sum(const py::array& a, const py::array& b) {
  return by_dtype("add", "a", a, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const Shape shape = shape_of(a);
    const T *as = input<T>("add", "a", a, shape), *bs = input<T>("add", "b", b, shape);
    py::array y = allocate<T>(shape);
    T* out = data<T>(y);
    const Index n = size_of(shape);
    run([=] { add<T>(n, as, bs, out); });
    return y;
  });
}

void bind_activations(py::module_& m) {
  m.def("add", &sum, py::arg("a"), py::arg("b"));
  bind_map(m, "relu", "relu_backward", pick_relu);
  bind_map(m, "sigmoid", "sigmoid_backward", pick_sigmoid);
  bind_map(m, "tanh", "tanh_backward", pick_tanh);
  m.def("curve", &curve, py::arg("kind"), py::arg("x"), py::arg("a"));
  m.def("curve_backward", &curve_backward, py::arg("kind"), py::arg("dy"), py::arg("x"), py::arg("a"));
  bind_rows(m, "softmax", "softmax_backward", pick_softmax);
  bind_rows(m, "log_softmax", "log_softmax_backward", pick_log_softmax);
}

}  // namespace lamina
