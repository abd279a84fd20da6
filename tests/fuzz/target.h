// What every fuzz target is made of: one function, and a check that ends the process when a
// property does not hold. The same source is linked to libFuzzer (preset fuzz) and, in any other
// build, to replay.cc, which feeds it files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

// Defined by each target; called with one input after another.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// A property that must hold for every input.
#define REQUIRE(condition)                                                                \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)

namespace postrider::fuzz {

// The bytes that this thread has asked operator new for, ever.
[[nodiscard]] std::size_t allocated_bytes();

// Requires, where it ends, that memory asked for since its beginning is bounded by the input's
// length: at most `each` bytes for each of its bytes, and `fixed` besides.
class MemoryBound {
 public:
  MemoryBound(std::size_t input_bytes, std::size_t each, std::size_t fixed)
      : most_(allocated_bytes() + input_bytes * each + fixed) {}
  ~MemoryBound() { REQUIRE(allocated_bytes() <= most_); }
  MemoryBound(const MemoryBound&) = delete;
  MemoryBound& operator=(const MemoryBound&) = delete;

 private:
  std::size_t most_;
};

// True when `part` is within `whole`, or empty.
[[nodiscard]] inline bool within(std::string_view part, std::string_view whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace postrider::fuzz
