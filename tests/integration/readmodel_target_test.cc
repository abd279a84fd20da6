// The compare-and-set on a read model's cursor, without the lock that usually keeps a second
// applier away.
#include <gtest/gtest.h>

#include <sstream>

#include "readmodel/postgres/target.h"
#include "tests/integration/service_database.h"

namespace postrider::testing {
namespace {

Cursor at(std::uint64_t ordinal) {
  return {"A", ordinal, ordinal, {1, Lsn{ordinal * 16}, 0, std::nullopt}, {7, 8}, 1};
}

class TargetCursor : public ::testing::Test {
 protected:
  TargetCursor() {
    std::ostringstream out;
    migrate_target_up(database.options().owner_conninfo, out);
    database.run("owner",
                 "CREATE TABLE public.done (ordinal bigint); GRANT ALL ON done TO applier");
  }
  TargetOptions options() {
    return {database.conninfo("applier"), "orders", "shop", "SHOP", "public"};
  }
  static void apply(Target& target, const Cursor& from, const Cursor& to) {
    Target::Transaction tx(target, from, to);
    tx.sql().exec("INSERT INTO public.done VALUES (" + std::to_string(to.ordinal) + ")");
    tx.commit();
  }
  static ErrorKind refusal(Target& target, const Cursor& from, const Cursor& to) {
    try {
      apply(target, from, to);
    } catch (const Failure& failure) {
      return failure.error().kind;
    }
    return ErrorKind::kInternal;
  }

  ServiceDatabase database;
};

TEST_F(TargetCursor, IsMovedByOneOfTwoAppliersAndTheOtherLeavesNoTrace) {
  Target first(options());
  Target second(options());
  const Cursor start = first.open();
  EXPECT_EQ(second.open(), start);
  apply(first, start, at(3));
  EXPECT_EQ(refusal(second, start, at(2)), ErrorKind::kSessionFenced);
  EXPECT_EQ(refusal(second, start, at(3)), ErrorKind::kSessionFenced);
  EXPECT_EQ(database.run("owner", "SELECT string_agg(ordinal::text, ',') FROM public.done"), "3");
  EXPECT_EQ(second.open(), at(3));
  apply(second, at(3), at(4));
  EXPECT_EQ(refusal(first, at(3), at(5)), ErrorKind::kSessionFenced);
}

TEST_F(TargetCursor, IsNotMovedAfterASwapOfARebuild) {
  Target target(options());
  apply(target, target.open(), at(3));
  database.run("owner", "UPDATE postrider.cursor SET generation = generation + 1");
  EXPECT_EQ(refusal(target, at(3), at(4)), ErrorKind::kSessionFenced);
}

TEST_F(TargetCursor, OfAnotherFingerprintIsAnotherOne) {
  Target target(options());
  apply(target, target.open(), at(3));
  auto other = at(3);
  other.fingerprint.commit_time_us = 9;  // a restored source reuses its LSNs
  EXPECT_EQ(refusal(target, other, at(4)), ErrorKind::kSessionFenced);
}

}  // namespace
}  // namespace postrider::testing
