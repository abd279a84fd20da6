// Fast-ingest batches, answered by anybody: no answer acknowledges what was not sent, twice, or of
// a batch that is over.
#include "relay/wire/fast_batch.h"

#include <string>

#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

using Outcome = wire::PubAck::Outcome;

class Publisher {
 public:
  explicit Publisher(Input input) : input_(input) {}

  void run() {
    while (!input_.empty() && !over_) step();
  }

 private:
  void step() {
    switch (input_.below(5)) {
      case 0:
        if (!batch_.ending()) send();
        return;
      case 1:  // says so itself, so nothing is answered in between
        if (batch_.ending()) return;
        send();
        batch_.end();
        return;
      case 2:
        if (batch_.open()) {
          reply_ = batch_.end_of_batch();
          REQUIRE(!batch_.open());
        }
        return;
      case 3:
        answer(reply_, honest());
        return;
      default: {
        const std::string subject(input_.flag() ? std::string_view(reply_) : input_.text());
        answer(subject, std::string(input_.text()));
      }
    }
  }

  void send() {
    const bool opens = !batch_.open();
    reply_ = batch_.next(sent_);
    ++sent_;
    REQUIRE(reply_.starts_with(kInbox) && reply_.ends_with(".$FI"));
    REQUIRE(reply_[reply_.size() - wire::FastBatch::kOperationFromEnd] == (opens ? '0' : '1'));
    REQUIRE(batch_.open() && batch_.is_own(reply_) && batch_.last_seq() == sent_);
  }

  // What a server might say of the newest message, or of one that is not there.
  std::string honest() {
    const auto number = std::to_string(input_.u8());
    if (input_.flag()) return "{\"type\":\"ack\",\"seq\":" + number + ",\"msgs\":2}";
    return "{\"stream\":\"S\",\"seq\":" + std::to_string(sent_) + ",\"count\":" + number + "}";
  }

  void answer(const std::string& subject, const std::string& json) {
    const bool own = batch_.is_own(subject);
    const bool ending = batch_.ending();
    const auto ack = batch_.accept(subject, json);
    REQUIRE(own || !ack);
    if (!ack) return;
    if (ack->outcome != Outcome::kStoredThrough) {
      REQUIRE(ack->outcome != Outcome::kStored);
      over_ = true;  // the session ends
      return;
    }
    REQUIRE(ack->seq > acknowledged_ && ack->seq <= sent_);
    acknowledged_ = ack->seq;
    if (ending && acknowledged_ == sent_) REQUIRE(!batch_.ending() && !batch_.open());
  }

  static constexpr std::string_view kInbox = "_INBOX.abc.";
  Input input_;
  wire::FastBatch batch_{"_INBOX.abc", 2};
  std::string reply_;  // the newest reply subject
  std::uint64_t sent_ = 0;
  std::uint64_t acknowledged_ = 0;
  bool over_ = false;
};

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider::fuzz;
  Publisher(Input({data, size})).run();
  return 0;
}
