// Kernel calls written down while a model runs once, to be made again without Python between them.
#pragma once
#include <pybind11/numpy.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "common/types.h"

namespace lamina {

namespace py = pybind11;

// The calls of one run in their order, and the memory they work in. An array that is freed during the recording makes
// room for a later one, as it will on every run. Arrays that were not made by kernels are held and taken as constant.
class Plan : public std::enable_shared_from_this<Plan> {
 public:
  explicit Plan(const py::array& x);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  static Plan* recording();  // of the calling thread; null if there is none
  void start();
  void stop(const py::array& y);  // y: what the run returned
  void abandon();                 // nothing more is recorded, and nothing can be run

  py::array input() { return array(x_.dtype, x_.shape, x_.block); }
  py::array operator()(const py::array& x);

  py::array allocate(const py::dtype& dtype, const std::vector<Index>& shape, std::size_t bytes);
  void hold(const char* op, const py::array& array);
  py::list constants() const { return constants_; }
  void add(std::function<void()> call) { calls_.push_back(std::move(call)); }
  std::size_t bytes() const;
  std::size_t size() const { return calls_.size(); }

 private:
  struct Volume {
    py::dtype dtype;
    std::vector<Index> shape;
    void* block;
    std::size_t bytes;
  };

  py::array array(const py::dtype& dtype, const std::vector<Index>& shape, void* block);
  void* take(std::size_t bytes);
  void give(void* block);

  std::vector<std::function<void()>> calls_;
  std::map<void*, std::size_t> blocks_;
  std::multimap<std::size_t, void*> unused_;
  py::list constants_;
  Volume x_, y_;
  bool open_ = false, ready_ = false;
  std::mutex mutex_;  // one run at a time: all work in the same memory
};

// Make a call without the interpreter's lock, and write it down if a plan is being recorded. `call` holds copies of
// all it needs, and no Python object.
template <class F>
void run(F call) {
  {
    py::gil_scoped_release release;
    call();
  }
  if (Plan* plan = Plan::recording()) plan->add(std::move(call));
}

}  // namespace lamina
