#include "bindings/checks.h"

namespace lamina {
namespace {

void sgd_step(const py::array& p, const py::array& g, const std::optional<py::array>& v, double lr, double momentum,
              bool nesterov, double weight_decay) {
  const char* op = "sgd_step";
  by_dtype(op, "p", p, [&](auto type) {
    using T = typename decltype(type)::type;
    T* ps = in_place<T>(op, "p", p, {-1});
    const Index n = p.shape(0);
    const T* gs = input<T>(op, "g", g, {n});
    if (v.has_value() != (momentum != 0))
      fail_value("sgd_step: v must be given where momentum is not 0, and only there");
    T* vs = v ? in_place<T>(op, "v", *v, {n}) : nullptr;
    run([=] { kernels<T>().sgd_step(n, ps, gs, vs, lr, momentum, nesterov, weight_decay); });
  });
}

void adam_step(const py::array& p, const py::array& g, const py::array& m, const py::array& v, double lr, double beta1,
               double beta2, double eps, double weight_decay, bool decoupled, Index step) {
  const char* op = "adam_step";
  if (step < 1) fail_value("adam_step: step counts from 1, not " + std::to_string(step));
  by_dtype(op, "p", p, [&](auto type) {
    using T = typename decltype(type)::type;
    T* ps = in_place<T>(op, "p", p, {-1});
    const Index n = p.shape(0);
    const T* gs = input<T>(op, "g", g, {n});
    T *ms = in_place<T>(op, "m", m, {n}), *vs = in_place<T>(op, "v", v, {n});
    run([=] { kernels<T>().adam_step(n, ps, gs, ms, vs, lr, beta1, beta2, eps, weight_decay, decoupled, step); });
  });
}

void rms_step(const py::array& p, const py::array& g, const py::array& v, double lr, double keep, double add,
              double eps) {
  const char* op = "rms_step";
  by_dtype(op, "p", p, [&](auto type) {
    using T = typename decltype(type)::type;
    T* ps = in_place<T>(op, "p", p, {-1});
    const Index n = p.shape(0);
    const T* gs = input<T>(op, "g", g, {n});
    T* vs = in_place<T>(op, "v", v, {n});
    run([=] { kernels<T>().rms_step(n, ps, gs, vs, lr, keep, add, eps); });
  });
}

void adadelta_step(const py::array& p, const py::array& g, const py::array& v, const py::array& u, double lr,
                   double keep, double eps, double weight_decay) {
  const char* op = "adadelta_step";
  by_dtype(op, "p", p, [&](auto type) {
    using T = typename decltype(type)::type;
    T* ps = in_place<T>(op, "p", p, {-1});
    const Index n = p.shape(0);
    const T* gs = input<T>(op, "g", g, {n});
    T *vs = in_place<T>(op, "v", v, {n}), *us = in_place<T>(op, "u", u, {n});
    run([=] { kernels<T>().adadelta_step(n, ps, gs, vs, us, lr, keep, eps, weight_decay); });
  });
}

}  // namespace

void bind_optim(py::module_& m) {
  using py::arg;
  m.def("sgd_step", &sgd_step, arg("p"), arg("g"), arg("v").none(true), arg("lr"), arg("momentum"), arg("nesterov"),
        arg("weight_decay"));
  m.def("adam_step", &adam_step, arg("p"), arg("g"), arg("m"), arg("v"), arg("lr"), arg("beta1"), arg("beta2"),
        arg("eps"), arg("weight_decay"), arg("decoupled"), arg("step"));
  m.def("rms_step", &rms_step, arg("p"), arg("g"), arg("v"), arg("lr"), arg("keep"), arg("add"), arg("eps"));
  m.def("adadelta_step", &adadelta_step, arg("p"), arg("g"), arg("v"), arg("u"), arg("lr"), arg("keep"), arg("eps"),
        arg("weight_decay"));
}

}  // namespace lamina
