#include "bindings/checks.h"

namespace lamina {
namespace {

// Strides in elements; a view whose strides are no whole number of elements cannot be read in place.
template <class T>
MatrixView<T> matrix(const char* name, const py::array& array) {
  checked("gemm", name, array, py::dtype::of<T>(), {-1, -1}, false);
  const Index size = sizeof(T);
  if (array.strides(0) % size != 0 || array.strides(1) % size != 0)
    fail_value(std::string("gemm: the strides of ") + name + " must be multiples of its item size");
  return {static_cast<const T*>(array.data()), array.strides(0) / size, array.strides(1) / size};
}

py::array gemm(const py::array& a, const py::array& b, const std::optional<py::array>& bias, bool relu,
               const std::optional<py::array>& out) {
  return by_dtype("gemm", "a", a, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const MatrixView<T> va = matrix<T>("a", a), vb = matrix<T>("b", b);
    const Index M = a.shape(0), K = a.shape(1), N = b.shape(1);
    if (b.shape(0) != K)
      fail_value("gemm: a has K = " + std::to_string(K) + " columns (shape " + shape_text(shape_of(a)) +
                 ") but b has " + std::to_string(b.shape(0)) + " rows (shape " + shape_text(shape_of(b)) + ")");
    const T* bias_data = optional_input<T>("gemm", "bias", bias, {N});
    py::array c = result<T>("gemm", "out", out, {M, N});
    T* cs = data<T>(c);
    run([=] { kernels<T>().gemm(M, N, K, va, vb, cs, N, bias_data, false, relu); });
    return c;
  });
}

py::array bias_backward(const py::array& dy, const std::optional<py::array>& out) {
  return by_dtype("bias_backward", "dy", dy, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* in = input<T>("bias_backward", "dy", dy, {-1, -1});
    py::array db = result<T>("bias_backward", "out", out, {dy.shape(1)});
    T* dbs = data<T>(db);
    const Index M = dy.shape(0), N = dy.shape(1);
    run([=] { kernels<T>().sum_rows(M, N, in, dbs); });
    return db;
  });
}

}  // namespace

void bind_gemm(py::module_& m) {
  m.def("gemm", &gemm, py::arg("a"), py::arg("b"), py::arg("bias") = py::none(), py::arg("relu") = false,
        py::arg("out") = py::none());
  m.def("bias_backward", &bias_backward, py::arg("dy"), py::arg("out") = py::none());
}

}  // namespace lamina
