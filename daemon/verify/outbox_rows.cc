#include "daemon/verify/outbox_rows.h"

#include "base/error.h"
#include "base/postgres/conninfo.h"
#include "base/wal_page.h"

namespace postrider {
namespace {

constexpr int kFetch = 5000;

// cmin is the number of the statement that inserted a row, within its top transaction: it stays
// with the row, also when that is frozen. Subject and payload as the relay carries them.
constexpr const char* kRows =
    "SELECT id, xid::text, cmin::text, (extract(epoch FROM created_at) * 1000000)::bigint, "
    "left(encode(sha256(convert_to(subject, 'UTF8') || '\\x0a' || "
    "coalesce(payload_bytes, convert_to(payload::text, 'UTF8'))), 'hex'), 32) FROM outbox.events";

template <class Body>
auto run(Body body) {
  try {
    return body();
  } catch (const pqxx::sql_error& e) {
    if (sql::sqlstate(e) == "42501")
      throw Failure(ErrorKind::kNoPermission, e.what(),
                    "the role must be a member of postrider_relay");
    throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  }
}

}  // namespace

OutboxRows::OutboxRows(const std::string& conninfo, const std::string& exported) {
  run([&] {
    connection_ = std::make_unique<pqxx::connection>(with_defaults(conninfo, liveness_defaults()));
    sql::forbid_reconnecting(*connection_);
    auto tx = std::make_unique<pqxx::nontransaction>(*connection_);
    tx->exec(
        "SET application_name = 'postrider verify'; SET client_min_messages = warning; "
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
        "SET client_connection_check_interval = '1s'; "  // a sort of all rows ends with us
        "SET row_security = off; SET client_encoding = 'UTF8'; SET bytea_output = 'hex'; "
        "SET default_transaction_read_only = on");
    sql::forbid_transaction_timeout(*tx);
    tx->exec("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    if (!exported.empty()) tx->exec("SET TRANSACTION SNAPSHOT " + tx->quote(exported));
    tx->exec("SELECT 1");  // takes the snapshot: what it shows has written its commit record
    const auto row = tx->exec(
        "SELECT lsn, ('x' || left(pg_walfile_name(lsn), 8))::bit(32)::bigint "
        "FROM pg_current_wal_insert_lsn() lsn");
    place_ = reachable(Lsn::parse(row[0][0].c_str()).value_or(Lsn{}));
    timeline_ = row[0][1].as<std::uint32_t>();
    tx->exec(std::string("DECLARE postrider_rows NO SCROLL CURSOR FOR ") + kRows);
    tx_ = std::move(tx);
  });
}

OutboxRows::~OutboxRows() = default;

bool OutboxRows::next(std::vector<OutboxRow>& rows) {
  return run([&] {
    rows.clear();
    const auto page = tx_->exec("FETCH " + std::to_string(kFetch) + " FROM postrider_rows");
    for (const auto& row : page) {
      OutboxRow read{};
      const auto id = parse_digest(row[0].c_str());
      const auto content = parse_digest(row[4].c_str());
      if (!id || !content) throw Failure(ErrorKind::kInternal, "outbox.events: an unreadable row");
      read.id = *id;
      read.content = *content;
      read.xid = row[1].as<std::uint64_t>();
      read.command = row[2].as<std::uint64_t>();
      read.created_us = row[3].as<std::int64_t>();
      rows.push_back(read);
    }
    if (page.empty()) tx_->exec("COMMIT");  // hold back no vacuum longer than needed
    return !page.empty();
  });
}

std::optional<Lsn> OutboxRows::confirmed(const std::string& slot) {
  return run([&]() -> std::optional<Lsn> {
    const auto rows = sql::exec(
        *tx_, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $1", slot);
    if (rows.empty() || rows[0][0].is_null()) return std::nullopt;
    return Lsn::parse(rows[0][0].c_str());
  });
}

OutboxRows::Durable OutboxRows::durable(const std::string& source) {
  return run([&]() -> Durable {
    const auto rows = sql::exec(
        *tx_, "SELECT coalesce(incarnation, ''), seq FROM outbox.checkpoint WHERE source = $1",
        source);
    if (rows.empty()) return {};
    return {rows[0][0].as<std::string>(), rows[0][1].as<std::uint64_t>()};
  });
}

}  // namespace postrider
