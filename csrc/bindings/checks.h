// What every binding checks before it calls a kernel. Nothing is converted: a wrong dtype or layout is the caller's
// mistake.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "bindings/plan.h"
#include "common/memory.h"
#include "dispatch.h"

namespace lamina {

namespace py = pybind11;
using Shape = std::vector<Index>;
using Pair = std::array<Index, 2>;
using Sides = std::array<Index, 4>;  // top, bottom, left, right

std::string shape_text(const Shape& shape);
[[noreturn]] void fail_value(const std::string& message);
[[noreturn]] void fail_type(const std::string& message);

// An array of the caller's after its checks: dtype T, aligned, native, contiguous, of the wanted shape (-1: any size).
py::array checked(const char* op, const char* name, const py::array& array, const py::dtype& dtype, const Shape& shape,
                  bool contiguous = true);

template <class T>
const T* input(const char* op, const char* name, const py::array& array, const Shape& shape) {
  return static_cast<const T*>(checked(op, name, array, py::dtype::of<T>(), shape).data());
}
template <class T>
const T* optional_input(const char* op, const char* name, const std::optional<py::array>& array, const Shape& shape) {
  return array ? input<T>(op, name, *array, shape) : nullptr;
}
template <class T>
T* in_place(const char* op, const char* name, const py::array& array, const Shape& shape) {
  checked(op, name, array, py::dtype::of<T>(), shape);
  if (!array.writeable()) fail_value(std::string(op) + ": " + name + " is read-only and cannot be updated in place");
  return static_cast<T*>(const_cast<void*>(array.data()));
}

// Whole numbers (P,), each in 0..below-1.
const std::int64_t* tokens_below(const char* op, const char* name, const py::array& tokens, Index below);
Cell cell_named(const char* op, const std::string& name);

// A new array in memory of the cache.
py::array allocate(const py::dtype& dtype, const Shape& shape);
template <class T>
py::array allocate(const Shape& shape) {
  return allocate(py::dtype::of<T>(), shape);
}
// Where a result goes: into the caller's array of that shape, if there is one, else into a new one.
template <class T>
py::array result(const char* op, const char* name, const std::optional<py::array>& given, const Shape& shape) {
  if (!given) return allocate<T>(shape);
  in_place<T>(op, name, *given, shape);
  return *given;
}
template <class T>
T* data(py::array& array) {
  return static_cast<T*>(array.mutable_data());
}

Index size_of(const Shape& shape);
Shape shape_of(const py::array& array);
void require_rank(const char* op, const char* name, const py::array& array, Index rank, const char* letters);

// Equal dtypes are mostly one object; an unpickled array brings its own.
inline bool same_dtype(const py::dtype& a, const py::dtype& b) { return a.is(b) || a.equal(b); }

template <class T>
struct Type {
  using type = T;
};
// f(Type<float>) or f(Type<double>), by the dtype of the op's leading argument.
template <class F>
auto by_dtype(const char* op, const char* name, const py::array& array, F&& f) {
  if (same_dtype(array.dtype(), py::dtype::of<float>())) return f(Type<float>{});
  if (same_dtype(array.dtype(), py::dtype::of<double>())) return f(Type<double>{});
  fail_type(std::string(op) + ": " + name + " must be float32 or float64 in native byte order, not " +
            py::str(array.dtype()).cast<std::string>());
}

// Rows packed by time (bind_sequence.cpp): offset (steps + 1,) must rise from 0 to the number of packed rows, by less
// and less, at most N of h0 (N,H) at a time; source must name that many different rows of x.
SequenceShape sequence_shape(const char* op, const py::array& x, Index D, const py::array& source,
                             const py::array& offset, const py::array& h0);

void bind_gemm(py::module_& m);
void bind_conv(py::module_& m);
void bind_locally_connected(py::module_& m);
void bind_pool(py::module_& m);
void bind_recurrent(py::module_& m);
void bind_sequence(py::module_& m);
void bind_recurrent_step(py::module_& m);
void bind_embedding(py::module_& m);
void bind_memory_blocks(py::module_& m);
void bind_sparse_code(py::module_& m);
void bind_upsample(py::module_& m);
void bind_norm(py::module_& m);
void bind_activations(py::module_& m);
void bind_losses(py::module_& m);
void bind_topk(py::module_& m);
void bind_draw(py::module_& m);
void bind_optim(py::module_& m);
void bind_plan(py::module_& m);
void bind_machine(py::module_& m);

}  // namespace lamina
