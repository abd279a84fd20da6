#include "daemon/readmodel_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postrider {
namespace {

using testing::HasSubstr;

TEST(ReadModelMetrics, SayThatItStallsAndIsNotReady) {
  ReadModelStatus status;
  status.name = "orders";
  status.goes_on();
  status.cursor.seq = 40;
  status.stream_last_seq = 42;
  auto text = readmodel_metrics_text({status}, 0);
  EXPECT_THAT(text, HasSubstr("postrider_readmodel_ready{readmodel=\"orders\"} 1"));
  EXPECT_THAT(text, HasSubstr("postrider_readmodel_stalled{readmodel=\"orders\"} 0"));
  EXPECT_THAT(text, HasSubstr("postrider_readmodel_lag_events{readmodel=\"orders\"} 2"));
  status.stalled = true;
  text = readmodel_metrics_text({status}, 0);
  EXPECT_THAT(text, HasSubstr("postrider_readmodel_ready{readmodel=\"orders\"} 0"));
  EXPECT_THAT(text, HasSubstr("postrider_readmodel_stalled{readmodel=\"orders\"} 1"));
}

}  // namespace
}  // namespace postrider
