// outbox.emit and outbox.emit_bytes: what they refuse and how they say it, and that the caller's
// transaction decides.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "service_database.h"

namespace postrider::testing {
namespace {

constexpr const char* kInvalid = "22023";
constexpr const char* kNull = "22004";
constexpr const char* kTooLarge = "54000";
constexpr const char* kNotReady = "55000";
constexpr const char* kDenied = "42501";

class Emit : public ::testing::Test {
 protected:
  // Refused with that SQLSTATE and a hint, and nothing is stored.
  void expect_refused(const std::string& call, const std::string& sqlstate) {
    SCOPED_TRACE(call);
    const auto refusal = database.refusal("app", "SELECT " + call);
    ASSERT_TRUE(refusal) << "it was accepted";
    EXPECT_EQ(refusal->sqlstate, sqlstate) << *refusal;
    EXPECT_FALSE(refusal->hint.empty()) << *refusal;
    EXPECT_NE(refusal->message.find("postrider: "), std::string::npos) << *refusal;
  }
  void expect_accepted(const std::string& call) {
    SCOPED_TRACE(call);
    const auto refusal = database.refusal("app", "SELECT " + call);
    EXPECT_FALSE(refusal) << *refusal;
  }
  std::string count() { return database.run("owner", "SELECT count(*) FROM outbox.events"); }

  ServiceDatabase database;
};

TEST_F(Emit, RefusesSubjectsThatNatsCouldNotCarry) {
  for (const char* subject : {"''",
                              "'.'",
                              "'a.'",
                              "'.a'",
                              "'a..b'",
                              "'a b'",
                              "'a.*'",
                              "'a.>'",
                              "'*'",
                              "'>'",
                              "'_a'",
                              "'$a'",
                              "'a,b'",
                              "E'a\\nb'",
                              "E'a\\r\\nPUB x 1'",
                              "E'a\\n'",
                              "E'a\\tb'",
                              "'größe'",
                              "repeat('a', 201)",
                              "NULL"})
    for (const char* call : {"outbox.emit(%, '{}')", "outbox.emit_bytes(%, '')"}) {
      std::string text = call;
      expect_refused(text.replace(text.find('%'), 1, subject), kInvalid);
    }
  EXPECT_EQ(count(), "0");
}

TEST_F(Emit, AcceptsSubjectsOfItsAllowList) {
  for (const char* subject : {"'a'", "'a.b.c'", "'order.42.placed'", "'a_b.~c'", "'x.%C3%B6'",
                              "'a=b+c:d@e/f-g'", "'a._b'", "repeat('a', 200)"})
    expect_accepted(std::string("outbox.emit(") + subject + ", '{}')");
  EXPECT_EQ(count(), "8");
}

TEST_F(Emit, RefusesHeaderNamesThatAreReserved) {
  for (const char* name : {"Nats-Msg-Id", "nats-expected-last-sequence", "Postrider-Position",
                           "POSTRIDER-ID", "ce-id", "Ce-Type", "Content-Type", "content-type"})
    for (const char* call :
         {"outbox.emit('s', '{}', headers => ", "outbox.emit_bytes('s', '', headers => "})
      expect_refused(std::string(call) + "jsonb_build_object('" + name + "', 'x'))", kInvalid);
  expect_accepted(
      "outbox.emit('s', '{}', headers => '{\"Content-Types\": \"x\", \"cex\": \"y\"}')");
}

TEST_F(Emit, RefusesHeaderNamesThatAreMalformed) {
  for (const char* name :
       {"''", "'a b'", "'a:b'", "E'a\\r\\nb'", "'ä'", "'a(b)'", "repeat('h', 129)"})
    expect_refused(
        std::string("outbox.emit('s', '{}', headers => jsonb_build_object(") + name + ", 'x'))",
        kInvalid);
}

TEST_F(Emit, RefusesHeaderValuesWithControlCharacters) {
  for (const char* value :
       {"E'a\\r\\nb'", "E'a\\nb'", "E'a\\rb'", "E'\\t'", "E'\\x01'", "E'\\x7f'"})
    expect_refused(std::string("outbox.emit('s', '{}', headers => jsonb_build_object('h', ") +
                       value + "::text))",
                   kInvalid);
}

TEST_F(Emit, RefusesHeadersThatAreNotAnObjectOfScalars) {
  for (const char* headers :
       {"'[]'", "'\"a\"'", "'1'", "'null'", "'{\"a\": null}'", "'{\"a\": []}'", "'{\"a\": {}}'"})
    expect_refused(std::string("outbox.emit('s', '{}', headers => ") + headers + ")", kInvalid);
  expect_accepted("outbox.emit('s', '{}', headers => '{\"a\": 1, \"b\": true, \"c\": \"ü\"}')");
  expect_accepted("outbox.emit('s', '{}', headers => NULL)");
}

TEST_F(Emit, RefusesControlCharactersInKeyTypeAndContentType) {
  expect_refused("outbox.emit('s', '{}', key => E'a\\nb')", kInvalid);
  expect_refused("outbox.emit('s', '{}', type => E'a\\rb')", kInvalid);
  expect_refused("outbox.emit_bytes('s', '', key => E'\\x7f')", kInvalid);
  expect_refused("outbox.emit_bytes('s', '', content_type => E'text/plain\\r\\nNats-Rollup: all')",
                 kInvalid);
}

// Readers with libnats cannot read a message whose headers end with an empty one.
TEST_F(Emit, LeavesOutWhatIsEmpty) {
  expect_accepted(
      "outbox.emit('s', '{}', key => '', type => '  ', headers => '{\"a\": \"\", \"b\": \" \"}')");
  expect_accepted(
      "outbox.emit_bytes('s', 'x', key => ' ', type => '', content_type => '', headers => '{\"a\": "
      "\"\", \"b\": \"c\"}')");
  EXPECT_EQ(database.run(
                "owner",
                "SELECT string_agg(concat_ws('|', key, type, content_type, headers), ' ' ORDER BY "
                "content_type NULLS LAST) FROM outbox.events"),
            "application/json {\"b\": \"c\"}");
}

TEST_F(Emit, RefusesNullPayloads) {
  expect_refused("outbox.emit('s', NULL)", kNull);
  expect_refused("outbox.emit_bytes('s', NULL)", kNull);
  expect_accepted("outbox.emit('s', 'null')");
  expect_accepted("outbox.emit_bytes('s', '')");
}

TEST_F(Emit, RefusesWhatTheBrokerWouldFindTooLarge) {
  database.run("owner", "UPDATE outbox.settings SET max_payload_bytes = 4096");
  expect_refused("outbox.emit_bytes('s', convert_to(repeat('x', 4096), 'UTF8'))", kTooLarge);
  expect_refused("outbox.emit('s', to_jsonb(repeat('x', 4096)))", kTooLarge);
  expect_refused("outbox.emit('s', '{}', key => repeat('x', 4096))", kTooLarge);
  expect_refused("outbox.emit('s', '{}', type => repeat('x', 4096))", kTooLarge);
  expect_refused("outbox.emit('s', '{}', headers => jsonb_build_object('h', repeat('x', 4096)))",
                 kTooLarge);
  expect_refused("outbox.emit_bytes('s', '', content_type => repeat('x', 4096))", kTooLarge);
  expect_accepted("outbox.emit_bytes('s', convert_to(repeat('x', 3400), 'UTF8'))");
}

TEST_F(Emit, RefusesStoresThatDoNotExistOrAreOff) {
  expect_refused("outbox.emit('s', '{}', store => 'tape')", kInvalid);
  expect_refused("outbox.emit('s', '{}', store => 'TABLE')", kInvalid);
  expect_refused("outbox.emit('s', '{}', store => 'wal')", kNotReady);
}

TEST_F(Emit, RefusesUntilASlotCoversTheSource) {
  database.run("owner", "UPDATE outbox.checkpoint SET initialised = false");
  expect_refused("outbox.emit('s', '{}')", kNotReady);
  expect_refused("outbox.emit_bytes('s', '')", kNotReady);
}

TEST_F(Emit, StoresWhatItWasGiven) {
  const std::string id = database.run("app",
                                      "SELECT outbox.emit_bytes('a.b', '\\x00ff', key => 'k', type "
                                      "=> 't', headers => '{\"h\": \"v\"}', "
                                      "content_type => 'image/png', store => 'table')");
  EXPECT_EQ(database.run("owner",
                         "SELECT concat_ws('|', id, subject, key, type, content_type, headers, "
                         "payload_bytes, payload IS NULL) FROM outbox.events"),
            id + "|a.b|k|t|image/png|{\"h\": \"v\"}|\\x00ff|t");
}

// The usual event has a way of its own; whatever stands on the border is stored all the same.
TEST_F(Emit, StoresTheSameOnItsShortAndOnItsLongWay) {
  const char* const payloads[] = {"'{}'",
                                  "'null'",
                                  R"('{"a": "\u00e9\u20ac"}')",
                                  "to_jsonb(repeat('x', 2698))",
                                  "to_jsonb(repeat('x', 2699))",
                                  "to_jsonb(repeat(U&'\\00e9', 1400))",
                                  "to_jsonb(repeat('x', 100000))"};
  const char* const texts[] = {"NULL",
                               "''",
                               "' '",
                               "'k'",
                               "' k'",
                               "'k '",
                               "'k k'",
                               "U&'\\00e9'",
                               "repeat('k', 250)",
                               "repeat('k', 251)",
                               "'~!'"};
  int events = 0;
  for (const auto* payload : payloads)
    for (const auto* text : texts) {
      const std::string arguments =
          std::string("'a.b', ") + payload + ", key => " + text + ", type => " + text;
      // Headers are the long way's.
      for (const auto* headers : {"'{}'", R"('{"h": "v"}')"})
        expect_accepted("outbox.emit(" + arguments + ", headers => " + headers + ")");
      ++events;
    }
  EXPECT_EQ(count(), std::to_string(2 * events));
  EXPECT_EQ(database.run("owner",
                         "SELECT count(*) FROM (SELECT FROM outbox.events GROUP BY subject, key, "
                         "type, content_type, payload, payload_bytes "
                         "HAVING count(headers) * 2 <> count(*)) differ"),
            "0");
}

// What a backslash means is the session's setting.
TEST_F(Emit, RefusesTheSameInASessionThatEscapesInStrings) {
  database.open_wal_store();
  const std::string escaping = "SET LOCAL standard_conforming_strings = off; SELECT ";
  for (const auto* call : {"outbox.emit('a b', '{}')", "outbox.emit('a..b', '{}')",
                           R"(outbox.emit('a b', '{}', headers => '{"h": 1}'))"}) {
    const auto refusal = database.refusal("app", escaping + call);
    ASSERT_TRUE(refusal) << call;
    EXPECT_EQ(refusal->sqlstate, kInvalid) << *refusal;
  }
  for (const auto* call :
       {"outbox.emit('a.b', '{}', key => 'k')", "outbox.emit('a.b', '{}', store => 'wal')",
        R"(outbox.emit('a.b', '{}', headers => '{"h": 1}', store => 'wal'))"}) {
    const auto refusal = database.refusal("app", escaping + call);
    EXPECT_FALSE(refusal) << call << ": " << *refusal;
  }
}

// Neither the writer's functions nor its operators come before PostgreSQL's.
TEST_F(Emit, IgnoresWhatTheCallerPutsIntoItsSearchPath) {
  database.open_wal_store();
  // Every function and operator that may be meant, as it stands in pg_catalog; and it fails.
  database.run("app", R"(DO $do$
DECLARE
  made record;
BEGIN
  FOR made IN SELECT p.proname AS name, pg_get_function_identity_arguments(p.oid) AS arguments,
                     format_type(p.prorettype, NULL) AS result
                FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
                 AND NOT p.proretset AND p.provariadic = 0
                 AND p.proname IN ('octet_length', 'rtrim', 'convert_to', 'uuid_send', 'int4send', 'gen_random_uuid',
                                   'getdatabaseencoding', 'pg_advisory_xact_lock_shared') LOOP
    EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', made.name, made.arguments,
                   made.result, 'BEGIN RAISE EXCEPTION ''trapped''; END');
  END LOOP;
  FOR made IN SELECT o.oprname AS name, format_type(o.oprleft, NULL) AS l, format_type(o.oprright, NULL) AS r,
                     format_type(o.oprresult, NULL) AS result, row_number() OVER () AS number
                FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace
                 AND o.oprname IN ('~', '!~', '=', '<>', '<=', '>', '||', '+')
                 AND o.oprleft IN ('text'::regtype, 'int4'::regtype, 'bytea'::regtype, 'jsonb'::regtype,
                                   'int8'::regtype, 'name'::regtype)
                 AND o.oprright <> 'anynonarray'::regtype LOOP
    EXECUTE format('CREATE FUNCTION public.trap_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', made.number, made.l,
                   made.r, made.result, 'BEGIN RAISE EXCEPTION ''trapped''; END');
    EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.trap_%s)',
                   made.name, made.l, made.r, made.number);
  END LOOP;
END $do$)");
  const std::string trapped = "SET LOCAL search_path = public, pg_catalog; SELECT ";
  EXPECT_TRUE(database.refusal("app", trapped + "'a' ~ 'b'::text"));
  EXPECT_TRUE(database.refusal("app", trapped + "octet_length('a'::text)"));
  for (const auto* call : {"outbox.emit('s', '{}', key => 'k', type => 't')",
                           R"(outbox.emit('s', '{}', headers => '{"h": 1}'))",
                           "outbox.emit('s', '{}', key => 'k', store => 'wal')",
                           R"(outbox.emit('s', '{}', headers => '{"h": 1}', store => 'wal'))",
                           "outbox.emit_bytes('s', 'x', key => 'k')"}) {
    const auto refusal = database.refusal("app", trapped + call);
    EXPECT_FALSE(refusal) << call << ": " << *refusal;
  }
  EXPECT_EQ(count(), "3");
}

// A column's collation comes along with its value.
TEST_F(Emit, TakesValuesOfEveryCollation) {
  database.run("owner",
               "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', "
               "deterministic = false); CREATE COLLATION german (provider = icu, locale = 'de')");
  database.run("owner",
               "CREATE TABLE v (subject text COLLATE no_case, key text COLLATE no_case, type text "
               "COLLATE german, store text COLLATE german, kind text COLLATE no_case); "
               "GRANT SELECT ON v TO app; INSERT INTO v VALUES ('s', 'A', 'b', 'TABLE', 'x/y'), "
               "('s', 'A b', '', NULL, ''); UPDATE v SET store = lower(store)");
  for (const auto* call :
       {"emit(subject, '{}', key, type, '{}', store)", "emit('s', '{}', key)",
        "emit('s', '{}', type => type)", "emit('s', '{}', key, type, '{\"a\": \"b\"}')",
        "emit_bytes(subject, '', key, type, '{}', kind, store)"}) {
    SCOPED_TRACE(call);
    EXPECT_NO_THROW(database.run("app", std::string("SELECT outbox.") + call + " FROM v"));
  }
  EXPECT_EQ(count(), "10");
  EXPECT_EQ(database.run("owner",
                         "SELECT count(*) FROM outbox.events WHERE key COLLATE \"C\" IN "
                         "('A', 'A b')"),
            "8");
}

TEST_F(Emit, IsUndoneByTheCallersRollback) {
  pqxx::connection app(database.conninfo("app"));
  {
    pqxx::work tx(app);
    tx.exec("SELECT outbox.emit('s', '{}')");
    tx.abort();
  }
  EXPECT_EQ(count(), "0");
}

TEST_F(Emit, IsUndoneByTheSavepointAroundIt) {
  database.run(
      "app",
      "SELECT outbox.emit('kept.before', '{}'); SAVEPOINT a; SELECT outbox.emit('undone', '{}'); "
      "ROLLBACK TO a; SELECT outbox.emit('kept.after', '{}')");
  EXPECT_EQ(
      database.run("owner", "SELECT string_agg(subject, ' ' ORDER BY subject) FROM outbox.events"),
      "kept.after kept.before");
}

TEST_F(Emit, LeavesTheTransactionUsableWhenRefusedInsideASavepoint) {
  database.run(
      "app",
      "DO $$ BEGIN PERFORM outbox.emit('good', '{}'); "
      "BEGIN PERFORM outbox.emit('bad subject', '{}'); EXCEPTION WHEN invalid_parameter_value "
      "THEN NULL; END; END $$");
  EXPECT_EQ(database.run("owner", "SELECT string_agg(subject, ' ') FROM outbox.events"), "good");
}

class WalStore : public Emit {
 protected:
  WalStore() { database.open_wal_store(); }
  std::string close() {
    return "SELECT outbox.disable_wal_store('" + database.options().source + "')";
  }
  const std::string emit = "SELECT outbox.emit('s', '{}', store => 'wal')";
};

TEST_F(WalStore, RefusesOnceItIsClosed) {
  database.run("app", emit);
  database.run("owner", close());
  expect_refused("outbox.emit('s', '{}', store => 'wal')", kNotReady);
  database.open_wal_store();
  database.run("app", emit);
}

TEST_F(WalStore, RefusesOnceItIsClosedAlsoInATransactionWithAnOlderSnapshot) {
  pqxx::connection app(database.conninfo("app"));
  pqxx::work tx(app);
  tx.exec("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
  tx.exec("SELECT 1");
  database.run("owner", close());
  EXPECT_THROW(tx.exec(emit), pqxx::sql_error);
}

TEST_F(WalStore, ClosingWaitsForItsWriters) {
  pqxx::connection app(database.conninfo("app"));
  pqxx::work tx(app);
  tx.exec(emit);
  const auto refusal = database.refusal("owner", "SET LOCAL lock_timeout = '50ms'; " + close());
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->sqlstate, "55P03") << *refusal;
  tx.commit();
  database.run("owner", close());
}

TEST_F(WalStore, CannotBeGivenUpByTheRelayWhileItIsOpen) {
  const std::string source = "'" + database.options().source + "'";
  const auto refusal = database.refusal("relay", "SELECT outbox.relay_set_epochs(" + source +
                                                     ", (SELECT session FROM outbox.checkpoint "
                                                     "WHERE source = " +
                                                     source + "), '[]', false)");
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->sqlstate, kNotReady) << *refusal;
  EXPECT_FALSE(refusal->hint.empty());
}

using Roles = Emit;

TEST_F(Roles, WriterMayOnlyEmit) {
  expect_accepted("outbox.emit('s', '{}')");
  expect_accepted("outbox.emit_bytes('s', '')");
  const std::vector<std::string> forbidden = {
      "SELECT * FROM outbox.events",
      "SELECT * FROM outbox.events_default",
      "SELECT * FROM outbox.settings",
      "SELECT * FROM outbox.checkpoint",
      "INSERT INTO outbox.events (subject, payload) VALUES ('s', '{}')",
      "INSERT INTO outbox.events_default (subject, payload) VALUES ('s', '{}')",
      "UPDATE outbox.events SET subject = 'x'",
      "DELETE FROM outbox.events",
      "TRUNCATE outbox.events",
      "UPDATE outbox.settings SET max_payload_bytes = 67108864",
      "CREATE TABLE outbox.mine ()",
      "SELECT outbox.store_event('bad subject', '{}', NULL, NULL, NULL, NULL, NULL, 'table')",
      "SELECT outbox.checked_headers('{}')",
      "SELECT outbox.maintain()",
      "SELECT outbox.make_partition('2020-01-01')",
      "SELECT outbox.drop_partition('events_default')",
      "SELECT outbox.is_droppable('events_default')",
      "SELECT outbox.relay_open('s')",
      "SELECT outbox.disable_wal_store('s')",
      "SELECT pg_logical_emit_message(true, 'postrider', 'x')",
  };
  for (const auto& statement : forbidden) {
    const auto refusal = database.refusal("app", statement);
    ASSERT_TRUE(refusal) << statement;
    EXPECT_EQ(refusal->sqlstate, kDenied) << statement << '\n' << *refusal;
  }
  EXPECT_EQ(count(), "2");
}

TEST_F(Roles, RelayReadsAndCannotWriteEventsUnlessGranted) {
  const std::vector<std::string> forbidden = {
      "SELECT outbox.emit('s', '{}')",
      "SELECT outbox.emit_bytes('s', '')",
      "INSERT INTO outbox.events (subject, payload) VALUES ('s', '{}')",
      "DELETE FROM outbox.events",
      "UPDATE outbox.checkpoint SET ordinal = 7",
      "UPDATE outbox.settings SET retention = '2 hours'",
      "SELECT outbox.make_partition('2020-01-01')",
      "SELECT outbox.drop_partition('events_default')",
      "SELECT outbox.is_droppable('events_default')",
      "SELECT outbox.disable_wal_store('s')",
      "SELECT pg_logical_emit_message(true, 'postrider', 'x')",
  };
  for (const auto& statement : forbidden) {
    const auto refusal = database.refusal("relay", statement);
    ASSERT_TRUE(refusal) << statement;
    EXPECT_EQ(refusal->sqlstate, kDenied) << statement << '\n' << *refusal;
  }
  EXPECT_EQ(database.run("relay", "SELECT count(*) FROM outbox.events"), "0");
  database.run(
      "owner",
      "GRANT EXECUTE ON FUNCTION outbox.emit(text, jsonb, text, text, jsonb, text) TO relay");
  EXPECT_FALSE(database.run("relay", "SELECT outbox.emit('s', '{}')").empty());
}

}  // namespace
}  // namespace postrider::testing
