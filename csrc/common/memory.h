// Aligned memory from a cache of freed blocks: a training loop touches no fresh page after its first step.
#pragma once
#include <cstddef>

namespace lamina {

constexpr std::size_t kAlignment = 64;

void* cache_allocate(std::size_t bytes);  // throws std::bad_alloc; never returns null for bytes > 0
void cache_free(void* block) noexcept;
void cache_release() noexcept;  // gives every unused block back to the system

struct MemoryStats {
  std::size_t in_use, cached;       // bytes
  std::size_t allocations, reused;  // blocks handed out; those of them that came from the cache
};
MemoryStats memory_stats();

// A block for the length of a scope.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes);  // 0 bytes: no block
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
};

}  // namespace lamina
