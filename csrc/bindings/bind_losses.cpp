#include "bindings/checks.h"

namespace lamina {
namespace {

const std::int64_t* checked_labels(const char* op, const py::array& labels, Index M, Index N) {
  const std::int64_t* data = input<std::int64_t>(op, "labels", labels, {M});
  run([=] {
    for (Index i = 0; i < M; ++i) {
      if (data[i] < 0 || data[i] >= N)
        fail_value(std::string(op) + ": labels[" + std::to_string(i) + "] is " + std::to_string(data[i]) +
                   ", but the classes are 0 to " + std::to_string(N - 1));
    }
  });
  return data;
}

py::tuple softmax_cross_entropy(const py::array& x, const py::array& labels) {
  const char* op = "softmax_cross_entropy";
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1});
    const Index M = x.shape(0), N = x.shape(1);
    if (N == 0) fail_value(std::string(op) + ": a row of x needs at least one class");
    const std::int64_t* ls = checked_labels(op, labels, M, N);
    py::array loss = allocate<T>({M}), probabilities = allocate<T>({M, N});
    T *out = data<T>(loss), *ps = data<T>(probabilities);
    run([=] { kernels<T>().softmax_cross_entropy(M, N, xs, ls, out, ps); });
    return py::make_tuple(loss, probabilities);
  });
}

py::array softmax_cross_entropy_backward(const py::array& dloss, const py::array& probabilities,
                                         const py::array& labels) {
  const char* op = "softmax_cross_entropy_backward";
  return by_dtype(op, "dloss", dloss, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    require_rank(op, "probabilities", probabilities, 2, "(M, N)");
    const Index M = probabilities.shape(0), N = probabilities.shape(1);
    const T *ds = input<T>(op, "dloss", dloss, {M}), *ps = input<T>(op, "probabilities", probabilities, {M, N});
    const std::int64_t* ls = checked_labels(op, labels, M, N);
    py::array dx = allocate<T>({M, N});
    T* out = data<T>(dx);
    run([=] { kernels<T>().softmax_cross_entropy_backward(M, N, ds, ps, ls, out); });
    return dx;
  });
}

py::array mean_squared_error(const py::array& x, const py::array& target) {
  const char* op = "mean_squared_error";
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const Shape shape = shape_of(x);
    const T *xs = input<T>(op, "x", x, shape), *ts = input<T>(op, "target", target, shape);
    const Index n = size_of(shape);
    if (n == 0) fail_value(std::string(op) + ": the mean of no elements is not defined");
    py::array loss = allocate<T>({});
    T* out = data<T>(loss);
    run([=] { *out = kernels<T>().mean_squared_error(n, xs, ts); });
    return loss;
  });
}

py::array mean_squared_error_backward(double dloss, const py::array& x, const py::array& target) {
  const char* op = "mean_squared_error_backward";
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const Shape shape = shape_of(x);
    const T *xs = input<T>(op, "x", x, shape), *ts = input<T>(op, "target", target, shape);
    py::array dx = allocate<T>(shape);
    T* out = data<T>(dx);
    const Index n = size_of(shape);
    run([=] { kernels<T>().mean_squared_error_backward(n, dloss, xs, ts, out); });
    return dx;
  });
}

}  // namespace

void bind_losses(py::module_& m) {
  using py::arg;
  m.def("softmax_cross_entropy", &softmax_cross_entropy, arg("x"), arg("labels"));
  m.def("softmax_cross_entropy_backward", &softmax_cross_entropy_backward, arg("dloss"), arg("probabilities"),
        arg("labels"));
  m.def("mean_squared_error", &mean_squared_error, arg("x"), arg("target"));
  m.def("mean_squared_error_backward", &mean_squared_error_backward, arg("dloss"), arg("x"), arg("target"));
}

}  // namespace lamina
