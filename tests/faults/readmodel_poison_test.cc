// A projection refuses an event: that read model alone stops, or sets the transaction aside, and
// what a person orders about it is done once.

#include <libpq-fe.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "dev/ports.h"
#include "tests/support/ledger.h"
#include "tests/support/loopback.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};

// A connection whose last statement may wait for a lock.
class Session {
 public:
  explicit Session(const std::string& conninfo)
      : connection_(PQconnectdb(conninfo.c_str()), &PQfinish) {}
  void send(const std::string& sql) { PQsendQuery(connection_.get(), sql.c_str()); }
  // Waits until what was sent has ended, well.
  void expect_success() {
    while (PGresult* result = PQgetResult(connection_.get())) {
      EXPECT_EQ(PQresultStatus(result) == PGRES_FATAL_ERROR ? PQresultErrorMessage(result) : "",
                std::string());
      PQclear(result);
    }
  }
  void run(const std::string& sql) {
    send(sql);
    expect_success();
  }
  [[nodiscard]] std::string pid() const { return std::to_string(PQbackendPID(connection_.get())); }

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

class Poison : public LedgerWorld {
 protected:
  // From now on the projection refuses events with this key.
  void poison(const std::string& key) {
    refuse_with("IF e.key = '" + key + "' THEN RAISE EXCEPTION 'bad %', e.key; END IF;");
  }
  void heal() { refuse_with(""); }
  void refuse_with(const std::string& body) {
    applier_sql(
        "CREATE OR REPLACE FUNCTION ledger.refuse(e postrider.event) RETURNS void "
        "LANGUAGE plpgsql AS $$ BEGIN " +
        body + " END $$");
  }
  [[nodiscard]] bool stopped_at(std::uint64_t ordinal) {
    return target_says("SELECT first_ordinal FROM postrider.stopped WHERE readmodel = 'ledger'",
                       std::to_string(ordinal));
  }
  // One transaction of these keys.
  void emit_together(const std::vector<std::string>& keys) {
    std::string calls = "BEGIN; ";
    for (const auto& key : keys) calls += "SELECT outbox.emit('e', '{}', '" + key + "'); ";
    app_sql(calls + "COMMIT");
  }
  [[nodiscard]] std::string entries() {
    return target_sql(
        "SELECT coalesce(string_agg(key, '' ORDER BY ordinal), '') FROM ledger.entry");
  }
  // The read model's tables, with nothing in them yet.
  void begin() {
    catch_up();
    ASSERT_EQ(command({"--until-caught-up"}), 0) << output();
  }
};

TEST_F(Poison, StopsItsReadModelAloneAndEverybodySaysSo) {
  const auto port = dev::free_port();
  (void)ledger_config({}, "[http]\nlisten = \"127.0.0.1:" + std::to_string(port) + "\"\n" + R"(
[[readmodel]]
name = "other"
[[projection]]
readmodel = "other"
subjects = "shop.>"
function = "count_other"
)");
  applier_sql(
      "CREATE TABLE public.other_count (n bigint); INSERT INTO public.other_count VALUES (0);"
      "CREATE FUNCTION public.count_other(events postrider.event[]) RETURNS void LANGUAGE sql "
      "AS $$ UPDATE public.other_count SET n = n + cardinality(events) $$");
  begin();
  poison("x");
  emit({"a", "b", "x", "c"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(3)) << applier->log();
  ASSERT_TRUE(target_says("SELECT n FROM other_count", "4")) << "the other one goes on";
  EXPECT_EQ(entries(), "ab") << "what stands before it in the batch is applied";
  ASSERT_TRUE(dev::wait_until(
      [&] {
        return http_get(port, "/readyz").find("ledger: stopped: poison_event") != std::string::npos;
      },
      kPatience))
      << http_get(port, "/readyz");
  EXPECT_EQ(http_get(port, "/readyz").substr(9, 3), "503");
  EXPECT_NE(http_get(port, "/readyz").find("other: running"), std::string::npos)
      << http_get(port, "/readyz");
  EXPECT_NE(http_get(port, "/metrics")
                .find(R"(postrider_readmodel_state{readmodel="ledger",state="stopped"} 1)"),
            std::string::npos);
  const auto config = (folder_ / "ledger.toml").string();
  EXPECT_EQ(postrider({"status", "--config", config, "--json"}), 1);
  const auto status = nlohmann::json::parse(output())["readmodels"];
  EXPECT_EQ(status[0]["state"], "stopped") << status;
  EXPECT_EQ(status[0]["ordinal"], 2) << status;
  EXPECT_EQ(status[0]["lag_messages"], 2) << status;
  EXPECT_NE(status[0]["stopped"].get<std::string>().find("bad x"), std::string::npos) << status;
  EXPECT_EQ(status[1]["state"], "applied") << status;
  EXPECT_EQ(status[1]["problems"].size(), 0U) << status;

  heal();
  ASSERT_EQ(command({"retry", "ledger"}), 0) << output();
  ASSERT_TRUE(applied(4)) << applier->log();
  expect_exact();
  EXPECT_EQ(target_sql("SELECT n FROM other_count"), "4");
  ASSERT_TRUE(
      dev::wait_until([&] { return http_get(port, "/readyz").substr(9, 3) == "200"; }, kPatience));
  EXPECT_EQ(command({"retry", "ledger"}), 1) << output();
}

TEST_F(Poison, StopSurvivesKillAndRestartOfTheApplier) {
  begin();
  poison("x");
  emit({"a", "x", "b"});
  catch_up();
  auto applier = apply();
  ASSERT_TRUE(stopped_at(2)) << applier->log();
  applier->kill();
  EXPECT_EQ(command({"--until-caught-up"}), 41) << output();
  EXPECT_NE(output().find("postrider apply retry ledger"), std::string::npos) << output();
  heal();
  EXPECT_EQ(command({"--until-caught-up"}), 41) << "only a person's word starts it again";
  EXPECT_EQ(entries(), "a");
  ASSERT_EQ(command({"retry", "ledger"}), 0);
  ASSERT_EQ(command({"--until-caught-up"}), 0) << output();
  expect_exact();
}

TEST_F(Poison, SkipLeavesAnAuditRowWithTheEvents) {
  begin();
  poison("x");
  emit({"a"});
  emit_together({"b", "x", "c"});
  emit({"d"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(2)) << applier->log();
  EXPECT_EQ(entries(), "a") << "nothing of the refused transaction";
  EXPECT_EQ(command({"skip", "ledger", "--ordinal", "1"}), 78) << output();
  EXPECT_NE(output().find("stopped at ordinal 2, not at 1"), std::string::npos) << output();
  EXPECT_EQ(target_sql("SELECT count(decision) FROM postrider.stopped"), "0");
  ASSERT_EQ(command({"skip", "ledger", "--ordinal", "2"}), 0) << output();
  ASSERT_TRUE(applied(5)) << applier->log();
  EXPECT_EQ(entries(), "ad");
  EXPECT_EQ(target_sql("SELECT action || by || first_ordinal || '-' || last_ordinal || ' ' || "
                       "(SELECT string_agg(key, '') FROM unnest(events)) FROM postrider.audit"),
            "skipapplier2-4 bxc");
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.stopped"), "0");
}

// Whoever commits the audit row loses the connection, once: what is in doubt is read again.
TEST_F(Poison, SkipGoesOnWhenTheConnectionBreaksAtItsCommit) {
  begin();
  poison("x");
  emit({"a", "x", "b"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(2)) << applier->log();
  target_sql(
      "CREATE SEQUENCE public.broken; GRANT USAGE ON SEQUENCE public.broken TO applier;"
      "CREATE FUNCTION public.break_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
      "IF nextval('public.broken') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); "
      "PERFORM pg_sleep(0); END IF; RETURN NULL; END $$;"
      "CREATE CONSTRAINT TRIGGER break_off AFTER INSERT ON postrider.audit DEFERRABLE INITIALLY "
      "DEFERRED FOR EACH ROW EXECUTE FUNCTION public.break_off()");
  ASSERT_EQ(command({"skip", "ledger"}), 0) << output();
  ASSERT_TRUE(applied(3)) << applier->log();
  EXPECT_EQ(entries(), "ab");
  EXPECT_EQ(target_sql("SELECT last_value FROM public.broken"), "2")
      << "it must have been broken once";
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.audit"), "1");
  EXPECT_TRUE(applier->running());
}

// The content type is the service's word, nothing more.
TEST_F(Poison, PayloadsThatAreNoJsonStopNothingAndCanBeSetAside) {
  (void)ledger_config("on_poison = \"park\"");
  begin();
  const auto emit_json = [&](const std::string& bytes, const std::string& key) {
    app_sql("SELECT outbox.emit_bytes('e', '" + bytes + "'::bytea, '" + key +
            "', content_type => 'application/json')");
  };
  emit_json("{bad", "a");
  emit_json("\\xfffe", "b");        // no UTF-8
  emit_json("\"\\\\u0000\"", "c");  // JSON, and no jsonb
  emit_json("{\"good\": 1}", "d");
  catch_up();
  {
    const auto applier = apply();
    ASSERT_TRUE(applied(4)) << applier->log();
  }
  EXPECT_EQ(entries(), "abcd");
  poison("x");
  emit_json("{bad", "x");
  emit({"e"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(applied(6)) << applier->log();
  EXPECT_EQ(entries(), "abcde");
  EXPECT_EQ(target_sql("SELECT convert_from(events[1].payload_bytes, 'UTF8') || "
                       "(events[1].payload IS NULL) FROM postrider.parked"),
            "{badtrue");
  heal();
  ASSERT_EQ(command({"retry", "ledger", "--parked"}), 0) << output();
  EXPECT_EQ(target_sql("SELECT n FROM ledger.tally"), "6");
}

// libnats reads no message whose headers end with an empty one, and orders them by their hash.
TEST_F(Poison, EmptyKeysTypesAndHeadersStopNothing) {
  begin();
  app_sql(
      "SELECT outbox.emit('e', '{}', 'a', type => ''), outbox.emit_bytes('e', 'x', 'b', "
      "content_type => ''), "
      "outbox.emit_bytes('e', 'x', 'c', type => ' ', content_type => ' ')");
  for (const char* name : {"a", "b", "traceparent", "x-user", "zzz"})
    app_sql(std::string("SELECT outbox.emit('e', '{}', 'd', headers => '{\"") + name +
            "\": \"\"}')");
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(applied(8)) << applier->log();
  EXPECT_EQ(entries(), "abcddddd");
}

TEST_F(Poison, PayloadThatIsNoJsonCanBeSkipped) {
  begin();
  poison("x");
  app_sql(
      "BEGIN; SELECT outbox.emit_bytes('e', '{bad', 'a', content_type => 'application/json');"
      "SELECT outbox.emit_bytes('e', '\\xfffe', 'x', content_type => 'application/json'); COMMIT");
  emit({"b"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(1)) << applier->log();
  ASSERT_EQ(command({"skip", "ledger"}), 0) << output();
  ASSERT_TRUE(applied(3)) << applier->log();
  EXPECT_EQ(entries(), "b");
  EXPECT_EQ(target_sql("SELECT string_agg(encode(payload_bytes, 'hex'), ' ' ORDER BY ordinal) FROM "
                       "postrider.audit, unnest(events) WHERE action = 'skip' AND payload IS NULL"),
            "7b626164 fffe");
}

TEST_F(Poison, ParkedTransactionThatNoProjectionTakesStaysParked) {
  (void)ledger_config("on_poison = \"park\"");
  begin();
  poison("x");
  emit({"x"});
  catch_up();
  {
    const auto applier = apply();
    ASSERT_TRUE(applied(1)) << applier->log();
  }
  const auto path = ledger_config("on_poison = \"park\"");
  std::string text = [&] {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  const std::string wide = "subjects = \"shop.>\"";
  text.replace(text.find(wide), wide.size(), "subjects = \"shop.other\"");
  std::ofstream(path, std::ios::trunc) << text;
  EXPECT_EQ(command({"retry", "ledger", "--parked"}), 78) << output();
  EXPECT_NE(output().find("stays parked"), std::string::npos) << output();
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.parked"), "1");
}

TEST_F(Poison, LargerThanMemoryIsSkippedWhole) {
  (void)ledger_config("batch_bytes = 16384");
  begin();
  poison("x");
  emit({"a"});
  app_sql(
      "BEGIN; SELECT count(outbox.emit('e', jsonb_build_object('t', repeat('p', 100000)), 'p')) "
      "FROM generate_series(1, 80); SELECT outbox.emit('e', '{}', 'x'); COMMIT");
  emit({"b"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(2)) << applier->log();
  EXPECT_EQ(entries(), "a");
  ASSERT_EQ(command({"skip", "ledger"}), 0) << output();
  ASSERT_TRUE(applied(83)) << applier->log();
  EXPECT_EQ(entries(), "ab");
  EXPECT_EQ(
      target_sql("SELECT count(*) FROM postrider.audit, unnest(events) WHERE action = 'skip'"),
      "81");
  EXPECT_GT(std::stoi(target_sql("SELECT count(*) FROM postrider.audit")), 3) << "a row a piece";
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.stopped"), "0");
}

// Between what is applied and it stand ordinals that a repair has given up.
TEST_F(Poison, LargerThanMemoryBehindAHoleIsSkipped) {
  constexpr std::uint64_t kGivenUp = 3;
  (void)ledger_config("batch_bytes = 16384");
  begin();
  poison("x");
  emit({"a"});
  app_sql(
      "BEGIN; SELECT count(outbox.emit('e', jsonb_build_object('t', repeat('p', 100000)), 'p')) "
      "FROM generate_series(1, 80); SELECT outbox.emit('e', '{}', 'x'); COMMIT");
  emit({"b"});
  catch_up();
  auto client = nats_client();
  auto messages = client.read_stream(kStream);
  ASSERT_EQ(messages.size(), 83U);
  client.api("STREAM.DELETE.SHOP");
  client.api("STREAM.CREATE.SHOP",
             {{"name", kStream}, {"subjects", {"shop.>"}}, {"storage", "file"}});
  for (std::size_t i = 0; i < messages.size(); ++i) {
    for (auto& [name, value] : messages[i].headers) {
      const std::string from = "v1 " + std::to_string(i + 1) + " ";
      if (i == 0 || name != "Postrider-Position") continue;
      ASSERT_TRUE(value.starts_with(from)) << value;
      value = "v1 " + std::to_string(i + 1 + kGivenUp) + value.substr(from.size() - 1);
    }
    if (i == 1) messages[i].headers.emplace_back("Postrider-Hole", "2-4");
    client.publish(messages[i].subject, messages[i].data, messages[i].headers);
  }
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(2 + kGivenUp)) << applier->log();
  EXPECT_EQ(entries(), "a");
  ASSERT_EQ(command({"skip", "ledger"}), 0) << output();
  ASSERT_TRUE(applied(83 + kGivenUp)) << applier->log();
  EXPECT_EQ(entries(), "ab");
  EXPECT_EQ(target_sql("SELECT string_agg(DISTINCT action, ' ') FROM postrider.audit"), "skip");
}

// What was ordered for another place than the one that comes next.
TEST_F(Poison, AnOrderToSkipThatIsVoidIsNoRetry) {
  begin();
  poison("x");
  emit({"a", "x", "b"});
  catch_up();
  {
    const auto applier = apply();
    ASSERT_TRUE(stopped_at(2)) << applier->log();
  }
  target_sql(
      "UPDATE postrider.stopped SET first_ordinal = 1, decision = 'skip', decided_by = 'me'");
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(2)) << applier->log();
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.audit"), "0");
  EXPECT_NE(applier->log().find("is void"), std::string::npos) << applier->log();
  EXPECT_EQ(entries(), "a");
}

// Without its audit row nothing is left out, and a person is told why.
TEST_F(Poison, WhatTheTargetRefusesToSetAsideStopsWithTheReason) {
  begin();
  target_sql(
      "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
      "RAISE EXCEPTION 'no room'; END $$;"
      "CREATE TRIGGER refuse BEFORE INSERT ON postrider.audit FOR EACH ROW WHEN (NEW.action <> "
      "'retry') EXECUTE FUNCTION public.refuse()");
  const auto says = [&](const std::string& what) {
    return target_says("SELECT first_ordinal || ' ' || (error LIKE '%" + what +
                           "%no room%') || coalesce(decision, '') FROM postrider.stopped",
                       "2 true");
  };
  poison("x");
  emit({"a", "x", "b"});
  catch_up();
  {
    const auto applier = apply();
    ASSERT_TRUE(stopped_at(2)) << applier->log();
    ASSERT_EQ(command({"skip", "ledger"}), 0) << output();
    ASSERT_TRUE(says("could not be skipped")) << applier->log();
  }
  (void)ledger_config("on_poison = \"park\"");
  ASSERT_EQ(command({"retry", "ledger"}), 0) << output();
  const auto applier = apply();
  ASSERT_TRUE(says("could not be parked")) << applier->log();
  EXPECT_EQ(entries(), "a");
  target_sql("DROP TRIGGER refuse ON postrider.audit");
  ASSERT_EQ(command({"skip", "ledger"}), 0) << output();
  ASSERT_TRUE(applied(3)) << applier->log();
  EXPECT_EQ(entries(), "ab");
}

// docs/outbox-tables.md: the id is of any type.
TEST_F(Poison, AnIdThatIsNoUuidIsAppliedParkedAndSkipped) {
  std::string setup = kSetup;
  const std::string strict = "id uuid NOT NULL UNIQUE";
  setup.replace(setup.find(strict), strict.size(), "id uuid");
  write_setup(setup);
  (void)ledger_config("on_poison = \"park\"");
  app_sql(
      "CREATE TABLE legacy (id text PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text, "
      "type text, payload text)");
  auto settings = quick();
  settings["migrate.conninfo"] = "\"" + superuser() + "\"";
  const auto path = write_config(settings, "legacy");
  std::ofstream(path, std::ios::app)
      << "[[outbox]]\ntable = \"public.legacy\"\ncontent_type = \"application/json\"\n";
  ASSERT_EQ(postrider({"migrate", "up", "--config", path.string()}), 0) << output();
  const auto carry = [&] {
    RelayProcess relay(path, folder_ / "legacy.log", {}, {"--until-caught-up"});
    ASSERT_EQ(relay.wait(kPatience), 0) << relay.log();
  };
  carry();
  ASSERT_EQ(command({"--until-caught-up"}), 0) << output();
  poison("x");
  const std::string id = "00000000-0000-0000-0000-00000000000a";
  app_sql("BEGIN; INSERT INTO legacy VALUES ('7', 'e', 'a', 't', '{}'), ('" + id +
          "', 'e', 'b', 'insert', '{}'); COMMIT");
  app_sql("INSERT INTO legacy VALUES ('" + std::string(36, '-') + "', 'e', 'x', 'insert', '{bad')");
  app_sql("INSERT INTO legacy VALUES ('8', 'e', 'c', 't', '{bad')");
  ASSERT_NO_FATAL_FAILURE(carry());
  {
    const auto applier = apply();
    ASSERT_TRUE(applied(4)) << applier->log();
  }
  EXPECT_EQ(entries(), "abc");
  EXPECT_EQ(target_sql("SELECT string_agg(coalesce(id::text, '-'), ' ' ORDER BY ordinal) "
                       "FROM ledger.entry"),
            "- " + id + " -");
  EXPECT_EQ(target_sql("SELECT (events[1].id IS NULL) || (events[1].headers ->> 'Postrider-Id') || "
                       "convert_from(events[1].payload_bytes, 'UTF8') FROM postrider.parked"),
            "true" + std::string(36, '-') + "{bad");
  heal();
  ASSERT_EQ(command({"retry", "ledger", "--parked"}), 0) << output();
  EXPECT_EQ(entries(), "abxc");
  (void)ledger_config();
  poison("y");
  app_sql("INSERT INTO legacy VALUES ('9', 'e', 'y', 't', '{}')");
  ASSERT_NO_FATAL_FAILURE(carry());
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(5)) << applier->log();
  ASSERT_EQ(command({"skip", "ledger"}), 0) << output();
  ASSERT_TRUE(applied(5)) << applier->log();
  EXPECT_EQ(target_sql("SELECT events[1].headers::text FROM postrider.audit WHERE action = 'skip'"),
            "{\"Postrider-Id\": \"9\"}");
}

TEST_F(Poison, ParkSetsTheWholeTransactionAside) {
  (void)ledger_config("on_poison = \"park\"");
  begin();
  target_sql(
      "GRANT USAGE ON SCHEMA ledger TO app; GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO app");
  poison("x");
  const auto relay = start_relay(quick());
  const auto applier = apply();
  emit({"a"});
  emit_together({"b", "x", "c"});
  emit_together({"d", "x"});
  emit({"e"});
  ASSERT_TRUE(applied(7)) << applier->log();
  EXPECT_EQ(entries(), "ae");
  EXPECT_EQ(target_sql("SELECT n FROM ledger.tally"), "2");
  EXPECT_EQ(target_sql("SELECT string_agg(first_ordinal || '-' || last_ordinal, ' ' ORDER BY 1) "
                       "FROM postrider.parked"),
            "2-4 5-6");

  EXPECT_EQ(command({"retry", "ledger", "--parked"}), 41) << output();
  EXPECT_EQ(entries(), "ae") << "refused again: it stays parked, whole";
  EXPECT_EQ(command({"skip", "ledger", "--parked"}), 78) << output();
  EXPECT_NE(output().find("parked are: 2 5"), std::string::npos) << output();
  heal();
  ASSERT_EQ(command({"skip", "ledger", "--parked", "5"}), 0) << output();
  ASSERT_EQ(command({"retry", "ledger", "--parked"}), 0) << output();
  EXPECT_EQ(entries(), "abxce");
  EXPECT_EQ(target_sql("SELECT n FROM ledger.tally"), "5");
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.parked"), "0");
  EXPECT_EQ(
      target_sql("SELECT string_agg(action || first_ordinal || (SELECT string_agg(key, '') FROM "
                 "unnest(events)), ' ' ORDER BY id) FROM postrider.audit"),
      "park2bxc park5dx skip5dx retry2bxc");
  EXPECT_EQ(command({"retry", "ledger", "--parked"}), 1) << output();
}

TEST_F(Poison, MissingFunctionStopsEvenWhereThePolicyIsToPark) {
  (void)ledger_config("on_poison = \"park\"");
  begin();
  applier_sql("ALTER FUNCTION ledger.record RENAME TO elsewhere");
  emit({"a", "b"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(1)) << applier->log();
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.parked"), "0");
  applier_sql("ALTER FUNCTION ledger.elsewhere RENAME TO record");
  ASSERT_EQ(command({"retry", "ledger"}), 0);
  ASSERT_TRUE(applied(2));
  expect_exact();
}

TEST_F(Poison, DeferredConstraintAtCommitStopsAtItsTransaction) {
  write_setup(
      kSetup +
      "CREATE TABLE known (key text PRIMARY KEY); INSERT INTO known VALUES ('a'), ('b');"
      "ALTER TABLE entry ADD FOREIGN KEY (key) REFERENCES known DEFERRABLE INITIALLY DEFERRED;");
  begin();
  emit({"a", "x", "b"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(2)) << applier->log();
  EXPECT_EQ(entries(), "a");
  EXPECT_EQ(target_sql("SELECT projection || sqlstate FROM postrider.stopped"), "commit23503");
  applier_sql("INSERT INTO ledger.known VALUES ('x')");
  ASSERT_EQ(command({"retry", "ledger"}), 0);
  ASSERT_TRUE(applied(3)) << applier->log();
  expect_exact();
}

TEST_F(Poison, TransientErrorIsRetriedAndNeedsNobody) {
  write_setup(kSetup + "CREATE SEQUENCE attempt;");
  begin();
  refuse_with(
      "IF e.key = 'x' AND nextval('ledger.attempt') <= 5 THEN RAISE EXCEPTION 'again' "
      "USING ERRCODE = 'serialization_failure'; END IF;");
  emit({"a", "x", "b"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(applied(3)) << applier->log();
  expect_exact();
  EXPECT_EQ(target_sql("SELECT last_value FROM ledger.attempt"), "6");
  EXPECT_EQ(target_sql("SELECT (SELECT count(*) FROM postrider.stopped) + (SELECT count(*) FROM "
                       "postrider.audit)"),
            "0");
}

// The applier closes the circle, and so is whom the server refuses: the other has looked already.
// More often than a refused batch is tried again before its event counts as refused.
TEST_F(Poison, DeadlocksWithAnotherSessionAreRetriedAndNeedNobody) {
  constexpr int kTimes = 3;
  write_setup(kSetup +
              "CREATE TABLE shared (k int PRIMARY KEY, n int NOT NULL DEFAULT 0); "
              "INSERT INTO shared VALUES (1), (2);");
  target_sql("ALTER ROLE applier SET deadlock_timeout = '100ms'");
  begin();
  refuse_with(
      "IF e.key = 'x' THEN UPDATE ledger.shared SET n = n + 1 WHERE k = 1; "
      "PERFORM pg_advisory_xact_lock(7); UPDATE ledger.shared SET n = n + 1 WHERE k = 2; END IF;");
  const auto somebody_waits_for = [&](const std::string& pid) {
    return target_says(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE " + pid + " = ANY (pg_blocking_pids(pid))",
        "t");
  };
  Session gate(target_conninfo("postgres"));
  Session other(target_conninfo("postgres"));
  other.run("SET deadlock_timeout = '1h'");
  emit({"a", "x", "b"});
  catch_up();
  gate.run("SELECT pg_advisory_lock(7)");
  const auto applier = apply();
  for (int i = 0; i < kTimes; ++i) {
    ASSERT_TRUE(somebody_waits_for(gate.pid())) << applier->log();
    const auto pid = target_sql("SELECT pid FROM pg_stat_activity WHERE " + gate.pid() +
                                " = ANY (pg_blocking_pids(pid))");
    other.run("BEGIN; UPDATE ledger.shared SET n = n + 1 WHERE k = 2");
    other.send("UPDATE ledger.shared SET n = n + 1 WHERE k = 1");
    ASSERT_TRUE(somebody_waits_for(pid));
    gate.run("SELECT pg_advisory_unlock(7)");
    other.expect_success();
    gate.run("SELECT pg_advisory_lock(7)");
    other.run("COMMIT");
  }
  gate.run("SELECT pg_advisory_unlock(7)");
  ASSERT_TRUE(applied(3)) << applier->log();
  expect_exact();
  EXPECT_EQ(target_sql("SELECT string_agg(n::text, ' ') FROM ledger.shared"), "4 4");
  EXPECT_TRUE(target_says("SELECT deadlocks FROM pg_stat_database WHERE datname = 'views'",
                          std::to_string(kTimes)));
  EXPECT_EQ(target_sql("SELECT (SELECT count(*) FROM postrider.stopped) + (SELECT count(*) FROM "
                       "postrider.audit)"),
            "0");
}

TEST_F(Poison, RebuildHealsAStoppedReadModel) {
  begin();
  poison("x");
  emit({"a", "x", "b"});
  catch_up();
  const auto applier = apply();
  ASSERT_TRUE(stopped_at(2)) << applier->log();
  ASSERT_EQ(command({"rebuild", "ledger"}), 0) << "its setup file refuses nothing" << output();
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.stopped"), "0");
  emit({"c"});
  catch_up();
  ASSERT_TRUE(applied(4)) << "the applier goes on with the new tables: " << applier->log();
  expect_exact();
}

TEST_F(Poison, StopsARebuildUntilTheSetupFileIsCorrected) {
  emit({"a", "b"});
  begin();
  const auto refusing =
      std::string(kSetup) +
      "CREATE OR REPLACE FUNCTION refuse(e postrider.event) RETURNS void LANGUAGE "
      "plpgsql AS $$ BEGIN IF e.key = 'b' THEN RAISE EXCEPTION 'bad b'; END IF; END $$;";
  write_setup(refusing);
  EXPECT_EQ(command({"rebuild", "ledger"}), 41) << output();
  EXPECT_EQ(command({"rebuild", "ledger"}), 41) << "tried again, refused again" << output();
  EXPECT_EQ(entries(), "ab") << "the live one is as it was";
  write_setup(kSetup);
  ASSERT_EQ(command({"rebuild", "ledger"}), 0) << output();
  expect_exact();
  // Or a person goes on without the event.
  write_setup(refusing);
  EXPECT_EQ(command({"rebuild", "ledger"}), 41) << output();
  ASSERT_EQ(command({"skip", "ledger/rebuild"}), 0) << output();
  ASSERT_EQ(command({"rebuild", "ledger"}), 0) << output();
  EXPECT_EQ(entries(), "a");
}

}  // namespace
}  // namespace postrider::test
