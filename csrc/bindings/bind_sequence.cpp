#include "bindings/checks.h"

namespace lamina {
namespace {

Cell cell_named(const char* op, const std::string& name) {
  if (name == "rnn_tanh") return Cell::rnn_tanh;
  if (name == "rnn_relu") return Cell::rnn_relu;
  if (name == "gru") return Cell::gru;
  if (name == "lstm") return Cell::lstm;
  fail_value(std::string(op) + ": unknown cell " + name + ": expected rnn_tanh, rnn_relu, gru or lstm");
}

// offset (steps + 1,) must rise from 0 to the rows of x, by less and less, at most N at a time.
SequenceShape sequence_shape(const char* op, const py::array& x, const py::array& offset, const py::array& h0) {
  require_rank(op, "x", x, 2, "(P, D)");
  require_rank(op, "h0", h0, 2, "(N, H)");
  require_rank(op, "offset", offset, 1, "(steps + 1,)");
  const auto* at = input<std::int64_t>(op, "offset", offset, {-1});
  SequenceShape s{h0.shape(0), x.shape(1), h0.shape(1), offset.shape(0) - 1, nullptr};
  bool good = s.steps >= 0 && at[0] == 0 && at[s.steps] == x.shape(0);
  for (Index i = 0, most = s.N; good && i < s.steps; ++i) {
    const Index rows = at[i + 1] - at[i];
    good = rows >= 0 && rows <= most;
    most = rows;
  }
  if (!good) fail_value(std::string(op) + ": offset does not describe rows packed by time");
  static_assert(sizeof(Index) == sizeof(std::int64_t));
  s.offset = reinterpret_cast<const Index*>(at);
  return s;
}

template <class T>
Sequence<T> inputs(const char* op, Cell cell, const SequenceShape& s, const py::array& x, const py::array& h0,
                   const std::optional<py::array>& c0, const py::array& w_ih, const py::array& w_hh,
                   const py::array& b) {
  const Index G = gate_count(cell);
  if (c0.has_value() != (cell == Cell::lstm)) fail_value(std::string(op) + ": c0 belongs to an LSTM alone");
  return {.x = input<T>(op, "x", x, {s.total(), s.D}),
          .h0 = input<T>(op, "h0", h0, {s.N, s.H}),
          .c0 = optional_input<T>(op, "c0", c0, {s.N, s.H}),
          .w_ih = input<T>(op, "w_ih", w_ih, {G * s.H, s.D}),
          .w_hh = input<T>(op, "w_hh", w_hh, {G * s.H, s.H}),
          .b = input<T>(op, "b", b, {bias_count(cell) * s.H}),
          .gates = nullptr,
          .h = nullptr,
          .c = nullptr,
          .m = nullptr};
}

py::tuple sequence(const std::string& name, const py::array& x, const py::array& offset, const py::array& h0,
                   const std::optional<py::array>& c0, const py::array& w_ih, const py::array& w_hh,
                   const py::array& b) {
  const char* op = "sequence";
  const Cell cell = cell_named(op, name);
  const SequenceShape s = sequence_shape(op, x, offset, h0);
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    Sequence<T> q = inputs<T>(op, cell, s, x, h0, c0, w_ih, w_hh, b);
    const Shape units{s.total(), s.H};
    py::array h = allocate<T>(units), gates = allocate<T>({s.total(), gate_count(cell) * s.H});
    py::object kept = py::none();  // c or m
    q.h = data<T>(h), q.gates = data<T>(gates);
    if (cell == Cell::lstm || cell == Cell::gru) {
      py::array more = allocate<T>(units);
      (cell == Cell::lstm ? q.c : q.m) = data<T>(more);
      kept = more;
    }
    {
      py::gil_scoped_release release;
      kernels<T>().sequence(cell, s, q);
    }
    return py::make_tuple(h, kept, gates);
  });
}

py::tuple sequence_backward(const std::string& name, const py::array& dh, const py::array& dh_last,
                            const std::optional<py::array>& dc_last, const py::array& x, const py::array& offset,
                            const py::array& h0, const std::optional<py::array>& c0, const py::array& w_ih,
                            const py::array& w_hh, const py::array& b, const py::array& h,
                            const std::optional<py::array>& kept, const py::array& gates) {
  const char* op = "sequence_backward";
  const Cell cell = cell_named(op, name);
  const SequenceShape s = sequence_shape(op, x, offset, h0);
  return by_dtype(op, "x", x, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const Index G = gate_count(cell);
    const bool lstm = cell == Cell::lstm;
    if (kept.has_value() != (lstm || cell == Cell::gru) || dc_last.has_value() != lstm)
      fail_value(std::string(op) + ": what was kept does not fit the cell");
    const Shape units{s.total(), s.H}, state{s.N, s.H};
    Sequence<T> q = inputs<T>(op, cell, s, x, h0, c0, w_ih, w_hh, b);
    q.h = const_cast<T*>(input<T>(op, "h", h, units));
    q.gates = const_cast<T*>(input<T>(op, "gates", gates, {s.total(), G * s.H}));
    (lstm ? q.c : q.m) = const_cast<T*>(optional_input<T>(op, "kept", kept, units));
    py::array dx = allocate<T>({s.total(), s.D}), dh0 = allocate<T>(state), dw_ih = allocate<T>({G * s.H, s.D}),
              dw_hh = allocate<T>({G * s.H, s.H}), db = allocate<T>({bias_count(cell) * s.H});
    py::object dc0 = py::none();
    SequenceGradient<T> d{input<T>(op, "dh", dh, units),
                          input<T>(op, "dh_last", dh_last, state),
                          optional_input<T>(op, "dc_last", dc_last, state),
                          data<T>(dx),
                          data<T>(dh0),
                          nullptr,
                          data<T>(dw_ih),
                          data<T>(dw_hh),
                          data<T>(db)};
    if (lstm) {
      py::array more = allocate<T>(state);
      d.dc0 = data<T>(more);
      dc0 = more;
    }
    {
      py::gil_scoped_release release;
      kernels<T>().sequence_backward(cell, s, q, d);
    }
    return py::make_tuple(dx, dh0, dc0, dw_ih, dw_hh, db);
  });
}

py::array take_rows(const py::array& x, const py::array& index) {
  const char* op = "take_rows";
  require_rank(op, "x", x, 2, "(R, D)");
  require_rank(op, "index", index, 1, "(P,)");
  const auto* at = input<std::int64_t>(op, "index", index, {-1});
  const Index rows = index.shape(0), columns = x.shape(1);
  for (Index i = 0; i < rows; ++i)
    if (at[i] < -1 || at[i] >= x.shape(0)) fail_value(std::string(op) + ": an index is out of range");
  return by_dtype(op, "x", x, [&](auto type) -> py::array {
    using T = typename decltype(type)::type;
    const T* xs = input<T>(op, "x", x, {x.shape(0), columns});
    py::array out = allocate<T>({rows, columns});
    T* to = data<T>(out);
    py::gil_scoped_release release;
    kernels<T>().take_rows(rows, columns, xs, at, to);
    return out;
  });
}

}  // namespace

void bind_sequence(py::module_& m) {
  using py::arg;
  m.def("sequence", &sequence, arg("cell"), arg("x"), arg("offset"), arg("h0"), arg("c0"), arg("w_ih"), arg("w_hh"),
        arg("b"));
  m.def("sequence_backward", &sequence_backward, arg("cell"), arg("dh"), arg("dh_last"), arg("dc_last"), arg("x"),
        arg("offset"), arg("h0"), arg("c0"), arg("w_ih"), arg("w_hh"), arg("b"), arg("h"), arg("kept"), arg("gates"));
  m.def("take_rows", &take_rows, arg("x"), arg("index"));
}

}  // namespace lamina
