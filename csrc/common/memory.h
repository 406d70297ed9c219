// Aligned memory from a cache of freed blocks: a training loop touches no fresh page after its first step.
#pragma once
#include <cstddef>
#include <vector>

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

// What a call made of its weights, for the next call with the same weights: a block for each WeightBuffer, in the order
// in which it asks for them. Empty at first.
class Kept {
 public:
  Kept() = default;
  ~Kept();
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

 private:
  friend class KeepScope;
  friend class WeightBuffer;
  struct Block {
    void* data;
    const void* maker;
  };
  std::vector<Block> blocks_;
  std::size_t next_ = 0;
};

// Calls of this thread keep there what they make of their weights, as long as the scope lasts.
class KeepScope {
 public:
  explicit KeepScope(Kept* kept);
  ~KeepScope();
  KeepScope(const KeepScope&) = delete;
  KeepScope& operator=(const KeepScope&) = delete;
};

// A Buffer for what is made of weights; in a KeepScope, one that may be filled already, by the same maker.
class WeightBuffer {
 public:
  WeightBuffer(std::size_t bytes, const void* maker);
  ~WeightBuffer();
  WeightBuffer(const WeightBuffer&) = delete;
  WeightBuffer& operator=(const WeightBuffer&) = delete;
  bool is_filled() const { return filled_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  bool filled_ = false, kept_ = false;
};

}  // namespace lamina
