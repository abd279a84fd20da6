#include "tests/faults/campaign/content_checker.h"

#include "tests/faults/campaign/stream_checker.h"
#include "tests/faults/campaign/witness.h"

namespace postrider::campaign {
namespace {

constexpr std::size_t kProblemsKept = 10;

}  // namespace

void ContentChecker::see(const test::StreamMessage& message) {
  const auto header = parse_header(message.header("Postrider-Position").value_or(""));
  if (!header) return;  // the stream's checker names it
  const auto hash = hash_of_message(message);
  if (contents_.size() <= header->ordinal) contents_.resize(header->ordinal + 1);
  auto& known = contents_[header->ordinal];
  if (known != 0 && known != hash && problems_.size() < kProblemsKept)
    problems_.push_back("ordinal " + std::to_string(header->ordinal) +
                        " was read with two contents, at last at sequence " +
                        std::to_string(message.seq));
  known = hash;
}

}  // namespace postrider::campaign
