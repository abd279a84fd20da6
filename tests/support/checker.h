// Compares what is in the stream with what must be there. Its own tests: checker_test.cc.
#pragma once

#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/nats_client.h"
#include "tests/support/oracle.h"

namespace postrider::test {

struct Written {
  std::string subject;  // without the source's name
  std::string payload;
};

struct Verdict {
  std::size_t expected = 0;
  std::size_t in_stream = 0;
  std::size_t lost = 0;
  std::size_t duplicated = 0;
  std::size_t out_of_order = 0;
  std::size_t foreign = 0;    // in the stream, and nobody committed it
  std::size_t malformed = 0;  // header, ordinal, position or `last` wrong
  std::size_t altered = 0;    // subject or payload is not what was written
  std::string first_problem;

  [[nodiscard]] bool good() const {
    return lost + duplicated + out_of_order + foreign + malformed + altered == 0 && expected > 0;
  }
};
std::ostream& operator<<(std::ostream& out, const Verdict& verdict);

// `from` counts the expected events that the stream no longer has to hold (gone by age): the first
// message must then be the one with ordinal from + 1. `written` may be empty: payloads unchecked.
[[nodiscard]] Verdict compare(const std::vector<StreamMessage>& stream,
                              const std::vector<ExpectedEvent>& expected,
                              const std::map<std::string, Written>& written,
                              const std::string& source, std::size_t from = 0);

}  // namespace postrider::test
