#include "daemon/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postrider {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, AreGaugesAndCountersOfTheStatusLabelledBySource) {
  RelayStatus status;
  status.state = RelayState::kRunning;
  status.events_total = 12;
  status.received = Lsn{5000};
  status.confirmed = Lsn{1000};
  status.published.ordinal = 77;
  status.last_commit_time_us = 1'000'000;
  const auto text = metrics_text("shop", status, 3'500'000);
  EXPECT_THAT(text, HasSubstr("postrider_state{source=\"shop\",state=\"running\"} 1"));
  EXPECT_THAT(text, HasSubstr("postrider_state{source=\"shop\",state=\"standby\"} 0"));
  EXPECT_THAT(text, HasSubstr("postrider_ready{source=\"shop\"} 1"));
  EXPECT_THAT(text, HasSubstr("# TYPE postrider_events_total counter"));
  EXPECT_THAT(text, HasSubstr("postrider_events_total{source=\"shop\"} 12"));
  EXPECT_THAT(text, HasSubstr("postrider_unconfirmed_bytes{source=\"shop\"} 4000"));
  EXPECT_THAT(text, HasSubstr("postrider_ordinal{source=\"shop\"} 77"));
  EXPECT_THAT(text, HasSubstr("postrider_last_event_age_seconds{source=\"shop\"} 2.5"));
}

TEST(Metrics, AreNeverNegativeAndAbsentWhereNothingIsKnown) {
  RelayStatus status;
  status.received = Lsn{1000};
  status.confirmed = Lsn{5000};  // a keepalive may be behind a confirmation
  status.last_commit_time_us = 9'000'000;
  const auto text = metrics_text("shop", status, 1'000'000);  // clocks differ
  EXPECT_THAT(text, HasSubstr("postrider_unconfirmed_bytes{source=\"shop\"} 0"));
  EXPECT_THAT(text, HasSubstr("postrider_last_event_age_seconds{source=\"shop\"} 0"));
  EXPECT_THAT(text, Not(HasSubstr("postrider_wal_retained_bytes")));
  status.wal_retained_bytes = 42;
  EXPECT_THAT(metrics_text("shop", status, 0),
              HasSubstr("postrider_wal_retained_bytes{source=\"shop\"} 42"));
}

TEST(Metrics, ReadyIsNeitherStalledNorBlockedNorWaiting) {
  RelayStatus status;
  for (const auto state : {RelayState::kRunning, RelayState::kStandby, RelayState::kDraining}) {
    status.state = state;
    EXPECT_TRUE(status.ready()) << to_string(state);
  }
  status.blocked = "somebody else's lock";
  EXPECT_FALSE(status.ready());
  status.blocked.clear();
  status.stalled = true;
  EXPECT_FALSE(status.ready());
  status.stalled = false;
  for (const auto state : {RelayState::kStarting, RelayState::kWaiting, RelayState::kHalted}) {
    status.state = state;
    EXPECT_FALSE(status.ready()) << to_string(state);
  }
}

}  // namespace
}  // namespace postrider
