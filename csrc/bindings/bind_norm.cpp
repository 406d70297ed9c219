#include <cmath>

#include "bindings/checks.h"

namespace lamina {
namespace {

py::tuple column_moments(const py::array& x) {
  const char* op = "column_moments";
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1});
    const Index M = x.shape(0), C = x.shape(1);
    if (M == 0) fail_value("column_moments: x has no rows");
    py::array mean = allocate<T>({C}), var = allocate<T>({C});
    T *means = data<T>(mean), *vars = data<T>(var);
    run([=] { kernels<T>().column_moments(M, C, xs, means, vars); });
    return py::make_tuple(mean, var);
  });
}

// In double, so that the NumPy backend has the same bits.
py::tuple batch_norm_scale(const py::array& var, const std::optional<py::array>& gamma, double eps) {
  const char* op = "batch_norm_scale";
  return by_dtype(op, "var", var, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    require_rank(op, "var", var, 1, "(C,)");
    const Index C = var.shape(0);
    const T *vars = input<T>(op, "var", var, {C}), *gammas = optional_input<T>(op, "gamma", gamma, {C});
    py::array inv = allocate<T>({C}), scale = allocate<T>({C});
    T *invs = data<T>(inv), *scales = data<T>(scale);
    run([=] {
      for (Index c = 0; c < C; ++c) {
        invs[c] = static_cast<T>(1 / std::sqrt(static_cast<double>(vars[c]) + eps));
        scales[c] = gammas ? invs[c] * gammas[c] : invs[c];
      }
    });
    return py::make_tuple(inv, scale);
  });
}

py::array batch_norm(const py::array& x, const py::array& mean, const py::array& scale, const py::array& shift,
                     bool relu) {
  const char* op = "batch_norm";
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1});
    const Index M = x.shape(0), C = x.shape(1);
    const T *means = input<T>(op, "mean", mean, {C}), *scales = input<T>(op, "scale", scale, {C}),
            *shifts = input<T>(op, "shift", shift, {C});
    py::array y = allocate<T>({M, C});
    T* out = data<T>(y);
    run([=] { kernels<T>().batch_norm(M, C, xs, means, scales, shifts, relu, out); });
    return y;
  });
}

py::tuple batch_norm_backward(const py::array& dy, const py::array& x, const py::array& mean, const py::array& inv,
                              const py::array& scale, const py::array& shift, bool relu, bool frozen,
                              const std::optional<py::array>& dgamma_out, const std::optional<py::array>& dbeta_out) {
  const char* op = "batch_norm_backward";
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1});
    const Index M = x.shape(0), C = x.shape(1);
    if (M == 0) fail_value("batch_norm_backward: x has no rows");
    const T *dys = input<T>(op, "dy", dy, {M, C}), *means = input<T>(op, "mean", mean, {C}),
            *invs = input<T>(op, "inv", inv, {C}), *scales = input<T>(op, "scale", scale, {C}),
            *shifts = input<T>(op, "shift", shift, {C});
    py::array dx = allocate<T>({M, C}), dgamma = result<T>(op, "dgamma", dgamma_out, {C}),
              dbeta = result<T>(op, "dbeta", dbeta_out, {C});
    T *dxs = data<T>(dx), *dgammas = data<T>(dgamma), *dbetas = data<T>(dbeta);
    const Normal<T> n{means, invs, scales, shifts, relu, frozen};
    run([=] { kernels<T>().batch_norm_backward(M, C, dys, xs, n, dxs, dgammas, dbetas); });
    return py::make_tuple(dx, dgamma, dbeta);
  });
}

void follow_moments(const py::array& mean, const py::array& var, const py::array& running_mean,
                    const py::array& running_var, double momentum, Index count) {
  const char* op = "follow_moments";
  if (count < 2) fail_value("follow_moments: count must be at least 2");
  by_dtype(op, "mean", mean, [&](auto type) {
    using T = typename decltype(type)::type;
    require_rank(op, "mean", mean, 1, "(C,)");
    const Index C = mean.shape(0);
    const T *means = input<T>(op, "mean", mean, {C}), *vars = input<T>(op, "var", var, {C});
    T *running = in_place<T>(op, "running_mean", running_mean, {C}),
      *spread = in_place<T>(op, "running_var", running_var, {C});
    const T share = static_cast<T>(momentum), unbiased = static_cast<T>(count) / static_cast<T>(count - 1);
    run([=] {
      for (Index c = 0; c < C; ++c) {
        running[c] += share * (means[c] - running[c]);
        spread[c] += share * (vars[c] * unbiased - spread[c]);
      }
    });
  });
}

GroupNormShape group_norm_shape(const char* op, const py::array& x, Index groups) {
  require_rank(op, "x", x, 3, "(N, P, C)");
  const GroupNormShape s{x.shape(0), x.shape(1), x.shape(2), groups};
  if (s.P < 1 || s.C < 1 || groups < 1 || s.C % groups)
    fail_value(std::string(op) + ": groups must be at least 1 and divide the channels, and P cannot be 0");
  return s;
}

py::tuple group_norm(const py::array& x, const py::array& gamma, const py::array& beta, Index groups, double eps) {
  const char* op = "group_norm";
  const GroupNormShape s = group_norm_shape(op, x, groups);
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T *xs = input<T>(op, "x", x, {s.N, s.P, s.C}), *gammas = input<T>(op, "gamma", gamma, {s.C}),
            *betas = input<T>(op, "beta", beta, {s.C});
    py::array y = allocate<T>({s.N, s.P, s.C}), mean = allocate<T>({s.N, s.G}), inv = allocate<T>({s.N, s.G});
    T *ys = data<T>(y), *means = data<T>(mean), *invs = data<T>(inv);
    run([=] { kernels<T>().group_norm(s, xs, gammas, betas, eps, ys, means, invs); });
    return py::make_tuple(y, mean, inv);
  });
}

py::tuple group_norm_backward(const py::array& dy, const py::array& x, const py::array& gamma, const py::array& mean,
                              const py::array& inv) {
  const char* op = "group_norm_backward";
  require_rank(op, "mean", mean, 2, "(N, G)");
  const GroupNormShape s = group_norm_shape(op, x, mean.shape(1));
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const Shape size{s.N, s.P, s.C};
    const T *xs = input<T>(op, "x", x, size), *dys = input<T>(op, "dy", dy, size),
            *gammas = input<T>(op, "gamma", gamma, {s.C}), *means = input<T>(op, "mean", mean, {s.N, s.G}),
            *invs = input<T>(op, "inv", inv, {s.N, s.G});
    py::array dx = allocate<T>(size), dgamma = allocate<T>({s.C}), dbeta = allocate<T>({s.C});
    T *dxs = data<T>(dx), *dgammas = data<T>(dgamma), *dbetas = data<T>(dbeta);
    run([=] { kernels<T>().group_norm_backward(s, dys, xs, gammas, means, invs, dxs, dgammas, dbetas); });
    return py::make_tuple(dx, dgamma, dbeta);
  });
}

void check_window(const char* op, Index size) {
  if (size < 1 || size % 2 == 0 || size > (1 << 20))
    fail_value(std::string(op) + ": size must be odd and at least 1, not " + std::to_string(size));
}

py::tuple local_response(const py::array& x, Index size, double alpha, double beta, double k) {
  const char* op = "local_response";
  check_window(op, size);
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1});
    const Index M = x.shape(0), C = x.shape(1);
    py::array y = allocate<T>({M, C}), d = allocate<T>({M, C});
    T *ys = data<T>(y), *ds = data<T>(d);
    run([=] {
      kernels<T>().local_response(M, C, xs, size, static_cast<T>(alpha), static_cast<T>(beta), static_cast<T>(k), ys,
                                  ds);
    });
    return py::make_tuple(y, d);
  });
}

py::array local_response_backward(const py::array& dy, const py::array& x, const py::array& d, Index size, double alpha,
                                  double beta) {
  const char* op = "local_response_backward";
  check_window(op, size);
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {-1, -1});
    const Index M = x.shape(0), C = x.shape(1);
    const T *dys = input<T>(op, "dy", dy, {M, C}), *ds = input<T>(op, "d", d, {M, C});
    py::array dx = allocate<T>({M, C});
    T* out = data<T>(dx);
    run([=] {
      kernels<T>().local_response_backward(M, C, dys, xs, ds, size, static_cast<T>(alpha), static_cast<T>(beta), out);
    });
    return dx;
  });
}

}  // namespace

void bind_norm(py::module_& m) {
  using py::arg;
  m.def("column_moments", &column_moments, arg("x"));
  m.def("batch_norm_scale", &batch_norm_scale, arg("var"), arg("gamma").none(true), arg("eps"));
  m.def("batch_norm", &batch_norm, arg("x"), arg("mean"), arg("scale"), arg("shift"), arg("relu"));
  m.def("batch_norm_backward", &batch_norm_backward, arg("dy"), arg("x"), arg("mean"), arg("inv"), arg("scale"),
        arg("shift"), arg("relu"), arg("frozen"), arg("dgamma") = py::none(), arg("dbeta") = py::none());
  m.def("follow_moments", &follow_moments, arg("mean"), arg("var"), arg("running_mean"), arg("running_var"),
        arg("momentum"), arg("count"));
  m.def("group_norm", &group_norm, arg("x"), arg("gamma"), arg("beta"), arg("groups"), arg("eps"));
  m.def("group_norm_backward", &group_norm_backward, arg("dy"), arg("x"), arg("gamma"), arg("mean"), arg("inv"));
  m.def("local_response", &local_response, arg("x"), arg("size"), arg("alpha"), arg("beta"), arg("k"));
  m.def("local_response_backward", &local_response_backward, arg("dy"), arg("x"), arg("d"), arg("size"), arg("alpha"),
        arg("beta"));
}

}  // namespace lamina
