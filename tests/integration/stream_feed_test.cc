// The feed of an applier that takes nothing: its read model is stopped, or waits for its stream.
#include "readmodel/jetstream/stream_feed.h"

#include "base/coverage_notice.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{30'000};

class Feed : public World {
 protected:
  [[nodiscard]] NatsOptions options() const {
    NatsOptions options;
    options.url = nats_.url();
    return options;
  }
};

TEST_F(Feed, KeepsFewOfTheNoticesThatNobodyTakes) {
  constexpr int kNotices = 5'000;
  const std::string subject = coverage_subject(kSource);
  StreamFeed feed(options(), "feed", kPatience, subject);
  auto client = nats_client();
  for (int i = 1; i <= kNotices; ++i) client.announce(subject, "", "notice " + std::to_string(i));
  std::vector<ReceivedEvent> events;
  std::vector<std::string> notices;
  std::size_t most = 0;
  const bool came = dev::wait_until(
      [&] {
        feed.take(events, notices);
        most = std::max(most, notices.size());
        return !notices.empty() && notices.back() == "notice " + std::to_string(kNotices);
      },
      kPatience);
  EXPECT_TRUE(came) << "the newest is never left out";
  EXPECT_LE(most, 100U) << "they pile up while nobody takes them";
}

}  // namespace
}  // namespace postrider::test
