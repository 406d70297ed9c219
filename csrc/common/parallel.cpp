#include "common/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace lamina {
namespace {

std::atomic<bool> g_forked{false};
std::atomic<int> g_limit{0};  // 0: not asked yet

int affinity_cpus() {
#if defined(_OPENMP)
  return omp_get_num_procs();  // also right where OMP_PROC_BIND has bound this thread to one of them
#elif defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? static_cast<int>(n) : 1;
}

// The path of this process in the hierarchy of `controller` ("" = the unified one), from /proc/self/cgroup.
std::string cgroup_path(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::istringstream names(line.substr(first + 1, second - first - 1));
    bool match = controller.empty() && second == first + 1;
    for (std::string name; std::getline(names, name, ',');)
      match = match || (!controller.empty() && name == controller);
    if (match) return line.substr(second + 1);
  }
  return "";
}

double quota_v2(const std::string& dir) {
  std::ifstream file(dir + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::atof(quota.c_str()) / period;
}

double quota_v1(const std::string& dir) {
  std::ifstream quota_file(dir + "/cpu.cfs_quota_us"), period_file(dir + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return 0;
  return quota / period;
}

// The least quota, in CPUs, on the way from this process's group to the root; 0 without one.
template <class Quota>
double least_quota(const std::string& mount, std::string path, Quota quota) {
  double least = 0;
  for (;;) {
    const double here = quota(mount + (path == "/" ? "" : path));
    if (here > 0 && (least == 0 || here < least)) least = here;
    if (path.empty() || path == "/") return least;
    const auto cut = path.rfind('/');
    path = cut == 0 || cut == std::string::npos ? "/" : path.substr(0, cut);
  }
}

int cgroup_cpus() {
  const double v2 = least_quota("/sys/fs/cgroup", cgroup_path(""), quota_v2);
  const double v1 = least_quota("/sys/fs/cgroup/cpu", cgroup_path("cpu"), quota_v1);
  const double quota = v2 > 0 && v1 > 0 ? (v2 < v1 ? v2 : v1) : (v2 > 0 ? v2 : v1);
  return quota > 0 ? static_cast<int>(std::fmax(1.0, std::floor(quota))) : 1 << 20;
}

// libgomp's threads do not survive fork: a child that enters a parallel region would wait for them for ever.
void mark_forked() { g_forked.store(true); }
const int g_fork_hook = pthread_atfork(nullptr, nullptr, mark_forked);

}  // namespace

int cpu_limit() {
  const int affinity = affinity_cpus(), quota = cgroup_cpus();
  return affinity < quota ? affinity : quota;
}

int processors() {
  static const int found = cpu_limit();
  return found;
}

int max_threads() {
#ifdef _OPENMP
  if (g_forked.load(std::memory_order_relaxed) || omp_in_parallel()) return 1;
  int limit = g_limit.load(std::memory_order_relaxed);
  if (limit == 0) g_limit.store(limit = cpu_limit());
  const int openmp = omp_get_max_threads();  // OMP_NUM_THREADS, threadpoolctl
  return openmp < limit ? openmp : limit;
#else
  return 1;
#endif
}

void set_max_threads(int n) {
  g_limit.store(n);
#ifdef _OPENMP
  omp_set_num_threads(n);
#endif
}

bool has_openmp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

void await_late_threads(const std::atomic<int>& finished) {
#ifdef _OPENMP
  if (omp_get_thread_num() != 0) return;
  const auto start = std::chrono::steady_clock::now();
  const int all = omp_get_num_threads();  // perhaps fewer than were asked for
  while (finished.load(std::memory_order_relaxed) < all)
    if (std::chrono::steady_clock::now() - start > std::chrono::microseconds(20))
      std::this_thread::sleep_for(std::chrono::microseconds(1));  // the system makes it about 50
#else
  (void)finished;
#endif
}

Index team_rank() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}
Index team_size() {
#ifdef _OPENMP
  return omp_get_num_threads();
#else
  return 1;
#endif
}

void relax(int looks) {
  constexpr int kSpins = 100;  // some 2 us
  if (looks >= kSpins) return std::this_thread::yield();
#if defined(__SSE2__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int plan_threads(Index n, double cost) {
  // A thread gets 8 us of work or more: a parallel region costs 0.5 to 2 us, and milliseconds where one of its
  // processors is taken.
  constexpr double kLeast = 1e6;
  const double total = static_cast<double>(n) * cost;
  if (n <= 1 || total < 2 * kLeast) return 1;
  const int most = max_threads();
  const double by_work = total / kLeast;
  const Index by_tasks = n < most ? n : most;
  return by_work < static_cast<double>(by_tasks) ? static_cast<int>(by_work) : static_cast<int>(by_tasks);
}

Index plan_grain(Index n, double cost, int threads) {
  constexpr double kLeast = 300e3;  // 2 us: taking tasks costs 0.1, and neighbours write to the same cache lines
  const Index fair = n / (4 * threads), wanted = static_cast<Index>(kLeast / std::fmax(cost, 1.0));
  const Index grain = wanted < fair ? wanted : fair;
  return grain > 1 ? grain : 1;
}

}  // namespace lamina
