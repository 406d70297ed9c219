// Kernel calls written down while a model runs once, to be made again without Python between them. What the host, Python,
// computes in that run is called again in its place.
#pragma once
#include <pybind11/numpy.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/memory.h"
#include "common/types.h"

namespace lamina {

namespace py = pybind11;

// The calls of one run in their order, and the memory they work in. An array that is freed during the recording makes
// room for a later one, as it will on every run. Arrays that were not made by kernels are held and taken as constant.
class Plan : public std::enable_shared_from_this<Plan> {
 public:
  // frozen: the weights stay as they are, so that what a call makes of them is made once.
  Plan(const std::vector<py::array>& inputs, bool frozen);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  static Plan* recording();  // of the calling thread; null if there is none
  void start();
  void pause();
  void resume();
  void stop(const std::vector<py::array>& results);  // what the run returned
  void abandon();                                    // nothing more is recorded, and nothing can be run

  std::vector<py::array> inputs();
  // hosts: the host's functions in the order in which they were called; none of them is kept, for what they hold
  // holds the plan.
  std::vector<py::array> operator()(const std::vector<py::array>& inputs, const std::vector<py::function>& hosts);
  // One run -> seconds of each call.
  std::vector<double> times(const std::vector<py::array>& inputs, const std::vector<py::function>& hosts);
  // Of each call: the op, and the shape of the first array that it was given.
  std::vector<std::pair<std::string, std::vector<Index>>> names() const;

  py::array allocate(const py::dtype& dtype, const std::vector<Index>& shape, std::size_t bytes);
  void hold(const char* op, const py::array& array);
  py::list constants() const { return constants_; }
  void add(std::function<void()> call);
  void add_host(const std::string& name);                    // of the host's function
  void drop_hosts(const std::vector<std::size_t>& numbers);  // functions, counted from 0, that need not be called
  std::size_t bytes() const;
  bool frozen() const { return frozen_; }
  std::size_t size() const { return calls_.size(); }

 private:
  struct Volume {
    py::dtype dtype;
    std::vector<Index> shape;
    void* block;
    std::size_t bytes;
  };

  struct Call {
    std::string op;
    std::vector<Index> shape;
    std::function<void()> run;
    std::optional<std::size_t> host = {};  // its number
  };

  std::vector<py::array> replay(const std::vector<py::array>& inputs, const std::vector<py::function>& hosts,
                                std::vector<double>* seconds);
  py::array array(const py::dtype& dtype, const std::vector<Index>& shape, void* block);
  void* take(std::size_t bytes);
  void give(void* block);

  std::vector<Call> calls_;
  Call next_;  // what is known of the call that is being prepared
  std::map<void*, std::size_t> blocks_;
  std::multimap<std::size_t, void*> unused_;
  py::list constants_;
  std::vector<Volume> inputs_, results_;
  const std::vector<py::function>* hosts_ = nullptr;
  std::size_t host_count_ = 0;
  bool frozen_, open_ = false, ready_ = false;
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

// As run, for a call that packs its weights.
template <class F>
void run_packing(F call) {
  Plan* const plan = Plan::recording();
  if (!plan || !plan->frozen()) return run(std::move(call));
  run([call = std::move(call), kept = std::make_shared<Kept>()] {
    const KeepScope scope(kept.get());
    call();
  });
}

}  // namespace lamina
