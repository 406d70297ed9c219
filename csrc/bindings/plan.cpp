#include "bindings/plan.h"

#include <cstring>

#include "bindings/checks.h"

namespace lamina {
namespace {

thread_local Plan* current = nullptr;

std::size_t bytes_of(const py::array& array) { return static_cast<std::size_t>(array.nbytes()); }

}  // namespace

Plan* Plan::recording() { return current; }

Plan::Plan(const py::array& x) : x_{x.dtype(), shape_of(x), nullptr, bytes_of(x)}, y_{x.dtype(), {}, nullptr, 0} {
  checked("compile", "example", x, x.dtype(), shape_of(x));
  if (x_.bytes == 0) fail_value("compile: the example has no elements");
  x_.block = take(x_.bytes);
  std::memcpy(x_.block, x.data(), x_.bytes);
}

Plan::~Plan() {
  if (current == this) current = nullptr;
  for (const auto& [block, bytes] : blocks_) cache_free(block);
}

void Plan::start() {
  if (current) throw std::runtime_error("compile: this thread is compiling another model already");
  if (ready_ || open_) throw std::runtime_error("compile: this plan has been recorded");
  current = this;
  open_ = true;
}

void Plan::stop(const py::array& y) {
  abandon();
  checked("compile", "the result", y, y.dtype(), shape_of(y));
  y_ = {y.dtype(), shape_of(y), const_cast<void*>(y.data()), bytes_of(y)};
  hold("the result", y);
  ready_ = true;
}

void Plan::abandon() {
  if (current == this) current = nullptr;
  open_ = false;
}

py::array Plan::operator()(const py::array& x) {
  if (!ready_) throw std::runtime_error("compile: this plan was not recorded");
  checked("a compiled model", "x", x, x_.dtype, x_.shape);
  py::array y = lamina::allocate(y_.dtype, y_.shape);
  const void* from = x.data();
  void* to = y.mutable_data();
  py::gil_scoped_release release;
  std::lock_guard<std::mutex> lock(mutex_);
  std::memcpy(x_.block, from, x_.bytes);
  for (const auto& call : calls_) call();
  std::memcpy(to, y_.block, y_.bytes);
  return y;
}

py::array Plan::allocate(const py::dtype& dtype, const std::vector<Index>& shape, std::size_t bytes) {
  return array(dtype, shape, take(bytes));
}

// The array holds the plan, so that its memory outlives it whatever goes first.
py::array Plan::array(const py::dtype& dtype, const std::vector<Index>& shape, void* block) {
  using Hold = std::pair<std::shared_ptr<Plan>, void*>;
  py::capsule owner(new Hold(shared_from_this(), block), [](void* p) {
    auto* hold = static_cast<Hold*>(p);
    hold->first->give(hold->second);
    delete hold;
  });
  return py::array(dtype, shape, block, owner);
}

void* Plan::take(std::size_t bytes) {
  const auto found = unused_.lower_bound(bytes);
  if (found != unused_.end() && found->first <= 2 * bytes) {
    void* block = found->second;
    unused_.erase(found);
    return block;
  }
  void* block = cache_allocate(bytes);
  blocks_[block] = bytes;
  return block;
}

// After the recording a block stays with the plan, though no array shows it.
void Plan::give(void* block) {
  if (open_ && block != x_.block) unused_.emplace(blocks_[block], block);
}

void Plan::hold(const char* op, const py::array& array) {
  auto* data = const_cast<void*>(array.data());
  const auto after = blocks_.upper_bound(data);
  if (after != blocks_.begin()) {
    const auto& [block, bytes] = *std::prev(after);
    if (static_cast<char*>(data) < static_cast<char*>(block) + bytes) return;
  }
  constants_.append(py::make_tuple(op, array));
}

std::size_t Plan::bytes() const {
  std::size_t sum = 0;
  for (const auto& [block, bytes] : blocks_) sum += bytes;
  return sum;
}

void bind_plan(py::module_& m) {
  using py::arg;
  py::class_<Plan, std::shared_ptr<Plan>>(m, "Plan")
      .def(py::init<const py::array&>(), arg("x"))
      .def("start", &Plan::start)
      .def("stop", &Plan::stop, arg("y"))
      .def("abandon", &Plan::abandon)
      .def("input", &Plan::input)
      .def("__call__", &Plan::operator(), arg("x"))
      .def_property_readonly("bytes", &Plan::bytes)
      .def_property_readonly("calls", &Plan::size)
      .def_property_readonly("constants", &Plan::constants);
}

}  // namespace lamina
