#include "bindings/plan.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "bindings/checks.h"

namespace lamina {
namespace {

thread_local Plan* current = nullptr;

std::size_t bytes_of(const py::array& array) { return static_cast<std::size_t>(array.nbytes()); }

}  // namespace

Plan* Plan::recording() { return current; }

Plan::Plan(const std::vector<py::array>& inputs, bool frozen) : frozen_(frozen) {
  for (const py::array& x : inputs) {
    checked("compile", "example", x, x.dtype(), shape_of(x));
    if (x.size() == 0) fail_value("compile: the example has no elements");
    inputs_.push_back({x.dtype(), shape_of(x), take(bytes_of(x)), bytes_of(x)});
    std::memcpy(inputs_.back().block, x.data(), bytes_of(x));
  }
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

void Plan::pause() { current = nullptr; }
void Plan::resume() { current = this; }

void Plan::stop(const std::vector<py::array>& results) {
  abandon();
  for (const py::array& y : results) {
    checked("compile", "the result", y, y.dtype(), shape_of(y));
    results_.push_back({y.dtype(), shape_of(y), const_cast<void*>(y.data()), bytes_of(y)});
    hold("the result", y);
  }
  ready_ = true;
}

void Plan::abandon() {
  if (current == this) current = nullptr;
  open_ = false;
}

std::vector<py::array> Plan::inputs() {
  std::vector<py::array> found;
  for (const Volume& x : inputs_) found.push_back(array(x.dtype, x.shape, x.block));
  return found;
}

std::vector<py::array> Plan::operator()(const std::vector<py::array>& inputs, const std::vector<py::function>& hosts) {
  return replay(inputs, hosts, nullptr);
}

std::vector<double> Plan::times(const std::vector<py::array>& inputs, const std::vector<py::function>& hosts) {
  std::vector<double> seconds;
  replay(inputs, hosts, &seconds);
  return seconds;
}

std::vector<std::pair<std::string, std::vector<Index>>> Plan::names() const {
  std::vector<std::pair<std::string, std::vector<Index>>> found;
  for (const Call& call : calls_) found.emplace_back(call.op, call.shape);
  return found;
}

std::vector<py::array> Plan::replay(const std::vector<py::array>& inputs, const std::vector<py::function>& hosts,
                                    std::vector<double>* seconds) {
  if (!ready_) throw std::runtime_error("compile: this plan was not recorded");
  if (inputs.size() != inputs_.size() || hosts.size() != host_count_)
    throw std::runtime_error("compile: this plan was recorded for other arguments");
  std::vector<const void*> from;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    from.push_back(
        checked("a compiled model", i == 0 ? "x" : "y", inputs[i], inputs_[i].dtype, inputs_[i].shape).data());
  std::vector<py::array> results;
  std::vector<void*> to;
  for (const Volume& y : results_) {
    results.push_back(lamina::allocate(y.dtype, y.shape));
    to.push_back(results.back().mutable_data());
  }
  py::gil_scoped_release release;
  std::lock_guard<std::mutex> lock(mutex_);
  hosts_ = &hosts;
  for (std::size_t i = 0; i < inputs_.size(); ++i) std::memcpy(inputs_[i].block, from[i], inputs_[i].bytes);
  for (const Call& call : calls_) {
    if (!seconds) {
      call.run();
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    call.run();
    seconds->push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  for (std::size_t i = 0; i < results_.size(); ++i) std::memcpy(to[i], results_[i].block, results_[i].bytes);
  return results;
}

void Plan::add(std::function<void()> call) {
  if (next_.op.empty() && !calls_.empty()) next_ = {calls_.back().op, calls_.back().shape, {}};  // the same op's
  next_.run = std::move(call);
  calls_.push_back(std::move(next_));
  next_ = {};
}

void Plan::add_host(const std::string& name) {
  next_.op = "Python, " + name;
  next_.host = host_count_;
  add([this, number = host_count_++] {
    py::gil_scoped_acquire hold;
    (*hosts_)[number]();
  });
}

void Plan::drop_hosts(const std::vector<std::size_t>& numbers) {
  std::erase_if(calls_, [&](const Call& call) {
    return call.host && std::find(numbers.begin(), numbers.end(), *call.host) != numbers.end();
  });
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
  for (const Volume& x : inputs_)
    if (x.block == block) return;
  if (open_) unused_.emplace(blocks_[block], block);
}

void Plan::hold(const char* op, const py::array& array) {
  if (next_.op.empty()) next_ = {op, shape_of(array), {}};
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
      .def(py::init<const std::vector<py::array>&, bool>(), arg("inputs"), arg("frozen"))
      .def("start", &Plan::start)
      .def("pause", &Plan::pause)
      .def("resume", &Plan::resume)
      .def("stop", &Plan::stop, arg("results"))
      .def("abandon", &Plan::abandon)
      .def("inputs", &Plan::inputs)
      .def("hold", &Plan::hold, arg("op"), arg("array"))
      .def("add_host", &Plan::add_host, arg("name"))
      .def("drop_hosts", &Plan::drop_hosts, arg("numbers"))
      .def("__call__", &Plan::operator(), arg("inputs"), arg("hosts"))
      .def("times", &Plan::times, arg("inputs"), arg("hosts"))
      .def_property_readonly("names", &Plan::names)
      .def_property_readonly("bytes", &Plan::bytes)
      .def_property_readonly("calls", &Plan::size)
      .def_property_readonly("constants", &Plan::constants);
}

}  // namespace lamina
