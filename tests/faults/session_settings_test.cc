// Settings of the relay's role may not change one byte of what is published.
#include "tests/support/world.h"

namespace postrider::test {
namespace {

class SessionSettings : public World {};

TEST_F(SessionSettings, OfTheRoleLeaveTheBytesAsTheyAre) {
  const std::string statement =
      "SELECT outbox.emit('t', jsonb_build_object('at', '2026-03-01 12:00:00+02'::timestamptz, "
      "'x', "
      "1.10::float8), headers => '{\"X\": \"1\"}'), outbox.emit_bytes('b', '\\x00ff10'), "
      "outbox.emit('w', '{\"a\": 1}', store => 'wal')";
  catch_up();
  app_sql(statement);
  catch_up();
  for (const auto* setting :
       {"DateStyle = 'SQL, DMY'", "TimeZone = 'Asia/Kolkata'", "bytea_output = 'escape'",
        "IntervalStyle = 'sql_standard'", "extra_float_digits = -10", "client_encoding = 'LATIN1'",
        "lc_monetary = 'C'"})
    sql(std::string("ALTER ROLE relay SET ") + setting);
  app_sql(statement);
  catch_up();
  auto client = nats_client();
  const auto stream = client.read_stream(kStream);
  ASSERT_EQ(stream.size(), 6U);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& before = stream[i];
    const auto& after = stream[i + 3];
    EXPECT_EQ(before.subject, after.subject);
    EXPECT_EQ(before.data, after.data);
    ASSERT_EQ(before.headers.size(), after.headers.size());
    for (std::size_t h = 0; h < before.headers.size(); ++h) {
      EXPECT_EQ(before.headers[h].first, after.headers[h].first);
      const auto& name = before.headers[h].first;
      if (name == "Postrider-Position" || name == "Postrider-Id" || name == "Nats-Msg-Id" ||
          name == "Nats-Expected-Last-Sequence")
        continue;  // these say which event it is
      EXPECT_EQ(before.headers[h].second, after.headers[h].second) << name;
    }
  }
  EXPECT_EQ(stream[1].data, std::string("\x00\xff\x10", 3));
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

}  // namespace
}  // namespace postrider::test
