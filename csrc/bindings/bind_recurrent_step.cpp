#include "bindings/checks.h"

namespace lamina {
namespace {

py::tuple recurrent_step(const std::string& name, Index token, const py::array& table, const py::array& panels,
                         const py::array& state, Index outputs) {
  const char* op = "recurrent_step";
  const Cell cell = cell_named(op, name);
  if (cell == Cell::gru_before) fail_value(std::string(op) + ": gru_before has no step of its own");
  require_rank(op, "table", table, 2, "(V, GH)");
  require_rank(op, "state", state, 3, "(layers, parts, H)");
  const Index layers = state.shape(0), parts = cell == Cell::lstm ? 2 : 1, H = state.shape(2),
              gates = gate_count(cell) * H;
  if (token < 0 || token >= table.shape(0)) fail_value(std::string(op) + ": the token is out of range");
  if (layers < 1 || H < 1 || outputs < 0 || outputs > panels.size())
    fail_value(std::string(op) + ": there must be a layer, a unit, and panels for all outputs");
  const auto count = [](Index columns) { return (columns + kStepPanel - 1) / kStepPanel; };
  return by_dtype(op, "state", state, [&](auto type) -> py::tuple {
    using T = typename decltype(type)::type;
    const T *xs = input<T>(op, "table", table, {-1, gates}) + token * gates,
            *ws = input<T>(op, "panels", panels, {count(gates) * (2 * layers - 1) + count(outputs), H + 1, kStepPanel}),
            *before = input<T>(op, "state", state, {layers, parts, H});
    py::array logits = allocate<T>({outputs}), next = allocate<T>({layers, parts, H});
    T *out = data<T>(logits), *after = data<T>(next);
    run([=] { kernels<T>().recurrent_step(cell, {layers, H, outputs}, xs, ws, before, after, out); });
    return py::make_tuple(logits, next);
  });
}

}  // namespace

void bind_recurrent_step(py::module_& m) {
  using py::arg;
  m.def("recurrent_step", &recurrent_step, arg("cell"), arg("token"), arg("table"), arg("panels"), arg("state"),
        arg("outputs"));
}

}  // namespace lamina
