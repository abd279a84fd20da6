// What the projection "tally" must have made of the stream. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/support/nats_client.h"

namespace postrider::campaign {

struct Tally {
  long events = 0;
  long chain = 0;
  long cents = 0;
  friend bool operator==(const Tally&, const Tally&) = default;
};

class TallyChecker {
 public:
  void see(const test::StreamMessage& message);
  [[nodiscard]] const std::map<std::string, Tally>& expected() const { return expected_; }

 private:
  std::map<std::string, Tally> expected_;
};

// Keys whose events were applied twice, not at all, or in another order: the first few.
[[nodiscard]] std::vector<std::string> differences(const std::map<std::string, Tally>& expected,
                                                   const std::map<std::string, Tally>& found);

}  // namespace postrider::campaign
