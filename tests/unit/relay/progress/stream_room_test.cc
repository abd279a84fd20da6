#include "relay/progress/stream_room.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(StreamRoom, WithoutABoundEverythingFits) {
  StreamRoom room(-1, 1ULL << 50U);
  EXPECT_TRUE(room.take(1ULL << 40U));
}

TEST(StreamRoom, RefusesBeforeTheBrokerWouldHaveToMakeRoom) {
  StreamRoom room(10'000, 8'000);
  EXPECT_TRUE(room.take(1'000));
  EXPECT_FALSE(room.take(100)) << "what the broker adds would not fit";
}

TEST(StreamRoom, WhatDoesNotFitIsNotCounted) {
  StreamRoom room(10'000, 8'000);
  EXPECT_FALSE(room.take(5'000));
  EXPECT_FALSE(room.fits(5'000));
  EXPECT_TRUE(room.take(1'000));
}

}  // namespace
}  // namespace postrider
