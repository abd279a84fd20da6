#include "readmodel/verify/query_side.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/error.h"
#include "base/postgres/conninfo.h"

namespace postrider {
namespace {

// Whatever a role or a database sets, the text of a value is the same on both sides.
constexpr const char* kPinnedSettings =
    "SET client_min_messages = warning; SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'; "
    "SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; "
    "SET lc_monetary = 'C'; SET client_encoding = 'UTF8'; SET row_security = off; SET jit = off; "
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
    // A statement that hashes for hours ends soon after the verify that asked for it.
    "SET client_connection_check_interval = '1s'; "
    "SET default_transaction_read_only = on";

// Runs `body`; throws Failure for what libpqxx throws. Only the user's query can be refused.
template <class Body>
auto run(const std::string& what, Body body) {
  try {
    return body();
  } catch (const pqxx::sql_error& e) {
    const std::string state = sql::sqlstate(e);
    const std::string text = what + ": " + e.what();
    if (state == "42501")
      throw Failure(ErrorKind::kNoPermission, text,
                    "GRANT SELECT on what the query reads to the role that verify connects as");
    if (state.starts_with("42") || state.starts_with("22") || state.starts_with("3F"))
      throw Failure(ErrorKind::kConfiguration, text, "correct the query in [[verify]]");
    throw Failure(ErrorKind::kPostgresUnavailable, text);
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, what + ": " + e.what());
  }
}

// On a line of its own, so that a comment at its end ends there.
std::string subquery(std::string query) {
  while (!query.empty() &&
         (query.back() == ';' || std::isspace(static_cast<unsigned char>(query.back())) != 0))
    query.pop_back();
  return "(\n" + query + "\n) AS postrider_row";
}

std::string key_row(pqxx::connection& connection, const std::vector<std::string>& key) {
  std::string columns;
  for (const auto& column : key)
    columns += (columns.empty() ? "" : ", ") + ("postrider_row." + connection.quote_name(column));
  return "ROW(" + columns + ")";
}

// Key, row, and the hashes of their text: k, r, kh, rh. In UTF-8, whatever the database's encoding.
std::string hashed(pqxx::connection& connection, const std::string& query,
                   const std::vector<std::string>& key) {
  const auto hash = [](const std::string& text) {
    return "left(encode(sha256(convert_to(" + text + ", 'UTF8')), 'hex'), 32)";
  };
  // OFFSET 0: each row is hashed once, however often a hash is used further out.
  return "(SELECT k, r, " + hash("k") + " AS kh, " + hash("r") + " AS rh FROM (SELECT " +
         key_row(connection, key) + "::text AS k, postrider_row::text AS r FROM " +
         subquery(query) + ") t OFFSET 0) h";
}

std::string list_of(pqxx::connection& connection, const std::vector<std::string>& ranges) {
  std::string list;
  for (const auto& range : ranges) list += (list.empty() ? "" : ", ") + connection.quote(range);
  return "(" + list + ")";
}

constexpr const char* kCursor = "postrider_rows";
constexpr std::size_t kFetchBytes = 1 << 20;  // of the rows of one FETCH, about
constexpr std::size_t kMostFetched = 500;
constexpr std::size_t kFirstFetched = 4;  // until it is known how wide they are

std::string probe(pqxx::connection& connection, const std::string& query,
                  const std::vector<std::string>& key) {
  return "SELECT " + key_row(connection, key) + " FROM " + subquery(query) + " LIMIT 0";
}

// Of the relations that this transaction has locked: a file other than in its snapshot, or none
// there. pg_relation_filenode() tells of now, pg_class of then. Indexes come and go without harm,
// and partitions come: those of after the snapshot hold nothing that it sees.
constexpr const char* kReplaced =
    "SELECT l.relation::regclass::text FROM pg_catalog.pg_locks l "
    "LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation "
    "WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.database = "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) "
    "AND coalesce(c.relfilenode, 1) <> 0 "
    "AND pg_relation_filenode(l.relation) IS DISTINCT FROM c.relfilenode "
    "AND pg_get_indexdef(l.relation) IS NULL "
    "AND NOT (c.oid IS NULL AND pg_partition_root(l.relation) <> l.relation) ORDER BY 1";

}  // namespace

QuerySide::QuerySide(const std::string& conninfo, std::string what, const std::string& schema)
    : what_(std::move(what)) {
  run(what_, [&] {
    connection_ = std::make_unique<pqxx::connection>(with_defaults(conninfo, liveness_defaults()));
    sql::forbid_reconnecting(*connection_);
    pqxx::nontransaction tx(*connection_);
    tx.exec(kPinnedSettings);
    sql::forbid_transaction_timeout(tx);
    tx.exec("SET application_name = 'postrider verify'");
    if (!schema.empty())
      tx.exec("SET search_path = " + tx.quote_name(schema) +
              (schema == "public" ? "" : ", public"));
  });
}

QuerySide::~QuerySide() = default;

void QuerySide::check(const std::string& query, const std::vector<std::string>& key) {
  run(what_, [&] {
    pqxx::nontransaction tx(*connection_);
    tx.exec(probe(*connection_, query, key));
  });
}

void QuerySide::begin(const std::string& exported_snapshot) {
  run(what_, [&] {
    // Not a pqxx::work: its BEGIN could not say what the snapshot is.
    auto tx = std::make_unique<pqxx::nontransaction>(*connection_);
    tx->exec("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    if (!exported_snapshot.empty())
      tx->exec("SET TRANSACTION SNAPSHOT " + tx->quote(exported_snapshot));
    tx->exec("SELECT 1");
    tx_ = std::move(tx);
  });
}

std::vector<std::string> QuerySide::lock(const std::string& query,
                                         const std::vector<std::string>& key) {
  return run(what_, [&] {
    tx_->exec(probe(*connection_, query, key));
    std::vector<std::string> replaced;
    for (const auto& row : tx_->exec(kReplaced)) replaced.push_back(row[0].as<std::string>());
    return replaced;
  });
}

std::vector<RangeSum> QuerySide::sums(const std::string& query, const std::vector<std::string>& key,
                                      std::size_t digits, const std::vector<std::string>& within) {
  return run(what_, [&] {
    std::string statement = "SELECT left(kh, " + std::to_string(digits) +
                            ") COLLATE \"C\" AS range, count(*), "
                            "sum(('x' || left(rh, 16))::bit(64)::bigint)::text, "
                            "sum(('x' || right(rh, 16))::bit(64)::bigint)::text FROM " +
                            hashed(*connection_, query, key);
    if (!within.empty())
      statement += " WHERE left(kh, " + std::to_string(within.front().size()) + ") IN " +
                   list_of(*connection_, within);
    std::vector<RangeSum> sums;
    for (const auto& row : tx_->exec(statement + " GROUP BY 1 ORDER BY 1"))
      sums.push_back({row[0].as<std::string>(), row[1].as<std::uint64_t>(),
                      row[2].as<std::string>(), row[3].as<std::string>()});
    return sums;
  });
}

NextRow QuerySide::rows(const std::string& query, const std::vector<std::string>& key,
                        const std::vector<std::string>& ranges) {
  run(what_, [&] {
    tx_->exec("CLOSE ALL");  // of rows that were not read to their end
    tx_->exec(std::string("DECLARE ") + kCursor +
              " NO SCROLL CURSOR FOR SELECT kh, rh, k, r, count(*) FROM " +
              hashed(*connection_, query, key) + " WHERE left(kh, " +
              std::to_string(ranges.front().size()) + ") IN " + list_of(*connection_, ranges) +
              " GROUP BY kh, rh, k, r ORDER BY kh COLLATE \"C\", rh COLLATE \"C\"");
  });
  return [this, page = pqxx::result(), at = pqxx::result::size_type{0}, bytes = std::size_t{0},
          ended = false]() mutable -> std::optional<BagRow> {
    if (ended) return std::nullopt;
    if (at == page.size()) {
      const std::size_t count =
          page.empty()
              ? kFirstFetched
              : std::clamp<std::size_t>(kFetchBytes * page.size() / (bytes + 1), 1, kMostFetched);
      page = run(what_,
                 [&] { return tx_->exec("FETCH " + std::to_string(count) + " FROM " + kCursor); });
      at = 0;
      bytes = 0;
    }
    if (page.empty()) {
      ended = true;
      run(what_, [&] { tx_->exec(std::string("CLOSE ") + kCursor); });
      return std::nullopt;
    }
    const auto& row = page[at++];
    bytes += row[2].size() + row[3].size();
    return BagRow{row[0].as<std::string>(), row[1].as<std::string>(), row[2].as<std::string>(),
                  row[3].as<std::string>(), row[4].as<std::uint64_t>()};
  };
}

}  // namespace postrider
