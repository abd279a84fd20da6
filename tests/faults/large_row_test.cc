// Rows larger than a message of the broker's, while the relay and the applier are killed between
// their parts and the broker forgets half a row: whole, once, and within the memory promised.
#include <signal.h>

#include <fstream>

#include "tests/support/readmodel_world.h"

namespace postrider::test {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kPatience{60'000};
constexpr std::uint64_t kMiB = 1024;  // in KiB, as the kernel counts
constexpr const char* kCapture = "[[capture]]\ntables = [\"public.doc\"]\n";
constexpr const char* kProjection = R"(
[[projection]]
readmodel = "bank"
subjects = "shop.cdc.>"
function = "apply_doc"
)";

class LargeRow : public ReadModelWorld {
 protected:
  void set_up_capture(const std::string& part_bytes = "65536") {
    part_bytes_ = part_bytes;
    app_sql("CREATE TABLE doc (id int PRIMARY KEY, body text)");
    ASSERT_EQ(postrider({"migrate", "up", "--config", config("migrate")}), 0) << output();
    applier_sql(
        "CREATE TABLE doc (id int PRIMARY KEY, body text); CREATE FUNCTION apply_doc(events "
        "postrider.event[]) RETURNS void LANGUAGE sql AS $$ INSERT INTO doc SELECT (payload -> "
        "'new' ->> 'id')::int, payload -> 'new' ->> 'body' FROM unnest(events) WHERE type = "
        "'insert' $$");
  }
  std::string config(const std::string& name) {
    auto settings = unconfirmed();
    settings["migrate.conninfo"] = "\"" + superuser() + "\"";
    settings["relay.part_bytes"] = part_bytes_;
    const auto path = write_config(settings, name);
    std::ofstream(path, std::ios::app) << kCapture;
    return path.string();
  }
  std::unique_ptr<RelayProcess> relay(const std::string& failpoints = {},
                                      const std::vector<std::string>& arguments = {}) {
    return std::make_unique<RelayProcess>(config("relay"), folder_ / "relay.log", failpoints,
                                          arguments);
  }
  void carry() {
    const auto process = relay({}, {"--until-caught-up"});
    ASSERT_EQ(process->wait(kPatience), 0) << process->log();
  }
  std::unique_ptr<RelayProcess> applier(const std::string& failpoints = {},
                                        const std::vector<std::string>& arguments = {}) {
    return std::make_unique<RelayProcess>(write_apply_config({}, kProjection, "large"),
                                          folder_ / "apply.log", failpoints, arguments, "apply");
  }
  // Rows of `bytes` each, of many different characters, in one transaction with small ones.
  void insert(int first, int rows, int bytes) {
    app_sql(
        "INSERT INTO doc SELECT g, CASE g % 2 WHEN 0 THEN 'small' ELSE (SELECT "
        "string_agg(md5((g * i)::text) || E'\"\\\\\\u00e9', '') FROM generate_series(1, " +
        std::to_string(bytes / 36) + ") i) END FROM generate_series(" + std::to_string(first) +
        ", " + std::to_string(first + rows - 1) + ") g");
  }
  // The stream, joined by the documented rule alone, against the table: each row once, and its
  // ordinals, parts and ends of transactions as documented.
  void expect_whole(std::size_t rows) {
    std::string joined;
    std::uint64_t ordinal = 0;
    std::size_t seen = 0;
    std::size_t split = 0;
    for (const auto& message : nats_client().read_stream(kStream)) {
      const auto place = message.header("Postrider-Position").value_or("");
      ASSERT_TRUE(place.starts_with("v1 " + std::to_string(++ordinal) + " ")) << place;
      const auto parts = std::stoul(message.header("Postrider-Parts").value_or("1"));
      const auto position = message.header("Nats-Msg-Id").value_or("");
      const auto dot = position.find('.');
      ASSERT_EQ(dot == std::string::npos, parts == 1) << position;
      const auto part = parts == 1 ? 0 : std::stoul(position.substr(dot + 1), nullptr, 16);
      if (part == 0) {
        ASSERT_EQ(joined, "") << "a row without its end before " << place;
      } else {
        ASSERT_NE(joined, "") << place;
      }
      joined += message.data;
      if (part + 1 < parts) {
        ASSERT_FALSE(place.ends_with(" last")) << place;
        continue;
      }
      split += parts > 1 ? 1 : 0;
      ++seen;
      const auto row = nlohmann::json::parse(joined)["new"];
      joined.clear();
      ASSERT_EQ(sql("SELECT md5(body) = md5($b$" + row["body"].get<std::string>() +
                    "$b$) FROM doc WHERE id = " + row["id"].dump()),
                "t");
    }
    EXPECT_EQ(joined, "");
    EXPECT_EQ(seen, rows);
    EXPECT_GT(split, 0U);
  }
  void expect_applied() {
    const auto process = applier({}, {"--until-caught-up"});
    ASSERT_EQ(process->wait(kPatience), 0) << process->log();
    const std::string all = "SELECT string_agg(id || ' ' || md5(body), ',' ORDER BY id) FROM doc";
    EXPECT_EQ(target_sql(all), sql(all));
  }

  std::string part_bytes_;
};

TEST_F(LargeRow, IsWholeAfterKillsBetweenItsParts) {
  ASSERT_NO_FATAL_FAILURE(set_up_capture());
  ASSERT_NO_FATAL_FAILURE(carry());
  insert(1, 4, 300'000);
  insert(5, 3, 700'000);
  for (const char* point :
       {"publish.between_parts=kill@1", "publish.between_parts=kill@3", "publish.after_send=kill@2",
        "ack.before_handle=kill@2", "ack.after_handle=kill@1"}) {
    const auto killed = relay(point);
    ASSERT_EQ(killed->wait(kPatience), 128 + SIGKILL) << point << killed->log();
  }
  ASSERT_NO_FATAL_FAILURE(carry());
  expect_whole(7);
  for (const char* point : {"apply.after_cursor=kill", "apply.before_commit=kill"}) {
    const auto killed = applier(point);
    ASSERT_EQ(killed->wait(kPatience), 128 + SIGKILL) << point << killed->log();
  }
  expect_applied();
}

TEST_F(LargeRow, ComesBackAfterTheBrokerForgotItsTail) {
  ASSERT_NO_FATAL_FAILURE(set_up_capture());
  ASSERT_NO_FATAL_FAILURE(carry());
  insert(1, 3, 600'000);
  {
    const auto killed = relay("ack.after_handle=kill@4");
    ASSERT_EQ(killed->wait(kPatience), 128 + SIGKILL) << killed->log();
  }
  ASSERT_TRUE(nats_.stop());
  fs::copy(nats_.store(), folder_ / "earlier", fs::copy_options::recursive);
  nats_.start();
  ASSERT_NO_FATAL_FAILURE(carry());
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  fs::remove_all(nats_.store());
  fs::copy(folder_ / "earlier", nats_.store(), fs::copy_options::recursive);
  nats_.start();
  ASSERT_NO_FATAL_FAILURE(carry());
  expect_whole(3);
  expect_applied();
}

TEST_F(LargeRow, NeedsABrokerThatTakesItsParts) {
  ASSERT_NO_FATAL_FAILURE(set_up_capture("1048576"));
  const auto refused = relay();
  EXPECT_EQ(refused->wait(kPatience), 37) << refused->log();
  EXPECT_NE(refused->log().find("relay.part_bytes"), std::string::npos) << refused->log();
}

class MemoryOfLargeRows : public LargeRow {};

// A bytea's text is twice its size: so is the row as the WAL has it.
TEST_F(MemoryOfLargeRows, IsFourTimesTheLargestAnd64MiB) {
  ASSERT_NO_FATAL_FAILURE(set_up_capture("524288"));
  ASSERT_NO_FATAL_FAILURE(carry());
  app_sql("ALTER TABLE doc ADD raw bytea");
  std::uint64_t expected = 0;
  for (const std::uint64_t mib : {1UL, 10UL, 64UL}) {
    const auto process = relay();
    app_sql("INSERT INTO doc (id, raw) SELECT " + std::to_string(mib * 10) +
            " + g, decode(repeat(md5(g::text), " + std::to_string(mib * 65536) +
            "), 'hex') FROM generate_series(1, 4) g");
    // 2 MiB of hexadecimal a MiB, and the JSON around it: four parts and a small one.
    expected += 4 * (4 * mib + 1);
    ASSERT_TRUE(wait_for_seq(expected, kPatience)) << process->log();
    EXPECT_LT(process->peak_resident_kib(), (64 + 4 * 2 * mib) * kMiB) << mib;
    RecordProperty("peak_resident_kib_" + std::to_string(mib),
                   static_cast<int>(process->peak_resident_kib()));
  }
}

}  // namespace
}  // namespace postrider::test
