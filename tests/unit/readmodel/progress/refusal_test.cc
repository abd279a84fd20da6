#include "readmodel/progress/refusal.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(Refusal, PassingTroubleIsTriedAgain) {
  for (const char* state :
       {"", "40001", "40P01", "55P03", "53300", "57014", "57P01", "08006", "25006"})
    EXPECT_TRUE(is_transient(state)) << state;
}

TEST(Refusal, WhatTheEventItselfCausesIsNot) {
  for (const char* state : {"23505", "23503", "22P02", "22012", "42883", "42P01", "P0001", "40002"})
    EXPECT_FALSE(is_transient(state)) << state;
}

TEST(Refusal, BlamesNoEventForWhatTheProjectionLacksOrHides) {
  for (const char* state : {"42883", "42P01", "42501", "3F000", "25P02"})
    EXPECT_FALSE(blames_event(state)) << state;
  for (const char* state : {"", "23505", "P0001"}) EXPECT_TRUE(blames_event(state)) << state;
}

}  // namespace
}  // namespace postrider
