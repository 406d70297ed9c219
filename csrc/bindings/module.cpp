#include "bindings/checks.h"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  using namespace lamina;
  m.doc() = "lamina's compiled kernels; see _core.pyi for the contract.";
  bind_gemm(m);
  bind_conv(m);
  bind_locally_connected(m);
  bind_pool(m);
  bind_recurrent(m);
  bind_sequence(m);
  bind_recurrent_step(m);
  bind_embedding(m);
  bind_memory_blocks(m);
  bind_sparse_code(m);
  bind_upsample(m);
  bind_norm(m);
  bind_activations(m);
  bind_losses(m);
  bind_topk(m);
  bind_draw(m);
  bind_optim(m);
  bind_plan(m);
  bind_machine(m);
}
