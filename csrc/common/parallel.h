// The only door to OpenMP. A kernel cuts its work into tasks by the shape alone, so that every sum has one order;
// threads then take tasks in any order, and the bits are the same for 1, 2 or 16 of them.
#pragma once
#include <atomic>
#include <exception>

#include "common/memory.h"
#include "common/types.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace lamina {

// Costs are counted in floating-point operations; a byte of memory traffic costs about as much as four of them.
constexpr double kByte = 4.0;

int max_threads();            // what a kernel may use now
void set_max_threads(int n);  // n >= 1
int cpu_limit();              // CPUs of the affinity mask and the cgroup quota
int processors();             // cpu_limit, as it was when first asked for
bool has_openmp();

// Threads for n tasks of `cost` operations each: small work stays on the calling thread.
int plan_threads(Index n, double cost);
// How many of them a thread takes at a time: short ones in handfuls.
Index plan_grain(Index n, double cost, int threads);

// At the end of a region, before OpenMP's barrier, the first thread waits for the others to finish and soon sleeps: a
// late thread may need its processor.
void await_late_threads(const std::atomic<int>& finished);

// Of the calling thread, in the parallel region that it is in.
Index team_rank();
Index team_size();
// Between two looks at what another thread is to write: its processor may be taken, or this one be wanted by it.
void relax(int looks);

namespace {

// Denormals cost a hundred times a normal number: flushed inside kernels, the caller's mode restored after.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" ::"r"(saved_ | (1ull << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }

 private:
  unsigned long long saved_;
#else
  FlushDenormals() {}
  ~FlushDenormals() {}
#endif
 public:
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

// Takes `grain` tasks at a time until none is left. One body of code for every thread count, never inlined: the compiler contracts a*b +
// c*d to an FMA of its choice, and two inlined copies of a kernel may round differently.
template <class F>
__attribute__((noinline)) void take_tasks(std::atomic<Index>& next, Index n, Index grain, void* scratch, F& f) {
  FlushDenormals flush;
  for (Index i; (i = next.fetch_add(grain, std::memory_order_relaxed)) < n;) {
    const Index end = i + grain < n ? i + grain : n;
    for (; i < end; ++i) f(i, scratch);
  }
}

// What a thread's tasks threw, for the caller: no exception may leave a parallel region.
class Failure {
 public:
  template <class F>
  void catch_from(F&& f) {
    try {
      f();
    } catch (...) {
      if (!failed_.exchange(true)) thrown_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  std::atomic<bool> failed_{false};
  std::exception_ptr thrown_;
};

// f(task, scratch) for each task in 0..n-1; `scratch` is `bytes` of aligned memory of the thread's own. If a task
// throws, its thread takes no more.
template <class F>
void parallel_for_scratch(Index n, double cost, std::size_t bytes, F&& f) {
  if (n <= 0) return;
  const int threads = plan_threads(n, cost);
  const std::size_t stride =
      (bytes + 4095) / 4096 * 4096 + 64;  // a line more than pages: no 4 KiB aliasing between threads
  Buffer scratch(bytes ? stride * static_cast<std::size_t>(threads) : 0);
  char* const base = static_cast<char*>(scratch.data());
  std::atomic<Index> next{0};
  if (threads == 1) {
    take_tasks(next, n, n, base, f);
    return;
  }
  const Index grain = plan_grain(n, cost, threads);
  std::atomic<int> member{0}, finished{0};
  Failure failure;
#pragma omp parallel num_threads(threads)
  {
    const auto mine = static_cast<std::size_t>(member.fetch_add(1, std::memory_order_relaxed));
    failure.catch_from([&] { take_tasks(next, n, grain, bytes ? base + stride * mine : base, f); });
    finished.fetch_add(1, std::memory_order_relaxed);
    await_late_threads(finished);
  }
  failure.rethrow();
}

template <class F>
void parallel_for(Index n, double cost, F&& f) {
  parallel_for_scratch(n, cost, 0, [&](Index i, void*) { f(i); });
}

// f(begin, end) over 0..n-1 in blocks of `block` elements (a constant of the kernel, so sums per block have one order).
template <class F>
void parallel_blocks(Index n, Index block, double cost_per_element, F&& f) {
  parallel_for((n + block - 1) / block, cost_per_element * static_cast<double>(block), [&](Index i) {
    const Index begin = i * block;
    f(begin, begin + block < n ? begin + block : n);
  });
}

// A member of a team: threads that go through the same steps side by side.
class Member {
 public:
  Member(std::atomic<Index>& arrived, Index rank, Index size) : rank(rank), size(size), arrived_(arrived) {}
  const Index rank, size;
  // Until all members have come here: what they wrote before it can be read after it.
  void wait() {
    if (size == 1) return;
    arrived_.fetch_add(1, std::memory_order_acq_rel);
    goal_ += size;
    for (int spins = 0; arrived_.load(std::memory_order_acquire) < goal_; ++spins) relax(spins);
  }

 private:
  std::atomic<Index>& arrived_;
  Index goal_ = 0;
};

template <class F>
__attribute__((noinline)) void be_member(std::atomic<Index>& arrived, Index rank, Index size, void* scratch, F& f) {
  FlushDenormals flush;
  Member member(arrived, rank, size);
  f(member, scratch);
}

// f(member, scratch) for each member of a team of up to `threads`, who have the same `bytes` of scratch.
template <class F>
void parallel_team(Index threads, std::size_t bytes, F&& f) {
  Buffer scratch(bytes);
  std::atomic<Index> arrived{0};
  if (threads <= 1) return be_member(arrived, 0, 1, scratch.data(), f);
#pragma omp parallel num_threads(static_cast<int>(threads))
  be_member(arrived, team_rank(), team_size(), scratch.data(), f);
}

}  // namespace
}  // namespace lamina
