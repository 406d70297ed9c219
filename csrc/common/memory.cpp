#include "common/memory.h"

#include <sys/mman.h>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace lamina {
namespace {

constexpr std::size_t kHuge = std::size_t{2} << 20;  // from here on, blocks come from mmap with huge pages asked for
constexpr std::size_t kMostCached = std::size_t{2} << 30;

// Size classes: powers of two in four steps, so that at most a fifth of a block is unused.
std::size_t round_up(std::size_t bytes) {
  if (bytes <= 256) return 256;
  const std::size_t step = std::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

struct Cache {
  std::mutex mutex;
  std::unordered_map<std::size_t, std::vector<void*>> unused;  // by size
  std::unordered_map<void*, std::size_t> sizes;                // of every block that is out or cached
  MemoryStats stats{};
};

// Never destroyed: arrays may outlive the module's static objects at interpreter exit.
Cache& cache() {
  static Cache* instance = new Cache;
  return *instance;
}

void* system_allocate(std::size_t bytes) {
  if (bytes < kHuge) return std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  const std::size_t length = (bytes + kHuge - 1) / kHuge * kHuge;
  void* block = nullptr;
  if (posix_memalign(&block, kHuge, length) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  madvise(block, length, MADV_HUGEPAGE);
#endif
  return block;
}

class OutOfMemory final : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::size_t bytes) noexcept {
    std::snprintf(text_, sizeof text_, "lamina: the system has no block of %zu bytes", bytes);
  }
  const char* what() const noexcept override { return text_; }

 private:
  char text_[80];
};

}  // namespace

void* cache_allocate(std::size_t bytes) {
  // An AddressSanitizer build gives every buffer its exact size, or it could not see an overrun.
#ifdef __SANITIZE_ADDRESS__
  const std::size_t size = bytes;
#else
  if (bytes > SIZE_MAX / 2) throw OutOfMemory(bytes);
  const std::size_t size = round_up(bytes);
#endif
  Cache& c = cache();
  std::lock_guard<std::mutex> lock(c.mutex);
  ++c.stats.allocations;
  void* block = nullptr;
  auto it = c.unused.find(size);
  if (it != c.unused.end() && !it->second.empty()) {
    block = it->second.back();
    it->second.pop_back();
    c.stats.cached -= size;
    ++c.stats.reused;
  } else {
#ifdef __SANITIZE_ADDRESS__
    if (posix_memalign(&block, kAlignment, size) != 0) block = nullptr;
#else
    block = system_allocate(size);
#endif
    if (!block) throw OutOfMemory(size);
    c.sizes[block] = size;
  }
  c.stats.in_use += size;
  return block;
}

void cache_free(void* block) noexcept {
  Cache& c = cache();
  std::lock_guard<std::mutex> lock(c.mutex);
  const auto it = c.sizes.find(block);
  const std::size_t size = it->second;
  c.stats.in_use -= size;
#ifndef __SANITIZE_ADDRESS__
  if (c.stats.cached + size <= kMostCached) {
    try {
      c.unused[size].push_back(block);
      c.stats.cached += size;
      return;
    } catch (...) {  // no memory for the list: give the block back instead
    }
  }
#endif
  c.sizes.erase(it);
  std::free(block);
}

void cache_release() noexcept {
  Cache& c = cache();
  std::lock_guard<std::mutex> lock(c.mutex);
  for (auto& [size, blocks] : c.unused) {
    for (void* block : blocks) {
      c.sizes.erase(block);
      std::free(block);
      c.stats.cached -= size;
    }
    blocks.clear();
  }
}

Buffer::Buffer(std::size_t bytes) : data_(bytes ? cache_allocate(bytes) : nullptr) {}
Buffer::~Buffer() {
  if (data_) cache_free(data_);
}

namespace {
thread_local Kept* keeper = nullptr;
}

Kept::~Kept() {
  for (const Block& block : blocks_)
    if (block.data) cache_free(block.data);
}
KeepScope::KeepScope(Kept* kept) {
  keeper = kept;
  kept->next_ = 0;
}
KeepScope::~KeepScope() { keeper = nullptr; }

WeightBuffer::WeightBuffer(std::size_t bytes, const void* maker) : kept_(keeper != nullptr) {
  if (!kept_) {
    data_ = bytes ? cache_allocate(bytes) : nullptr;
    return;
  }
  if (keeper->next_ == keeper->blocks_.size()) keeper->blocks_.push_back({nullptr, nullptr});
  Kept::Block& block = keeper->blocks_[keeper->next_++];
  filled_ = block.maker == maker;
  if (!filled_) {
    if (block.data) cache_free(block.data);
    block = {nullptr, nullptr};
    if (bytes) block.data = cache_allocate(bytes);
    block.maker = maker;
  }
  data_ = block.data;
}
WeightBuffer::~WeightBuffer() {
  if (!kept_ && data_) cache_free(data_);
}

MemoryStats memory_stats() {
  Cache& c = cache();
  std::lock_guard<std::mutex> lock(c.mutex);
  return c.stats;
}

}  // namespace lamina
