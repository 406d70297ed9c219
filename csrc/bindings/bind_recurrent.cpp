#include "bindings/checks.h"

namespace lamina {
namespace {

// x (N,D) and h (N,H) give the shape; everything else must agree with it.
CellShape cell_shape(const char* op, const py::array& x, const py::array& h) {
  require_rank(op, "x", x, 2, "(N, D)");
  require_rank(op, "h", h, 2, "(N, H)");
  return {x.shape(0), x.shape(1), h.shape(1)};
}

py::tuple lstm_cell(const py::array& x, const py::array& h, const py::array& c, const py::array& w_ih,
                    const py::array& w_hh, const py::array& b) {
  const char* op = "lstm_cell";
  const CellShape s = cell_shape(op, x, h);
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const Shape state{s.N, s.H};
    const T *xs = input<T>(op, "x", x, {s.N, s.D}), *hs = input<T>(op, "h", h, state),
            *cs = input<T>(op, "c", c, state);
    const T *wi = input<T>(op, "w_ih", w_ih, {4 * s.H, s.D}), *wh = input<T>(op, "w_hh", w_hh, {4 * s.H, s.H});
    const T* bs = input<T>(op, "b", b, {4 * s.H});
    py::array h_next = allocate<T>(state), c_next = allocate<T>(state), gates = allocate<T>({s.N, 4 * s.H});
    T *hn = data<T>(h_next), *cn = data<T>(c_next), *gs = data<T>(gates);
    run([=] { kernels<T>().lstm_cell(s, xs, hs, cs, wi, wh, bs, hn, cn, gs); });
    return py::make_tuple(h_next, c_next, gates);
  });
}

py::tuple lstm_cell_backward(const py::array& dh_next, const py::array& dc_next, const py::array& x, const py::array& h,
                             const py::array& c, const py::array& w_ih, const py::array& w_hh, const py::array& c_next,
                             const py::array& gates) {
  const char* op = "lstm_cell_backward";
  const CellShape s = cell_shape(op, x, h);
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const Shape state{s.N, s.H}, sx{s.N, s.D}, si{4 * s.H, s.D}, sh{4 * s.H, s.H};
    const T *dhn = input<T>(op, "dh_next", dh_next, state), *dcn = input<T>(op, "dc_next", dc_next, state);
    const T *xs = input<T>(op, "x", x, sx), *hs = input<T>(op, "h", h, state), *cs = input<T>(op, "c", c, state);
    const T *wi = input<T>(op, "w_ih", w_ih, si), *wh = input<T>(op, "w_hh", w_hh, sh);
    const T *cn = input<T>(op, "c_next", c_next, state), *gs = input<T>(op, "gates", gates, {s.N, 4 * s.H});
    py::array dx = allocate<T>(sx), dh = allocate<T>(state), dc = allocate<T>(state), dwi = allocate<T>(si),
              dwh = allocate<T>(sh);
    py::array db = allocate<T>({4 * s.H});
    T *dxs = data<T>(dx), *dhs = data<T>(dh), *dcs = data<T>(dc), *dwis = data<T>(dwi), *dwhs = data<T>(dwh),
      *dbs = data<T>(db);
    run([=] {
      kernels<T>().lstm_cell_backward(s, dhn, dcn, xs, hs, cs, wi, wh, cn, gs, dxs, dhs, dcs, dwis, dwhs, dbs);
    });
    return py::make_tuple(dx, dh, dc, dwi, dwh, db);
  });
}

py::array rnn_cell(const py::array& x, const py::array& h, const py::array& w_ih, const py::array& w_hh,
                   const py::array& b) {
  const char* op = "rnn_cell";
  const CellShape s = cell_shape(op, x, h);
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T *xs = input<T>(op, "x", x, {s.N, s.D}), *hs = input<T>(op, "h", h, {s.N, s.H});
    const T *wi = input<T>(op, "w_ih", w_ih, {s.H, s.D}), *wh = input<T>(op, "w_hh", w_hh, {s.H, s.H}),
            *bs = input<T>(op, "b", b, {s.H});
    py::array h_next = allocate<T>({s.N, s.H});
    T* out = data<T>(h_next);
    run([=] { kernels<T>().rnn_cell(s, xs, hs, wi, wh, bs, out); });
    return h_next;
  });
}

py::tuple rnn_cell_backward(const py::array& dh_next, const py::array& x, const py::array& h, const py::array& w_ih,
                            const py::array& w_hh, const py::array& h_next) {
  const char* op = "rnn_cell_backward";
  const CellShape s = cell_shape(op, x, h);
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const Shape state{s.N, s.H}, sx{s.N, s.D}, si{s.H, s.D}, sh{s.H, s.H};
    const T *dhn = input<T>(op, "dh_next", dh_next, state), *hn = input<T>(op, "h_next", h_next, state);
    const T *xs = input<T>(op, "x", x, sx), *hs = input<T>(op, "h", h, state);
    const T *wi = input<T>(op, "w_ih", w_ih, si), *wh = input<T>(op, "w_hh", w_hh, sh);
    py::array dx = allocate<T>(sx), dh = allocate<T>(state), dwi = allocate<T>(si), dwh = allocate<T>(sh),
              db = allocate<T>({s.H});
    T *dxs = data<T>(dx), *dhs = data<T>(dh), *dwis = data<T>(dwi), *dwhs = data<T>(dwh), *dbs = data<T>(db);
    run([=] { kernels<T>().rnn_cell_backward(s, dhn, xs, hs, wi, wh, hn, dxs, dhs, dwis, dwhs, dbs); });
    return py::make_tuple(dx, dh, dwi, dwh, db);
  });
}

}  // namespace

void bind_recurrent(py::module_& m) {
  using py::arg;
  m.def("lstm_cell", &lstm_cell, arg("x"), arg("h"), arg("c"), arg("w_ih"), arg("w_hh"), arg("b"));
  m.def("lstm_cell_backward", &lstm_cell_backward, arg("dh_next"), arg("dc_next"), arg("x"), arg("h"), arg("c"),
        arg("w_ih"), arg("w_hh"), arg("c_next"), arg("gates"));
  m.def("rnn_cell", &rnn_cell, arg("x"), arg("h"), arg("w_ih"), arg("w_hh"), arg("b"));
  m.def("rnn_cell_backward", &rnn_cell_backward, arg("dh_next"), arg("x"), arg("h"), arg("w_ih"), arg("w_hh"),
        arg("h_next"));
}

}  // namespace lamina
