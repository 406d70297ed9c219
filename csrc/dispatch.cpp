#include "dispatch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <sstream>
#include <stdexcept>

#include "common/parallel.h"

namespace lamina {
namespace {

struct Candidate {
  const KernelTable* table;
  bool supported;
};

// Least first: the last supported one is the default.
std::vector<Candidate> candidates() {
  std::vector<Candidate> list{{&kernels_baseline, true}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  list.push_back({&kernels_avx2, avx2});
  list.push_back({&kernels_avx512, avx512});
#elif defined(__aarch64__)
  list.push_back({&kernels_neon, true});
#endif
  return list;
}

std::atomic<const KernelTable*> g_active{nullptr};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

constexpr double kAlways = 1e12;  // a cost that makes parallel_for use every thread

template <class T>
double peak_of(const Kernels<T>& k, double seconds) {
  const int threads = max_threads();
  std::vector<T> sinks(static_cast<std::size_t>(threads) * 64);
  const Index rounds = 200000;
  double best = 0;
  for (const double end = now() + seconds; now() < end;) {
    std::atomic<double> operations{0};
    const double start = now();
    parallel_for(threads, kAlways, [&](Index i) {
      const double done = k.multiply_adds(rounds, &sinks[static_cast<std::size_t>(i) * 64]);
      for (double old = operations; !operations.compare_exchange_weak(old, old + done);) {
      }
    });
    best = std::max(best, operations / (now() - start));
  }
  return best * 1e-9;
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Candidate& c : candidates())
    if (c.supported) names.emplace_back(c.table->name);
  return names;
}

void select_isa(const std::string& name) {
  std::ostringstream supported;
  for (const Candidate& c : candidates()) {
    if (!c.supported) continue;
    if (name == c.table->name) {
      g_active = c.table;
      return;
    }
    supported << (supported.tellp() > 0 ? ", " : "") << c.table->name;
  }
  throw std::invalid_argument(
      "LAMINA_ISA: '" + name +
      "' is not an instruction set of this build and processor; choose one of: " + supported.str());
}

const KernelTable& active() { return *g_active.load(std::memory_order_relaxed); }

template <>
const Kernels<float>& kernels<float>() {
  return active().f32;
}
template <>
const Kernels<double>& kernels<double>() {
  return active().f64;
}

double measure_peak(bool float64, double seconds) {
  return float64 ? peak_of(active().f64, seconds) : peak_of(active().f32, seconds);
}

double measure_bandwidth(double seconds) {
  const int threads = max_threads();
  const Index each = (Index{256} << 20) / static_cast<Index>(sizeof(float)) / threads;
  Buffer buffer(sizeof(float) * static_cast<std::size_t>(each * threads));
  float* const data = buffer.as<float>();
  std::vector<float> sinks(static_cast<std::size_t>(threads) * 64);
  parallel_for(threads, kAlways, [&](Index i) { std::fill(data + i * each, data + (i + 1) * each, 1.0f); });
  double best = 0;
  for (const double end = now() + seconds; now() < end;) {
    const double start = now();
    parallel_for(threads, kAlways, [&](Index i) {
      sinks[static_cast<std::size_t>(i) * 64] = active().f32.sum_memory(each, data + i * each);
    });
    best = std::max(best, static_cast<double>(each * threads) * sizeof(float) / (now() - start));
  }
  return best * 1e-9;
}

}  // namespace lamina
