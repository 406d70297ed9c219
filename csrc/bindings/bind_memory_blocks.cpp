#include "bindings/checks.h"

namespace lamina {
namespace {

Squash squash_named(const char* op, const std::string& name) {
  if (name == "tanh") return Squash::tanh;
  if (name == "logistic") return Squash::logistic;
  if (name == "identity") return Squash::identity;
  if (name == "1997") return Squash::symmetric;
  fail_value(std::string(op) + ": unknown squash " + name + ": expected tanh, logistic, identity or 1997");
}

Forget forget_named(const char* op, const std::string& name) {
  if (name == "none") return Forget::none;
  if (name == "gate") return Forget::gate;
  if (name == "coupled") return Forget::coupled;
  fail_value(std::string(op) + ": unknown forget " + name + ": expected none, gate or coupled");
}

// (cells per block, input gate, forget, output gate, squash of the input, squash of the state)
using Options = std::tuple<Index, bool, std::string, bool, std::string, std::string>;

BlockKind block_kind(const char* op, const Options& options, Index H, Index M) {
  const auto& [cells, input_gate, forget, output_gate, input, state] = options;
  if (cells < 1 || H % cells != 0) fail_value(std::string(op) + ": the cells must fill whole blocks");
  const BlockKind kind{H / cells,
                       cells,
                       M,
                       input_gate,
                       output_gate,
                       forget_named(op, forget),
                       squash_named(op, input),
                       squash_named(op, state),
                       false};
  if (kind.forget == Forget::coupled && !input_gate) fail_value(std::string(op) + ": coupled needs an input gate");
  if (M != 0 && M != H && M != H + kind.gate_rows())
    fail_value(std::string(op) + ": u0 must hold nothing, the cells, or the cells and all gates");
  return kind;
}

py::tuple memory_blocks(const Options& options, const py::array& x, const py::array& source, const py::array& offset,
                        const py::array& u0, const py::array& c0, const py::array& w_ih, const py::array& w_hh,
                        const py::array& b, const std::optional<py::array>& peepholes) {
  const char* op = "memory_blocks";
  const bool tokens = same_dtype(x.dtype(), py::dtype::of<std::int64_t>());
  require_rank(op, "x", x, tokens ? 1 : 2, tokens ? "(R,)" : "(R, D)");
  require_rank(op, "u0", u0, 2, "(N, M)");
  require_rank(op, "w_ih", w_ih, 2, "(rows, D)");
  const SequenceShape s = sequence_shape(op, x, w_ih.shape(1), source, offset, c0);
  const BlockKind kind = block_kind(op, options, s.H, u0.shape(1));
  return by_dtype(op, "w_ih", w_ih, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const Index n = kind.rows(), M = kind.M, P = s.total();
    py::array y = allocate<T>({s.R, s.H}), u_last = allocate<T>({s.N, M}), c_last = allocate<T>({s.N, s.H}),
              xu = allocate<T>({P, padded_row((tokens ? 0 : s.D) + M, sizeof(T))}), gates = allocate<T>({P, n}),
              c = allocate<T>({P, s.H});
    const BlockSequence<T> q{.x = tokens ? nullptr : input<T>(op, "x", x, {s.R, s.D}),
                             .tokens = tokens ? tokens_below(op, "x", x, s.D) : nullptr,
                             .u0 = input<T>(op, "u0", u0, {s.N, M}),
                             .c0 = input<T>(op, "c0", c0, {s.N, s.H}),
                             .w_ih = input<T>(op, "w_ih", w_ih, {n, s.D}),
                             .w_hh = input<T>(op, "w_hh", w_hh, {n, M}),
                             .b = input<T>(op, "b", b, {n}),
                             .peepholes = optional_input<T>(op, "peepholes", peepholes, {kind.gates(), s.H}),
                             .y = data<T>(y),
                             .u_last = data<T>(u_last),
                             .c_last = data<T>(c_last),
                             .xu = data<T>(xu),
                             .gates = data<T>(gates),
                             .c = data<T>(c)};
    run([=] { kernels<T>().memory_blocks(kind, s, q); });
    return py::make_tuple(y, u_last, c_last, xu, gates, c);
  });
}

py::tuple memory_blocks_backward(const Options& options, bool truncated, const py::array& dy, const py::array& du_last,
                                 const py::array& dc_last, const std::optional<py::array>& tokens,
                                 const py::array& source, const py::array& offset, const py::array& c0,
                                 const py::array& w_ih, const py::array& w_hh,
                                 const std::optional<py::array>& peepholes, const py::array& xu, const py::array& gates,
                                 const py::array& c) {
  const char* op = "memory_blocks_backward";
  require_rank(op, "dy", dy, 2, "(R, H)");
  require_rank(op, "du_last", du_last, 2, "(N, M)");
  require_rank(op, "w_ih", w_ih, 2, "(rows, D)");
  const SequenceShape s = sequence_shape(op, dy, w_ih.shape(1), source, offset, c0);
  BlockKind kind = block_kind(op, options, s.H, du_last.shape(1));
  kind.truncated = truncated;
  if (tokens && (tokens->ndim() != 1 || tokens->shape(0) != s.R)) fail_value(std::string(op) + ": tokens must be (R,)");
  return by_dtype(op, "dy", dy, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const Index n = kind.rows(), M = kind.M, P = s.total(), D = tokens ? 0 : s.D;
    const Shape units{s.N, M}, cells{s.N, s.H}, peeps{kind.gates(), s.H};
    const auto made = [](const T* saved) { return const_cast<T*>(saved); };  // read alone on the way back
    const BlockSequence<T> q{.x = nullptr,
                             .tokens = tokens ? tokens_below(op, "tokens", *tokens, s.D) : nullptr,
                             .u0 = nullptr,
                             .c0 = input<T>(op, "c0", c0, cells),
                             .w_ih = input<T>(op, "w_ih", w_ih, {n, s.D}),
                             .w_hh = input<T>(op, "w_hh", w_hh, {n, M}),
                             .b = nullptr,
                             .peepholes = optional_input<T>(op, "peepholes", peepholes, peeps),
                             .y = nullptr,
                             .u_last = nullptr,
                             .c_last = nullptr,
                             .xu = made(input<T>(op, "xu", xu, {P, padded_row(D + M, sizeof(T))})),
                             .gates = made(input<T>(op, "gates", gates, {P, n})),
                             .c = made(input<T>(op, "c", c, {P, s.H}))};
    py::array dx = allocate<T>({tokens ? 0 : s.R, s.D}), du0 = allocate<T>(units), dc0 = allocate<T>(cells),
              dw_ih = allocate<T>({n, s.D}), dw_hh = allocate<T>({n, M}), db = allocate<T>({n}),
              dpeepholes = allocate<T>(peepholes ? peeps : Shape{0, 0});
    const BlockGradient<T> d{.dy = input<T>(op, "dy", dy, {s.R, s.H}),
                             .du_last = input<T>(op, "du_last", du_last, units),
                             .dc_last = input<T>(op, "dc_last", dc_last, cells),
                             .dx = data<T>(dx),
                             .du0 = data<T>(du0),
                             .dc0 = data<T>(dc0),
                             .dw_ih = data<T>(dw_ih),
                             .dw_hh = data<T>(dw_hh),
                             .db = data<T>(db),
                             .dpeepholes = peepholes ? data<T>(dpeepholes) : nullptr};
    run([=] { kernels<T>().memory_blocks_backward(kind, s, q, d); });
    const py::object none = py::none();
    return py::make_tuple(tokens ? none : py::object(dx), du0, dc0, dw_ih, dw_hh, db,
                          peepholes ? py::object(dpeepholes) : none);
  });
}

}  // namespace

void bind_memory_blocks(py::module_& m) {
  using py::arg;
  m.def("memory_blocks", &memory_blocks, arg("options"), arg("x"), arg("source"), arg("offset"), arg("u0"), arg("c0"),
        arg("w_ih"), arg("w_hh"), arg("b"), arg("peepholes"));
  m.def("memory_blocks_backward", &memory_blocks_backward, arg("options"), arg("truncated"), arg("dy"), arg("du_last"),
        arg("dc_last"), arg("tokens"), arg("source"), arg("offset"), arg("c0"), arg("w_ih"), arg("w_hh"),
        arg("peepholes"), arg("xu"), arg("gates"), arg("c"));
}

}  // namespace lamina
