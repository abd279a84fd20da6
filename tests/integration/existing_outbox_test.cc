// Outbox tables of other tools, as their services write them.
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr dev::milliseconds kPatience{60'000};

// Debezium's documentation, "Outbox Event Router", basic outbox table.
std::string debezium_table(const std::string& name, const std::string& payload) {
  return "CREATE TABLE " + name +
         " (id uuid NOT NULL PRIMARY KEY, aggregatetype varchar(255) NOT NULL, aggregateid "
         "varchar(255) NOT NULL, type varchar(255) NOT NULL, payload " +
         payload + ")";
}

class ExistingOutbox : public World {
 protected:
  std::string config(const std::string& name) {
    auto settings = quick();
    settings["migrate.conninfo"] = "\"" + superuser() + "\"";  // the tables are the service's
    if (!format_.empty()) settings["relay.format"] = "\"" + format_ + "\"";
    const auto path = write_config(settings, name);
    std::ofstream(path, std::ios::app) << rules_;
    return path.string();
  }
  void migrate(const std::string& rules) {
    rules_ = rules;
    ASSERT_EQ(postrider({"migrate", "up", "--config", config("migrate")}), 0) << output();
  }
  std::unique_ptr<RelayProcess> relay(const std::vector<std::string>& arguments = {},
                                      const std::string& failpoints = {}) {
    return std::make_unique<RelayProcess>(config("relay"), folder_ / "relay.log", failpoints,
                                          arguments);
  }
  std::vector<StreamMessage> carried() {
    const auto process = relay({"--until-caught-up"});
    EXPECT_EQ(process->wait(kPatience), 0) << process->log();
    return nats_client().read_stream(kStream);
  }

  std::string rules_;
  std::string format_;
};

TEST_F(ExistingOutbox, OfDebeziumIsCarriedAsItsEventRouterWould) {
  app_sql(debezium_table("outbox", "jsonb") + ";" + debezium_table("bytes", "bytea"));
  migrate("[[outbox]]\ntable = \"public.outbox\"\n[[outbox]]\ntable = \"public.bytes\"\n");
  // As Debezium advises: the row is deleted in the transaction that wrote it.
  app_sql(
      "BEGIN; INSERT INTO outbox VALUES ('00000000-0000-0000-0000-00000000000a', 'Order', '1', "
      "'OrderCreated', '{\"id\": 1, \"n\": 1.50}'); DELETE FROM outbox; COMMIT");
  app_sql(
      "BEGIN; INSERT INTO outbox VALUES (gen_random_uuid(), 'Order', '2', 'x', '{}'); ROLLBACK");
  // Order across tables, and with events and savepoints of the same transaction.
  app_sql(
      "BEGIN; INSERT INTO bytes VALUES (gen_random_uuid(), 'Blob', '2', 'b', '\\x00ff'); "
      "SELECT outbox.emit('own', '1'); SAVEPOINT s; "
      "INSERT INTO outbox VALUES (gen_random_uuid(), 'Order', '9', 'gone', '{}'); ROLLBACK TO s; "
      "INSERT INTO outbox VALUES (gen_random_uuid(), 'Order', '3', 'c', '[3]'); COMMIT");
  app_sql(
      "UPDATE outbox SET payload = '[4]'; DELETE FROM outbox; DELETE FROM bytes; TRUNCATE outbox");
  const auto messages = carried();
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[0].subject, "shop.outbox.event.Order");
  EXPECT_EQ(messages[0].header("Postrider-Id"), "00000000-0000-0000-0000-00000000000a");
  EXPECT_EQ(messages[0].header("Postrider-Key"), "1");
  EXPECT_EQ(messages[0].header("Postrider-Type"), "OrderCreated");
  EXPECT_EQ(messages[0].header("Content-Type"), "application/json");
  EXPECT_EQ(messages[0].data, "{\"n\": 1.50, \"id\": 1}") << "as PostgreSQL writes jsonb";
  EXPECT_EQ(messages[1].subject, "shop.outbox.event.Blob");
  EXPECT_EQ(messages[1].data, std::string("\x00\xff", 2));
  EXPECT_EQ(messages[2].subject, "shop.own");
  EXPECT_EQ(messages[3].data, "[3]");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto place = *messages[i].header("Postrider-Position");
    EXPECT_EQ(place.ends_with(" last"), i == 0 || i == 3) << place;
  }
  EXPECT_EQ(postrider({"verify", "stream", "--config", config("verify")}), 0) << output();
}

TEST_F(ExistingOutbox, HostileValuesArriveWhole) {
  app_sql(
      "CREATE TABLE \"Out Box\" (\"no\" bigint PRIMARY KEY, topic text NOT NULL, \"k y\" text, "
      "body "
      "text, meta text, trace text)");
  migrate(
      "[[outbox]]\ntable = 'public.Out Box'\nsubject = \"{table}.{column:topic}\"\nid = \"no\"\n"
      "key = \"k y\"\ntype = \"meta\"\npayload = \"body\"\n"
      "header_columns = { traceparent = \"trace\" }\n");
  app_sql(
      R"(INSERT INTO "Out Box" VALUES (1, E'a.b>*\r\nPUB x 1\r\n', E'k\r\nX: y', E'line\r\n\x01é', E'\t', E'00-1\n'),
      (2, '', NULL, NULL, '', NULL), (3, repeat('long ', 400), repeat('k', 4000), repeat('p', 900000), 't', 'x'))");
  const auto messages = carried();
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(messages[0].subject, "shop.Out%20Box.a%2Eb%3E%2A%0D%0APUB%20x%201%0D%0A");
  EXPECT_EQ(messages[0].header("Postrider-Id"), "1");
  EXPECT_EQ(messages[0].header("Postrider-Key"), "k%0D%0AX: y");
  EXPECT_EQ(messages[0].header("X"), std::nullopt);
  EXPECT_EQ(messages[0].header("Postrider-Type"), "%09");
  EXPECT_EQ(messages[0].header("traceparent"), "00-1%0A");
  EXPECT_EQ(messages[0].data, "line\r\n\x01\xc3\xa9");
  EXPECT_EQ(messages[1].subject, "shop.Out%20Box.%00");
  EXPECT_EQ(messages[1].data, "");
  EXPECT_EQ(messages[1].header("Postrider-Type"), std::nullopt);
  EXPECT_EQ(messages[2].data.size(), 900000U);
  EXPECT_EQ(postrider({"verify", "stream", "--config", config("verify")}), 0) << output();
}

TEST_F(ExistingOutbox, EventsAreCloudEventsLikeOthers) {
  format_ = "cloudevents";
  app_sql(debezium_table("outbox", "jsonb"));
  migrate("[[outbox]]\ntable = \"public.outbox\"\n");
  app_sql(
      "INSERT INTO outbox VALUES ('00000000-0000-0000-0000-00000000000a', 'Order', '1', "
      "'OrderCreated', '{\"id\": 1}')");
  const auto messages = carried();
  ASSERT_EQ(messages.size(), 1U);
  const auto json = nlohmann::json::parse(messages[0].data);
  EXPECT_EQ(json["id"], "00000000-0000-0000-0000-00000000000a");
  EXPECT_EQ(json["type"], "OrderCreated");
  EXPECT_EQ(json["subject"], "1");
  EXPECT_EQ(json["data"]["id"], 1);
}

TEST_F(ExistingOutbox, IsCarriedExactlyOnceThroughCrashesWhileItsRowsAreDeleted) {
  app_sql("CREATE TABLE kept (id uuid PRIMARY KEY); " + debezium_table("outbox", "jsonb"));
  migrate("[[outbox]]\ntable = \"public.outbox\"\n[[capture]]\ntables = [\"public.kept\"]\n");
  app_sql(R"(DO $$ DECLARE u uuid; BEGIN
  FOR i IN 1..300 LOOP
    u := gen_random_uuid();
    INSERT INTO kept VALUES (u);
    INSERT INTO outbox VALUES (u, 'Order', i::text, 't', to_jsonb(i));
    IF i % 2 = 0 THEN DELETE FROM outbox; END IF;
    IF i % 3 = 0 THEN COMMIT; END IF;
    IF i % 50 = 0 THEN ROLLBACK; END IF;
  END LOOP; END $$)");
  for (const char* point : {"publish.mid_transaction=kill@40", "ack.after_handle=kill@70"}) {
    const auto process = relay({"--until-caught-up"}, point);
    ASSERT_EQ(process->wait(kPatience), 128 + 9) << process->log();
  }
  std::vector<std::string> events;
  std::vector<std::string> rows;
  for (const auto& message : carried()) {
    if (message.subject == "shop.outbox.event.Order")
      events.push_back(*message.header("Postrider-Id"));
    else
      rows.push_back(*message.header("Postrider-Key"));
  }
  EXPECT_EQ(events, rows) << "each beside the row that was written with it";
  EXPECT_EQ(std::to_string(rows.size()), sql("SELECT count(*) FROM kept"));
  EXPECT_GT(rows.size(), 250U);
}

TEST_F(ExistingOutbox, ARowThatIsNoEventHaltsTheRelay) {
  app_sql("CREATE TABLE o (id int PRIMARY KEY, topic text, payload text)");
  migrate(
      "[[outbox]]\ntable = \"public.o\"\nsubject = \"{column:topic}\"\nkey = \"\"\ntype = \"\"\n");
  app_sql("INSERT INTO o VALUES (1, 'a', 'x')");
  const auto process = relay();
  ASSERT_TRUE(wait_for_seq(1, kPatience)) << process->log();
  app_sql("INSERT INTO o VALUES (7, NULL, 'x'); INSERT INTO o VALUES (8, 'a', 'x')");
  EXPECT_EQ(process->wait(kPatience), 33) << process->log();
  for (const char* words : {"public.o, id 7", "{column:topic}", "NOT NULL"})
    EXPECT_NE(process->log().find(words), std::string::npos) << process->log();
  EXPECT_EQ(last_seq(), 1U) << "nothing may be published behind it";
}

TEST_F(ExistingOutbox, MigrateAndCheckSayWhatCannotBeOne) {
  app_sql(
      "CREATE TABLE keyless (id uuid, aggregatetype text, aggregateid text, type text, payload "
      "text); CREATE TABLE odd (id int PRIMARY KEY, aggregatetype text, aggregateid text, type "
      "text)");
  const auto refused = [&](const std::string& rules, const std::string& words) {
    rules_ = rules;
    EXPECT_EQ(postrider({"migrate", "up", "--config", config("migrate")}), 78) << output();
    EXPECT_NE(output().find(words), std::string::npos) << output();
  };
  refused("[[outbox]]\ntable = \"public.keyless\"\n", "REPLICA IDENTITY FULL");
  refused("[[outbox]]\ntable = \"public.none\"\n", "public.none is no table");
  refused("[[outbox]]\ntable = \"public.odd\"\n", "column payload");
  refused("[[outbox]]\ntable = \"public.odd\"\n[[capture]]\ntables = [\"public.odd\"]\n",
          "in [[outbox]] and in [[capture]]");
  refused("[[outbox]]\ntabel = \"public.odd\"\n", "did you mean \"outbox.table\"");
  rules_ = "[[outbox]]\ntable = \"public.odd\"\n";
  EXPECT_EQ(postrider({"check", "--config", config("check")}), 1) << output();
  EXPECT_NE(output().find("[[outbox]] of public.odd"), std::string::npos) << output();
  EXPECT_EQ(app_sql("DELETE FROM keyless RETURNING 1"), "") << "the service is as it was";
}

}  // namespace
}  // namespace postrider::test
