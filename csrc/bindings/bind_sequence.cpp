#include "bindings/checks.h"

namespace lamina {

Cell cell_named(const char* op, const std::string& name) {
  if (name == "rnn_tanh") return Cell::rnn_tanh;
  if (name == "rnn_relu") return Cell::rnn_relu;
  if (name == "rnn_satlin") return Cell::rnn_satlin;
  if (name == "gru") return Cell::gru;
  if (name == "gru_before") return Cell::gru_before;
  if (name == "lstm") return Cell::lstm;
  fail_value(std::string(op) + ": unknown cell " + name +
             ": expected rnn_tanh, rnn_relu, rnn_satlin, gru, gru_before or lstm");
}

SequenceShape sequence_shape(const char* op, const py::array& x, Index D, const py::array& source,
                             const py::array& offset, const py::array& h0) {
  require_rank(op, "h0", h0, 2, "(N, H)");
  require_rank(op, "offset", offset, 1, "(steps + 1,)");
  require_rank(op, "source", source, 1, "(P,)");
  const auto *at = input<std::int64_t>(op, "offset", offset, {-1}),
             *from = input<std::int64_t>(op, "source", source, {-1});
  SequenceShape s{h0.shape(0), D, h0.shape(1), x.shape(0), offset.shape(0) - 1, nullptr, nullptr};
  bool good = s.steps >= 0 && at[0] == 0 && at[s.steps] == source.shape(0);
  for (Index i = 0, most = s.N; good && i < s.steps; ++i) {
    const Index rows = at[i + 1] - at[i];
    good = rows >= 0 && rows <= most;
    most = rows;
  }
  if (!good) fail_value(std::string(op) + ": offset does not describe rows packed by time");
  std::vector<bool> taken(static_cast<std::size_t>(s.R));
  for (Index p = 0; p < source.shape(0); ++p) {
    if (from[p] < 0 || from[p] >= s.R || taken[static_cast<std::size_t>(from[p])])
      fail_value(std::string(op) + ": source must name different rows of x");
    taken[static_cast<std::size_t>(from[p])] = true;
  }
  static_assert(sizeof(Index) == sizeof(std::int64_t));
  s.offset = reinterpret_cast<const Index*>(at);
  s.source = reinterpret_cast<const Index*>(from);
  return s;
}

constexpr bool has_kept(Cell cell) { return cell >= Cell::gru; }  // c or m

template <class T>
void set_masks(const char* op, const SequenceShape& s, const std::optional<py::array>& mask,
               const std::optional<py::array>& zone_h, const std::optional<py::array>& zone_c, Cell cell,
               Sequence<T>& q) {
  if (zone_c.has_value() != (zone_h.has_value() && cell == Cell::lstm))
    fail_value(std::string(op) + ": zone_c goes with zone_h, of an LSTM alone");
  q.mask = optional_input<T>(op, "mask", mask, {s.N, s.H});
  q.zone_h = optional_input<T>(op, "zone_h", zone_h, {s.R, s.H});
  q.zone_c = optional_input<T>(op, "zone_c", zone_c, {s.R, s.H});
}

namespace {

// Where the H columns of one direction are in rows of `blocks` times as many.
Index first_column(const char* op, Index H, Index blocks, Index block) {
  if (blocks < 1 || blocks > 2 || block < 0 || block >= blocks)
    fail_value(std::string(op) + ": blocks must be 1 or 2, and block below it");
  return block * H;
}

py::tuple sequence(const std::string& name, const py::array& x, const py::array& source, const py::array& offset,
                   const py::array& h0, const std::optional<py::array>& c0, const py::array& w_ih,
                   const py::array& w_hh, const py::array& b, const std::optional<py::array>& mask,
                   const std::optional<py::array>& zone_h, const std::optional<py::array>& zone_c, bool keep,
                   Index blocks, Index block, const std::optional<py::array>& y_out) {
  const char* op = "sequence";
  const Cell cell = cell_named(op, name);
  const bool tokens = same_dtype(x.dtype(), py::dtype::of<std::int64_t>());
  require_rank(op, "x", x, tokens ? 1 : 2, tokens ? "(R,)" : "(R, D)");
  require_rank(op, "w_ih", w_ih, 2, "(GH, D)");
  const SequenceShape s = sequence_shape(op, x, w_ih.shape(1), source, offset, h0);
  if (c0.has_value() != (cell == Cell::lstm)) fail_value(std::string(op) + ": c0 belongs to an LSTM alone");
  return by_dtype(op, "w_ih", w_ih, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const bool forgets = !keep && s.N > kFewSequences && s.steps > 2;
    const Index G = gate_count(cell), P = s.total(), held = forgets ? 2 * s.N : P;
    const Index column = first_column(op, s.H, blocks, block);
    py::array y = result<T>(op, "y", y_out, {s.R, blocks * s.H}), gates = allocate<T>({held, G * s.H}),
              xh = allocate<T>({held, padded_row((tokens ? 0 : s.D) + s.H + 1, sizeof(T))});
    Sequence<T> q{.x = tokens ? nullptr : input<T>(op, "x", x, {s.R, s.D}),
                  .tokens = tokens ? tokens_below(op, "x", x, s.D) : nullptr,
                  .h0 = input<T>(op, "h0", h0, {s.N, s.H}),
                  .c0 = optional_input<T>(op, "c0", c0, {s.N, s.H}),
                  .w_ih = input<T>(op, "w_ih", w_ih, {G * s.H, s.D}),
                  .w_hh = input<T>(op, "w_hh", w_hh, {G * s.H, s.H}),
                  .b = input<T>(op, "b", b, {bias_count(cell) * s.H}),
                  .y = data<T>(y) + column,
                  .xh = data<T>(xh),
                  .gates = data<T>(gates),
                  .c = nullptr,
                  .m = nullptr,
                  .mask = nullptr,
                  .zone_h = nullptr,
                  .zone_c = nullptr,
                  .forgets = forgets,
                  .ldy = blocks * s.H};
    set_masks(op, s, mask, zone_h, zone_c, cell, q);
    py::object kept = py::none();
    if (has_kept(cell)) {
      py::array more = allocate<T>({P, s.H});
      (cell == Cell::lstm ? q.c : q.m) = data<T>(more);
      kept = more;
    }
    run_packing([=] { kernels<T>().sequence(cell, s, q); });
    return py::make_tuple(y, xh, kept, gates);
  });
}

py::tuple sequence_backward(const std::string& name, const py::array& dy, const py::array& dh_last,
                            const std::optional<py::array>& dc_last, const std::optional<py::array>& tokens,
                            const py::array& source, const py::array& offset, const py::array& h0,
                            const std::optional<py::array>& c0, const py::array& w_ih, const py::array& w_hh,
                            const std::optional<py::array>& mask, const std::optional<py::array>& zone_h,
                            const std::optional<py::array>& zone_c, const py::array& y, const py::array& xh,
                            const std::optional<py::array>& kept, const py::array& gates, bool needs_dx, Index blocks,
                            Index block, const std::optional<py::array>& dw_ih_out,
                            const std::optional<py::array>& dw_hh_out, const std::optional<py::array>& db_out) {
  const char* op = "sequence_backward";
  const Cell cell = cell_named(op, name);
  const bool lstm = cell == Cell::lstm;
  require_rank(op, "y", y, 2, "(R, H)");
  require_rank(op, "w_ih", w_ih, 2, "(GH, D)");
  const SequenceShape s = sequence_shape(op, y, w_ih.shape(1), source, offset, dh_last);
  if (tokens && (tokens->ndim() != 1 || tokens->shape(0) != s.R)) fail_value(std::string(op) + ": tokens must be (R,)");
  if (kept.has_value() != has_kept(cell) || dc_last.has_value() != lstm || c0.has_value() != lstm)
    fail_value(std::string(op) + ": what was kept does not fit the cell");
  return by_dtype(op, "dy", dy, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const Index G = gate_count(cell), P = s.total();
    const Index column = first_column(op, s.H, blocks, block);
    const Shape state{s.N, s.H}, rows{s.R, blocks * s.H}, from_x{G * s.H, s.D}, from_h{G * s.H, s.H};
    const auto made = [](const T* saved) { return const_cast<T*>(saved); };  // read alone on the way back
    const T* more = optional_input<T>(op, "kept", kept, {P, s.H});
    Sequence<T> q{.x = nullptr,
                  .tokens = tokens ? tokens_below(op, "tokens", *tokens, s.D) : nullptr,
                  .h0 = input<T>(op, "h0", h0, state),
                  .c0 = optional_input<T>(op, "c0", c0, state),
                  .w_ih = input<T>(op, "w_ih", w_ih, from_x),
                  .w_hh = input<T>(op, "w_hh", w_hh, from_h),
                  .b = nullptr,
                  .y = made(input<T>(op, "y", y, rows)) + column,
                  .xh = made(input<T>(op, "xh", xh, {P, padded_row((tokens ? 0 : s.D) + s.H + 1, sizeof(T))})),
                  .gates = made(input<T>(op, "gates", gates, {P, G * s.H})),
                  .c = made(lstm ? more : nullptr),
                  .m = made(lstm ? nullptr : more),
                  .mask = nullptr,
                  .zone_h = nullptr,
                  .zone_c = nullptr,
                  .ldy = blocks * s.H};
    set_masks(op, s, mask, zone_h, zone_c, cell, q);
    const bool to_x = needs_dx && !tokens;
    py::array dx = allocate<T>({to_x ? s.R : 0, s.D}), dh0 = allocate<T>(state),
              dw_ih = result<T>(op, "dw_ih", dw_ih_out, from_x), dw_hh = result<T>(op, "dw_hh", dw_hh_out, from_h),
              db = result<T>(op, "db", db_out, {bias_count(cell) * s.H});
    SequenceGradient<T> d{.dy = input<T>(op, "dy", dy, rows) + column,
                          .dh_last = input<T>(op, "dh_last", dh_last, state),
                          .dc_last = optional_input<T>(op, "dc_last", dc_last, state),
                          .dx = to_x ? data<T>(dx) : nullptr,
                          .dh0 = data<T>(dh0),
                          .dc0 = nullptr,
                          .dw_ih = data<T>(dw_ih),
                          .dw_hh = data<T>(dw_hh),
                          .db = data<T>(db)};
    py::object dc0 = py::none();
    if (lstm) {
      py::array found = allocate<T>(state);
      d.dc0 = data<T>(found);
      dc0 = found;
    }
    run([=] { kernels<T>().sequence_backward(cell, s, q, d); });
    return py::make_tuple(to_x ? py::object(dx) : py::object(py::none()), dh0, dc0, dw_ih, dw_hh, db);
  });
}

}  // namespace

void bind_sequence(py::module_& m) {
  using py::arg;
  m.def("sequence", &sequence, arg("cell"), arg("x"), arg("source"), arg("offset"), arg("h0"), arg("c0"), arg("w_ih"),
        arg("w_hh"), arg("b"), arg("mask"), arg("zone_h"), arg("zone_c"), arg("keep") = true, arg("blocks") = 1,
        arg("block") = 0, arg("y") = py::none());
  m.def("sequence_backward", &sequence_backward, arg("cell"), arg("dy"), arg("dh_last"), arg("dc_last"), arg("tokens"),
        arg("source"), arg("offset"), arg("h0"), arg("c0"), arg("w_ih"), arg("w_hh"), arg("mask"), arg("zone_h"),
        arg("zone_c"), arg("y"), arg("xh"), arg("kept"), arg("gates"), arg("needs_dx") = true, arg("blocks") = 1,
        arg("block") = 0, arg("dw_ih") = py::none(), arg("dw_hh") = py::none(), arg("db") = py::none());
}

}  // namespace lamina
