// Our pgoutput decoder against test_decoding, PostgreSQL's own: the same WAL, of random
// transactions over random tables, read through two slots and brought to test_decoding's text, line
// by line.
//
// With POSTRIDER_RECORD=FOLDER every message is written there as a file: seeds for tests/fuzz.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "relay/wire/bytea.h"
#include "relay/wire/pgoutput.h"
#include "tests/integration/service_database.h"

namespace postrider::testing {
namespace {

using namespace wire;

struct SqlType {
  const char* name;
  std::vector<const char*> values;  // literals
};
const std::vector<SqlType> kTypes = {
    {"integer", {"0", "-7", "2147483647"}},
    {"bigint", {"9223372036854775807", "1"}},
    {"numeric", {"1.50", "'NaN'", "12345678901234567890.0123456789"}},
    {"double precision", {"0.1", "'-Infinity'", "1e300"}},
    {"boolean", {"true", "false"}},
    {"text", {"''", "'it''s'", "E'a\\\\b\\n\\t\"'", "'null'", "repeat('long ', 2000)"}},
    {"bytea", {"'\\x'", "'\\x00ff27'"}},
    {"jsonb", {"'null'", "'{\"a\": [1, \"''x\"]}'"}},
    {"timestamp with time zone",
     {"'2026-01-31 09:10:11.5+05:30'", "'infinity'", "'0044-03-15 BC'"}},
    {"integer[]", {"'{}'", "'{1,NULL,3}'"}},
    {"bit varying", {"B'101'", "B''"}},
    {"\"char\"", {"'x'"}},
};

struct Made {
  std::string name;
  std::vector<const SqlType*> columns;  // behind id
};

// What the random schedule is made of; one seed gives one schedule.
class Workload {
 public:
  explicit Workload(unsigned seed) : random_(seed) {}

  // Statements that make the tables.
  std::string make_tables() {
    std::string sql;
    for (int i = 0; i < 6; ++i) {
      Made table{"t" + std::to_string(i), {}};
      std::string columns = "id integer PRIMARY KEY";
      for (std::size_t c = 0, count = 1 + pick(5); c < count; ++c) {
        table.columns.push_back(&kTypes[pick(kTypes.size())]);
        columns += ", c" + std::to_string(c) + " " + table.columns.back()->name;
      }
      sql += "CREATE TABLE " + table.name + " (" + columns + ");";
      for (std::size_t c = 0; c < table.columns.size(); ++c) sql += store_large(table, c);
      if (i % 3 == 1) sql += "ALTER TABLE " + table.name + " REPLICA IDENTITY FULL;";
      tables_.push_back(std::move(table));
    }
    return sql;
  }
  std::string transaction() {
    std::string sql = "BEGIN;";
    commits_ = pick(8) != 0;
    for (std::size_t i = 0, count = 1 + pick(6); i < count; ++i) sql += step();
    return sql + (commits_ ? "COMMIT;" : "ROLLBACK;");
  }

 private:
  std::size_t pick(std::size_t bound) { return random_() % bound; }
  std::string value(const SqlType& type) {
    if (pick(5) == 0) return "NULL";
    return type.values[pick(type.values.size())];
  }
  std::string id() { return std::to_string(pick(12)); }
  std::string step() {
    Made& table = tables_[pick(tables_.size())];
    switch (pick(16)) {
      case 0:
        return "TRUNCATE " + table.name + (pick(2) == 0 ? " RESTART IDENTITY CASCADE;" : ";");
      case 1:
        return "SELECT pg_logical_emit_message(true, 'p', E'm\\'' || repeat('x', " + id() + "));";
      case 2:
        return "SAVEPOINT s;" + insert(table) + "ROLLBACK TO s;";
      case 3:
        return add_column(table);
      case 4:
      case 5:
        return "DELETE FROM " + table.name + " WHERE id = " + id() + ";";
      case 6:
        return "UPDATE " + table.name + " SET id = id + 100 WHERE id = " + id() + ";";
      case 7:
      case 8:
      case 9: {
        const auto column = pick(table.columns.size());
        return "UPDATE " + table.name + " SET c" + std::to_string(column) + " = " +
               value(*table.columns[column]) + " WHERE id = " + id() + ";";
      }
      default:
        return insert(table);
    }
  }
  std::string insert(const Made& table) {
    std::string values = id();
    for (const auto* type : table.columns) values += ", " + value(*type);
    return "INSERT INTO " + table.name + " VALUES (" + values + ") ON CONFLICT DO NOTHING;";
  }
  std::string add_column(Made& table) {
    if (!commits_ || table.columns.size() > 8) return insert(table);
    const auto name = "c" + std::to_string(table.columns.size());
    const auto* type = &kTypes[pick(kTypes.size())];
    table.columns.push_back(type);
    return "ALTER TABLE " + table.name + " ADD COLUMN " + name + " " + type->name + ";" +
           store_large(table, table.columns.size() - 1);
  }
  // Outside of the row and as it is, so that updates leave it unchanged.
  static std::string store_large(const Made& table, std::size_t column) {
    if (std::string_view(table.columns[column]->name) != "text") return "";
    return "ALTER TABLE " + table.name + " ALTER c" + std::to_string(column) +
           " SET STORAGE EXTERNAL;";
  }

  std::mt19937 random_;
  bool commits_ = true;  // the transaction at hand
  std::vector<Made> tables_;
};

// A decoded message as test_decoding writes it.
class Text {
 public:
  explicit Text(const std::map<std::uint32_t, std::string>& types) : types_(types) {}
  std::vector<std::string> lines;

  void operator()(const Begin& m) { lines.push_back("BEGIN " + std::to_string(xid_ = m.xid)); }
  void operator()(const Commit&) { lines.push_back("COMMIT " + std::to_string(xid_)); }
  void operator()(const Origin&) {}
  void operator()(const Type&) {}
  void operator()(const Relation& m) {
    auto& table = tables_[m.oid];
    table.name = std::string(m.schema) + "." + std::string(m.name);
    table.columns.clear();
    for (const auto& column : m.columns)
      table.columns.emplace_back(column.name, types_.at(column.type));
  }
  void operator()(const Insert& m) {
    lines.push_back(head(m.oid) + ": INSERT:" + row(m.oid, m.row, false));
  }
  void operator()(const Update& m) {
    std::string line = head(m.oid) + ": UPDATE:";
    if (m.old_kind != OldRow::kNone) line += " old-key:" + row(m.oid, m.old, true) + " new-tuple:";
    lines.push_back(line + row(m.oid, m.row, false));
  }
  void operator()(const Delete& m) {
    lines.push_back(head(m.oid) + ": DELETE:" + row(m.oid, m.old, true));
  }
  void operator()(const Truncate& m) {
    std::string line = "table ";
    for (std::size_t i = 0; i < m.oids.size(); ++i)
      line += (i > 0 ? ", " : "") + tables_.at(m.oids[i]).name;
    line += ": TRUNCATE:";
    if (m.restart_identity) line += " restart_seqs";
    if (m.cascade) line += " cascade";
    if (!m.restart_identity && !m.cascade) line += " (no-flags)";
    lines.push_back(line);
  }
  void operator()(const LogicalMessage& m) {
    lines.push_back("message: transactional: " + std::to_string(m.transactional ? 1 : 0) +
                    " prefix: " + std::string(m.prefix) +
                    ", sz: " + std::to_string(m.content.size()) +
                    " content:" + std::string(as_text(m.content)));
  }

 private:
  struct Table {
    std::string name;
    std::vector<std::pair<std::string, std::string>> columns;  // name, type
  };

  std::string head(std::uint32_t oid) const { return "table " + tables_.at(oid).name; }
  std::string row(std::uint32_t oid, const Tuple& values, bool skip_nulls) const {
    const auto& table = tables_.at(oid);
    EXPECT_EQ(values.size(), table.columns.size());
    std::string text;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i].kind == Value::Kind::kNull && skip_nulls) continue;
      const auto& [name, type] = table.columns.at(i);
      text += " " + name + "[" + type + "]:" + value(values[i], type);
    }
    return text;
  }
  static std::string value(const Value& value, const std::string& type) {
    if (value.kind == Value::Kind::kNull) return "null";
    if (value.kind == Value::Kind::kUnchangedToast) return "unchanged-toast-datum";
    const std::string text(value.data);
    if (type == "boolean") return text == "t" ? "true" : "false";
    if (type == "bit varying") return "B'" + text + "'";
    for (const auto* bare : {"integer", "bigint", "numeric", "double precision"})
      if (type == bare) return text;
    std::string quoted = "'";
    for (const char c : text) quoted.append(c == '\'' ? 2 : 1, c);
    return quoted + "'";
  }

  const std::map<std::uint32_t, std::string>& types_;
  std::map<std::uint32_t, Table> tables_;
  std::uint32_t xid_ = 0;
};

// Without transactions in which nothing happened: which of those are told, the two differ in.
std::vector<std::string> without_empty(const std::vector<std::string>& lines) {
  std::vector<std::string> kept;
  for (const auto& line : lines) {
    if (line.starts_with("COMMIT ") && !kept.empty() && kept.back().starts_with("BEGIN "))
      kept.pop_back();
    else
      kept.push_back(line);
  }
  return kept;
}

void record(const std::string& message, std::size_t number) {
  const char* folder = std::getenv("POSTRIDER_RECORD");
  if (folder == nullptr) return;
  std::ofstream(std::string(folder) + "/" + std::to_string(number), std::ios::binary) << message;
}

class Decoding : public ::testing::TestWithParam<unsigned> {
 protected:
  // Both slots cover the same WAL: nothing is written between them.
  void make_slots() {
    run("CREATE PUBLICATION everything FOR ALL TABLES");
    run("SELECT pg_create_logical_replication_slot('ours', 'pgoutput')");
    run("SELECT pg_create_logical_replication_slot('theirs', 'test_decoding')");
  }
  void drop_slots() {
    for (const char* slot : {"ours", "theirs"})
      run(std::string("SELECT pg_drop_replication_slot('") + slot + "')");
  }
  pqxx::result run(const std::string& sql) {
    pqxx::nontransaction tx(connection_);
    return tx.exec(sql);
  }

  std::vector<std::string> theirs() {
    std::vector<std::string> lines;
    for (const auto& row :
         run("SELECT data FROM pg_logical_slot_peek_changes('theirs', NULL, NULL)"))
      lines.push_back(row[0].as<std::string>());
    return without_empty(lines);
  }
  std::vector<std::string> ours() {
    std::map<std::uint32_t, std::string> types;
    for (const auto& row : run("SELECT oid, format_type(oid, NULL) FROM pg_type"))
      types[row[0].as<std::uint32_t>()] = row[1].as<std::string>();
    Text text(types);
    std::size_t number = 0;
    for (const auto& row :
         run("SELECT data::text FROM pg_logical_slot_peek_binary_changes('ours', NULL, NULL, "
             "'proto_version', '1', 'publication_names', 'everything', 'messages', 'true')")) {
      std::string message;
      EXPECT_TRUE(decode_bytea(row[0].as<std::string>(), message));
      record(message, number++);
      const auto decoded = decode_pgoutput(as_bytes(message));
      EXPECT_TRUE(decoded.has_value()) << row[0].c_str();
      if (decoded) std::visit(text, *decoded);
    }
    return without_empty(text.lines);
  }

  ServiceDatabase database_{ServiceDatabase::Migrated::kNo};
  pqxx::connection connection_{database_.conninfo("postgres")};
};

TEST_P(Decoding, IsTheSameAsTestDecodings) {
  run("SET client_encoding = 'UTF8'; SET extra_float_digits = 3; SET TimeZone = 'UTC'");
  Workload workload(GetParam());
  run(workload.make_tables());
  make_slots();
  for (int i = 0; i < 150; ++i) run(workload.transaction());
  const auto expected = theirs();
  EXPECT_GT(expected.size(), 300U);
  EXPECT_EQ(ours(), expected);
  drop_slots();
}

INSTANTIATE_TEST_SUITE_P(Seeds, Decoding, ::testing::Range(1U, 7U));

}  // namespace
}  // namespace postrider::testing
