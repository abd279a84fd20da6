// The C++ library against the SQL functions that it calls.
#include <gtest/gtest.h>
#include <postrider/outbox.h>

#include <map>
#include <string>

#include "service_database.h"

namespace postrider::testing {
namespace {

class OutboxLibrary : public ::testing::Test {
 protected:
  std::string stored(const std::string& expression) {
    return database.run("owner", "SELECT string_agg(concat(" + expression +
                                     "), ';' ORDER BY ctid) FROM outbox.events");
  }

  ServiceDatabase database;
  pqxx::connection app{database.conninfo("app")};
};

std::vector<std::byte> every_byte() {
  std::vector<std::byte> bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<std::byte>(i));
  return bytes;
}

TEST_F(OutboxLibrary, EmitStoresEveryField) {
  pqxx::work tx(app);
  const std::string id = emit(tx, {.subject = "order.placed",
                                   .payload = Json{R"({"a": "ü\"\\"})"},
                                   .key = "k'1",
                                   .type = "T",
                                   .headers = {{"x", "1"}, {"y", R"(q"b\)"}},
                                   .store = Store::kTable});
  tx.commit();
  EXPECT_EQ(
      database.run("owner",
                   "SELECT concat_ws('|', id, subject, key, type, content_type, headers->>'x', "
                   "headers->>'y', payload->>'a') FROM outbox.events"),
      id + R"(|order.placed|k'1|T|application/json|1|q"b\|ü"\)");
}

TEST_F(OutboxLibrary, AbsentFieldsAreNull) {
  pqxx::work tx(app);
  emit(tx, {.subject = "s", .payload = Json{"{}"}});
  tx.commit();
  EXPECT_EQ(stored("key IS NULL, type IS NULL, headers IS NULL"), "ttt");
}

TEST_F(OutboxLibrary, BytesAreStoredUnchanged) {
  database.run("owner",
               "ALTER DATABASE " + database.options().source + " SET bytea_output = 'escape'");
  pqxx::connection other(database.conninfo("app"));
  pqxx::work tx(other);
  const Event event{.subject = "s", .payload = Bytes{every_byte(), "image/png"}};
  emit(tx, event);
  emit(tx, std::vector{event});
  tx.commit();
  EXPECT_EQ(database.run("owner", "SELECT count(DISTINCT payload_bytes) FROM outbox.events"), "1");
  EXPECT_EQ(stored("content_type, length(payload_bytes), get_byte(payload_bytes, 0), "
                   "get_byte(payload_bytes, 92), get_byte(payload_bytes, 255)"),
            "image/png256092255;image/png256092255");
}

TEST_F(OutboxLibrary, BatchKeepsItsOrderInTheWalAndInItsIds) {
  const std::string slot = "order_" + database.options().source;
  database.run("relay",
               "SELECT pg_create_logical_replication_slot('" + slot + "', 'test_decoding')");
  std::vector<Event> events;
  for (int i = 0; i < 500; ++i) {
    Event event{.subject = "n." + std::to_string(i), .payload = Json{std::to_string(i)}};
    if (i % 3 == 0) event.payload = Bytes{every_byte()};
    if (i % 5 == 0) event.key = R"({NULL, "\})";
    if (i % 7 == 0) event.headers = {{"h", R"(",\)"}};
    events.push_back(event);
  }
  pqxx::work tx(app);
  const auto ids = emit(tx, events);
  tx.commit();
  ASSERT_EQ(ids.size(), events.size());
  std::string in_order;
  for (const auto& id : ids) in_order += id + ' ';
  EXPECT_EQ(
      database.run("relay",
                   "SELECT string_agg(substring(data from 'id.uuid.:.([0-9a-f-]{36})') || ' ', '') "
                   "FROM pg_logical_slot_peek_changes('" +
                       slot + "', NULL, NULL) WHERE data LIKE 'table %'"),
      in_order);
  std::map<std::string, std::string> rows;
  pqxx::connection owner(database.conninfo("owner"));
  pqxx::nontransaction reader(owner);
  for (const auto& row :
       reader.exec("SELECT id, concat(subject, coalesce(key, '-'), headers->>'h', "
                   "coalesce(payload::text, 'bytes' || length(payload_bytes))) FROM outbox.events"))
    rows[row[0].as<std::string>()] = row[1].as<std::string>();
  ASSERT_EQ(rows.size(), ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i)
    EXPECT_EQ(rows[ids[i]], "n." + std::to_string(i) + events[i].key.value_or("-") +
                                (events[i].headers.empty() ? "" : events[i].headers["h"]) +
                                (std::holds_alternative<Json>(events[i].payload) ? std::to_string(i)
                                                                                 : "bytes256"));
}

TEST_F(OutboxLibrary, EmptyBatchEmitsNothing) {
  pqxx::work tx(app);
  EXPECT_TRUE(emit(tx, std::span<const Event>()).empty());
  tx.commit();
  EXPECT_EQ(stored("id"), "");
}

TEST_F(OutboxLibrary, BatchWithOneRefusedEventStoresNone) {
  const std::vector<Event> events = {{.subject = "good", .payload = Json{"1"}},
                                     {.subject = "bad subject", .payload = Json{"2"}}};
  pqxx::work tx(app);
  {
    pqxx::subtransaction part(tx);
    EXPECT_THROW(emit(part, events), pqxx::sql_error);
    part.abort();
  }
  emit(tx, {.subject = "after", .payload = Json{"3"}});
  tx.commit();
  EXPECT_EQ(stored("subject"), "after");
}

TEST_F(OutboxLibrary, EventIsUndoneByTheSubtransactionThatItAloneStandsIn) {
  const std::vector<Event> events = {{.subject = "a", .payload = Json{"1"}}};
  pqxx::work tx(app);
  for (const bool batch : {false, true}) {
    pqxx::subtransaction part(tx);
    if (batch)
      emit(part, events);
    else
      emit(part, events[0]);
    part.abort();
  }
  tx.commit();
  EXPECT_EQ(stored("subject"), "");
}

TEST_F(OutboxLibrary, TextsWithQuotesAndBackslashesStayTexts) {
  const std::string text = R"x(');\\' E'x $$ {"a", NULL} %)x";
  for (const char* setting : {"on", "off"}) {
    pqxx::connection connection(database.conninfo("app"));
    {
      pqxx::nontransaction settings(connection);
      settings.exec(std::string("SET standard_conforming_strings = ") + setting);
    }
    pqxx::work tx(connection);
    const Event event{.subject = "s",
                      .payload = Bytes{every_byte(), text},
                      .key = text,
                      .type = text,
                      .headers = {{"h", text}}};
    emit(tx, event);
    emit(tx, std::vector{event});
    tx.commit();
  }
  EXPECT_EQ(stored("key = type, key = content_type, key = headers->>'h', length(payload_bytes)"),
            "ttt256;ttt256;ttt256;ttt256");
  EXPECT_EQ(database.run("owner", "SELECT string_agg(DISTINCT key, ';') FROM outbox.events"), text);
}

TEST_F(OutboxLibrary, RefusalCarriesSqlstateAndHint) {
  const auto refused = [&](const Event& event) -> std::string {
    pqxx::work tx(app);
    try {
      emit(tx, event);
    } catch (const pqxx::sql_error& error) {
      EXPECT_NE(std::string(error.what()).find("postrider: "), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("HINT:  "), std::string::npos) << error.what();
      return error.sqlstate();
    }
    return "accepted";
  };
  EXPECT_EQ(refused({.subject = "a b", .payload = Json{"{}"}}), "22023");
  EXPECT_EQ(refused({.subject = "s", .payload = Json{"{}"}, .headers = {{"Nats-X", "y"}}}),
            "22023");
  EXPECT_EQ(refused({.subject = "s", .payload = Json{"{}"}, .headers = {{"h", "a\r\nb"}}}),
            "22023");
  EXPECT_EQ(refused({.subject = "s", .payload = Json{"{}"}, .store = Store::kWal}), "55000");
  EXPECT_EQ(refused({.subject = "s", .payload = Bytes{std::vector<std::byte>(1 << 20)}}), "54000");
}

TEST_F(OutboxLibrary, PayloadThatIsNotJsonIsRefused) {
  for (const char* text : {"", "{", "nope"}) {
    pqxx::work tx(app);
    try {
      emit(tx, {.subject = "s", .payload = Json{text}});
      ADD_FAILURE() << text;
    } catch (const pqxx::sql_error& error) {
      EXPECT_EQ(error.sqlstate(), "22P02") << error.what();
    }
  }
}

TEST_F(OutboxLibrary, TextThatPostgresCannotHoldIsRefusedAndTheTransactionGoesOn) {
  using namespace std::string_literals;
  pqxx::work tx(app);
  EXPECT_THROW(emit(tx, {.subject = "a\0b"s, .payload = Json{"{}"}}), std::invalid_argument);
  EXPECT_THROW(emit(tx, {.subject = "a", .payload = Json{"{}\0"s}}), std::invalid_argument);
  EXPECT_THROW(emit(tx, {.subject = "a", .payload = Json{"{}"}, .key = "\0"s}),
               std::invalid_argument);
  EXPECT_THROW(emit(tx, std::vector<Event>{{.subject = "a", .payload = Bytes{{}, "x\0"s}}}),
               std::invalid_argument);
  EXPECT_THROW(emit(tx, {.subject = "a", .payload = Json{"{}"}, .key = "\xff"}),
               std::invalid_argument);
  emit(tx, {.subject = "kept", .payload = Json{"{}"}});
  tx.commit();
  EXPECT_EQ(stored("subject"), "kept");
}

TEST_F(OutboxLibrary, WalStoreLeavesNoRow) {
  database.open_wal_store();
  pqxx::work tx(app);
  const auto ids =
      emit(tx, std::vector<Event>{{.subject = "a", .payload = Json{"{}"}, .store = Store::kWal},
                                  {.subject = "b", .payload = Bytes{}, .store = Store::kWal}});
  tx.commit();
  EXPECT_EQ(ids.size(), 2u);
  EXPECT_EQ(stored("id"), "");
  // 'M' opens a logical message of pgoutput.
  EXPECT_EQ(
      database.run("relay", "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('" +
                                database.options().slot +
                                "', NULL, NULL, 'proto_version', '1', 'publication_names', "
                                "'postrider', 'messages', 'true') WHERE get_byte(data, 0) = 77"),
      "2");
}

}  // namespace
}  // namespace postrider::testing
