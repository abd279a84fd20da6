// C8: an ordinal has one content, whoever reads it and however often the broker lost it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/nats_client.h"

namespace postrider::campaign {

class ContentChecker {
 public:
  // Any message, in any order; the same one as often as it is read.
  void see(const test::StreamMessage& message);
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }  // the first

 private:
  std::vector<std::uint64_t> contents_;  // hashes by ordinal; 0: not seen yet
  std::vector<std::string> problems_;
};

}  // namespace postrider::campaign
