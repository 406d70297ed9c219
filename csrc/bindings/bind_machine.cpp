#include <cstdlib>

#include "bindings/checks.h"
#include "common/parallel.h"

namespace lamina {
namespace {

py::list isa_names() {
  py::list names;
  for (const std::string& name : available_isas()) names.append(name);
  return names;
}

py::dict build_info() {
  py::dict info;
  info["compiler"] = LAMINA_COMPILER;
  info["isas_built"] = py::str(LAMINA_ISAS).attr("split")();
  info["isas"] = isa_names();
  info["isa"] = active().name;
  info["openmp"] = has_openmp();
  info["threads"] = max_threads();
  info["cpu_limit"] = cpu_limit();
  info["sanitizers"] = LAMINA_SANITIZE;
  return info;
}

void checked_threads(int n) {
  if (n < 1 || n > 1024) fail_value("set_num_threads: n must be from 1 to 1024, not " + std::to_string(n));
  set_max_threads(n);
}

py::dict stats() {
  const MemoryStats s = memory_stats();
  py::dict d;
  d["in_use"] = s.in_use;
  d["cached"] = s.cached;
  d["allocations"] = s.allocations;
  d["reused"] = s.reused;
  return d;
}

double peak(const std::string& dtype, double seconds) {
  if (dtype != "float32" && dtype != "float64")
    fail_value("measure_peak: dtype must be 'float32' or 'float64', not '" + dtype + "'");
  py::gil_scoped_release release;
  return measure_peak(dtype == "float64", seconds);
}

double bandwidth(double seconds) {
  py::gil_scoped_release release;
  return measure_bandwidth(seconds);
}

}  // namespace

void bind_machine(py::module_& m) {
  m.def("available_isas", &isa_names);
  m.def("get_isa", [] { return active().name; });
  m.def("set_isa", &select_isa, py::arg("name"));
  m.def("get_num_threads", &max_threads);
  m.def("set_num_threads", &checked_threads, py::arg("n"));
  m.def("cpu_limit", &cpu_limit);
  m.def("build_info", &build_info);
  m.def("empty_cache", &cache_release);
  m.def("memory_stats", &stats);
  m.def("measure_peak", &peak, py::arg("dtype"), py::arg("seconds"));
  m.def("measure_bandwidth", &bandwidth, py::arg("seconds"));
  // Chosen once, at import: LAMINA_ISA, or the best that the processor has.
  const char* asked = std::getenv("LAMINA_ISA");
  select_isa(asked && *asked ? asked : available_isas().back());
}

}  // namespace lamina
