#include "readmodel/jetstream/ack_subject.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(AckSubject, ReadsBothForms) {
  EXPECT_EQ(stream_sequence("$JS.ACK.SHOP.c.1.42.7.1700000000000000000.0"), 42U);
  EXPECT_EQ(stream_sequence("$JS.ACK.dom.hash.SHOP.c.1.42.7.1700000000000000000.0"), 42U);
  EXPECT_EQ(stream_sequence("$JS.ACK._.hash.SHOP.c.1.42.7.1700000000000000000.0.token"), 42U);
}

TEST(AckSubject, RefusesEverythingElse) {
  for (const char* bad : {"", "$JS.ACK.", "_INBOX.x", "$JS.ACK.SHOP.c.1.x.7.1.0",
                          "$JS.ACK.SHOP.c.1.0.7.1.0", "$JS.ACK.SHOP.c.1.42.7.1"})
    EXPECT_FALSE(stream_sequence(bad).has_value()) << bad;
}

}  // namespace
}  // namespace postrider
