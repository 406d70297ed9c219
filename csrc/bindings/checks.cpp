#include "bindings/checks.h"

#include <limits>

namespace lamina {

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += i ? ", " : "";
    text += shape[i] < 0 ? "any" : std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

void fail_value(const std::string& message) { throw py::value_error(message); }
void fail_type(const std::string& message) { throw py::type_error(message); }

Shape shape_of(const py::array& array) { return Shape(array.shape(), array.shape() + array.ndim()); }

void require_rank(const char* op, const char* name, const py::array& array, Index rank, const char* letters) {
  if (array.ndim() != rank)
    fail_value(std::string(op) + ": " + name + " must have the axes " + letters + ", but its shape is " +
               shape_text(shape_of(array)));
}

py::array checked(const char* op, const char* name, const py::array& array, const py::dtype& dtype, const Shape& shape,
                  bool contiguous) {
  const std::string what = std::string(op) + ": " + name;
  if (!same_dtype(array.dtype(), dtype))
    fail_type(what + " must be " + py::str(dtype).cast<std::string>() + ", not " +
              py::str(array.dtype()).cast<std::string>());
  const Shape got = shape_of(array);
  bool match = got.size() == shape.size();
  for (std::size_t i = 0; match && i < got.size(); ++i) match = shape[i] < 0 || shape[i] == got[i];
  if (!match) fail_value(what + " must have shape " + shape_text(shape) + ", not " + shape_text(got));
  const int flags = array.flags();
  if (!(flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) fail_value(what + " must be aligned in memory");
  if (contiguous && !(flags & py::array::c_style)) fail_value(what + " must be C-contiguous");
  if (Plan* plan = Plan::recording()) plan->hold(op, array);
  return array;
}

const std::int64_t* tokens_below(const char* op, const char* name, const py::array& tokens, Index below) {
  const auto* found = input<std::int64_t>(op, name, tokens, {-1});
  const Index n = tokens.shape(0);
  run([=] {
    for (Index i = 0; i < n; ++i)
      if (found[i] < 0 || found[i] >= below) fail_value(std::string(op) + ": a token is out of range");
  });
  return found;
}

Index size_of(const Shape& shape) {
  Index size = 1;
  for (const Index n : shape) {
    if (n > 0 && size > std::numeric_limits<Index>::max() / 16 / n) throw std::bad_alloc();
    size *= n;
  }
  return size;
}

py::array allocate(const py::dtype& dtype, const Shape& shape) {
  const Index bytes = size_of(shape) * dtype.itemsize();
  if (bytes == 0) return py::array(dtype, shape);
  if (Plan* plan = Plan::recording()) return plan->allocate(dtype, shape, static_cast<std::size_t>(bytes));
  void* block = cache_allocate(static_cast<std::size_t>(bytes));
  py::capsule owner(block, [](void* p) { cache_free(p); });
  return py::array(dtype, shape, block, owner);
}

}  // namespace lamina
