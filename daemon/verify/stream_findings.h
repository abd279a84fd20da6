// What is wrong with a stream, counted by kind, and the first of them in words. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace postrider {

enum class StreamFault : std::uint8_t {
  kLost,       // a committed row whose event is not in the stream
  kDuplicate,  // an event that is there more often than it was written
  kAltered,    // subject or payload are not the row's
  kOrder,      // events of a transaction are not in the order of its statements
  kTorn,       // a transaction's events do not stand together, or not up to its last
  kGap,        // ordinals are missing
  kChain,      // ordinal, position or epoch do not rise
  kForeign,    // a message that no relay has written
};
inline constexpr std::size_t kStreamFaults = 8;
[[nodiscard]] const char* to_string(StreamFault fault);

struct StreamFinding {
  StreamFault fault = StreamFault::kLost;
  std::string what;
};

class StreamFindings {
 public:
  // Lists at most `limit`; counts all.
  explicit StreamFindings(std::size_t limit) : limit_(limit) {}

  void add(StreamFault fault, std::string what) {
    ++counts_.at(static_cast<std::size_t>(fault));
    if (listed_.size() < limit_) listed_.push_back({fault, std::move(what)});
  }
  [[nodiscard]] std::uint64_t count(StreamFault fault) const {
    return counts_.at(static_cast<std::size_t>(fault));
  }
  [[nodiscard]] std::uint64_t total() const {
    std::uint64_t sum = 0;
    for (const auto count : counts_) sum += count;
    return sum;
  }
  [[nodiscard]] const std::vector<StreamFinding>& listed() const { return listed_; }

 private:
  std::size_t limit_;
  std::array<std::uint64_t, kStreamFaults> counts_{};
  std::vector<StreamFinding> listed_;
};

}  // namespace postrider
