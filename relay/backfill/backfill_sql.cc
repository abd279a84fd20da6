#include "relay/backfill/backfill_sql.h"

#include <algorithm>
#include <string_view>

#include "base/failpoint.h"

namespace postrider {
namespace {

// SQLSTATEs. Source: PostgreSQL documentation, "PostgreSQL Error Codes".
constexpr std::string_view kLockNotAvailable = "55P03";
constexpr std::string_view kQueryCanceled = "57014";
constexpr std::string_view kLimitExceeded = "53400";  // by us: temp_file_limit

constexpr int kWholeTableAttempts = 3;
// With those that ended without an answer: each session's end, of the relay's own, is one.
constexpr int kWholeTableBegun = 10;

bool passes_by_itself(std::string_view state) {
  if (state == kLimitExceeded) return false;
  constexpr std::string_view kClasses[] = {"08", "40", "53", "55", "57", "58", ""};
  return std::ranges::any_of(kClasses, [&](std::string_view c) {
    return c.empty() ? state.empty() : state.starts_with(c);
  });
}

std::string first_lines(const char* message) {
  std::string text = message;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Lsn to_lsn(const pqxx::field& field) {
  const auto lsn = Lsn::parse(field.c_str());
  if (!lsn) throw Failure(ErrorKind::kProtocol, std::string("not an LSN: ") + field.c_str());
  return *lsn;
}

std::string setting(const char* name, std::chrono::milliseconds value) {
  return std::string("SET LOCAL ") + name + " = " + std::to_string(value.count());
}

}  // namespace

template <class Body>
auto BackfillSql::transact(Body body) {
  try {
    const SqlWatch::Guard guard(&watch_, source_.connection().sock());
    pqxx::work tx(source_.connection());
    if constexpr (std::is_void_v<decltype(body(tx))>) {
      body(tx);
      tx.commit();
    } else {
      auto value = body(tx);
      tx.commit();
      return value;
    }
  } catch (const pqxx::sql_error& e) {
    if (!passes_by_itself(sql::sqlstate(e))) throw BackfillImpossible(first_lines(e.what()));
    throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  }
}

BackfillSql::BackfillSql(const std::string& conninfo, const std::string& source, SqlWatch& watch,
                         SqlWatch& whole_table)
    : name_(source),
      watch_(watch),
      whole_table_watch_(whole_table),
      source_(conninfo, "postrider backfill " + source, &watch) {
  deadlock_timeout_ = transact([](pqxx::work& tx) {
    return std::chrono::milliseconds(
        tx.exec("SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout'")[0][0]
            .as<std::int64_t>());
  });
}

BackfillOrders BackfillSql::orders() {
  return transact([&](pqxx::work& tx) {
    BackfillOrders orders;
    for (const auto& row :
         sql::exec(tx,
                   "SELECT b.id, coalesce(n.nspname, ''), coalesce(c.relname, ''), b.replaces, "
                   "b.state = 'running', b.workers, b.rows_per_second, coalesce(b.problem, ''), "
                   "b.state = 'failed' FROM outbox.backfill b "
                   "LEFT JOIN pg_class c ON c.oid = b.relid "
                   "LEFT JOIN pg_namespace n ON n.oid = c.relnamespace "
                   "WHERE b.source = $1 AND b.state IN ('waiting', 'running', 'failed') ORDER BY "
                   "b.id",
                   name_)) {
      if (row[8].as<bool>()) {
        ++orders.failed;
        continue;
      }
      BackfillOrder order;
      order.id = row[0].as<std::int64_t>();
      order.schema = row[1].as<std::string>();
      order.table = row[2].as<std::string>();
      order.replaces = row[3].as<bool>();
      order.admitted = row[4].as<bool>();
      order.workers = row[5].as<int>();
      if (!row[6].is_null()) order.rows_per_second = row[6].as<std::uint64_t>();
      order.problem = row[7].as<std::string>();
      orders.active.push_back(std::move(order));
    }
    return orders;
  });
}

bool BackfillSql::is_running(std::int64_t id) {
  return transact([&](pqxx::work& tx) {
    return !sql::exec(tx, "SELECT FROM outbox.backfill WHERE id = $1 AND state = 'running'", id)
                .empty();
  });
}

std::optional<std::chrono::milliseconds> BackfillSql::until_next(
    std::int64_t id, std::chrono::milliseconds longest) {
  return transact([&](pqxx::work& tx) -> std::optional<std::chrono::milliseconds> {
    const auto rows = sql::exec(
        tx,
        "SELECT ceil(extract(epoch FROM min(c.retry_at) - clock_timestamp()) * 1000)::bigint "
        "FROM outbox.backfill b LEFT JOIN outbox.backfill_chunk c ON c.backfill = b.id AND c.rows "
        "IS NULL AND c.retry_at IS NOT NULL WHERE b.id = $1 AND b.state = 'running' GROUP BY b.id",
        id);
    if (rows.empty()) return std::nullopt;
    if (rows[0][0].is_null()) return longest;  // at work elsewhere, or moved and not seen yet
    return std::min(longest, std::chrono::milliseconds(rows[0][0].as<std::int64_t>()));
  });
}

Lsn BackfillSql::wal_end() {
  return transact(
      [&](pqxx::work& tx) { return to_lsn(tx.exec("SELECT pg_current_wal_insert_lsn()")[0][0]); });
}

std::vector<std::pair<std::string, std::string>> BackfillSql::tables_without() {
  return transact([&](pqxx::work& tx) {
    std::vector<std::pair<std::string, std::string>> tables;
    for (const auto& row :
         sql::exec(tx,
                   "SELECT n.nspname, c.relname FROM outbox.checkpoint k "
                   "JOIN pg_publication p ON p.pubname = k.publication || '_capture' "
                   "JOIN pg_publication_rel r ON r.prpubid = p.oid "
                   "JOIN pg_class c ON c.oid = r.prrelid "
                   "JOIN pg_namespace n ON n.oid = c.relnamespace "
                   "WHERE k.source = $1 AND NOT EXISTS (SELECT FROM outbox.backfill b "
                   "WHERE b.source = k.source AND b.relid = c.oid) ORDER BY 1, 2",
                   name_))
      tables.emplace_back(row[0].as<std::string>(), row[1].as<std::string>());
    return tables;
  });
}

bool BackfillSql::order_once(const std::string& schema, const std::string& table) {
  return transact([&](pqxx::work& tx) {
    return !sql::exec(tx,
                      "SELECT outbox.backfill_start($1, format('%I.%I', $2::text, $3::text), "
                      "p_once => true)",
                      name_, schema, table)[0][0]
                .is_null();
  });
}

int BackfillSql::open(std::uint32_t timeline) {
  return transact([&](pqxx::work& tx) {
    return sql::exec(tx, "SELECT outbox.backfill_open($1, $2)", name_, timeline)[0][0].as<int>();
  });
}

bool BackfillSql::admit(std::int64_t id, std::uint32_t timeline) {
  return transact([&](pqxx::work& tx) {
    return sql::exec(tx, "SELECT outbox.backfill_admit($1, $2)", id, timeline)[0][0].as<bool>();
  });
}

bool BackfillSql::plan(std::int64_t id, std::uint64_t rows) {
  return transact([&](pqxx::work& tx) {
    return sql::exec(tx, "SELECT outbox.backfill_plan($1, $2)", id, rows)[0][0].as<bool>();
  });
}

std::optional<int> BackfillSql::begin_whole_table(std::int64_t id) {
  const auto begun = transact([&](pqxx::work& tx) -> std::optional<int> {
    const auto row = sql::exec(tx, "SELECT outbox.backfill_begin($1)", id)[0];
    if (row[0].is_null()) return std::nullopt;
    return row[0].as<int>();
  });
  if (begun && *begun > kWholeTableBegun)
    throw BackfillImpossible(
        "the whole table was begun " + std::to_string(kWholeTableBegun) +
            " times; the last time its connection, the server or the relay ended before it did: "
            "see the server's log",
        /*at_once=*/true);
  return begun;
}

CarriedChunk BackfillSql::carry(std::int64_t id, bool whole_table) {
  const auto attempt = whole_table ? begin_whole_table(id) : std::nullopt;
  if (whole_table && !attempt) return {};
  std::int64_t chunk = 0;
  try {
    const SqlWatch::Guard guard(whole_table ? &whole_table_watch_ : &watch_,
                                source_.connection().sock());
    pqxx::work tx(source_.connection());
    const auto begun = std::chrono::steady_clock::now();
    // 0 would switch them off.
    constexpr std::chrono::milliseconds kLeast{1};
    tx.exec(setting("lock_timeout", std::max(kLeast, deadlock_timeout_ / 4)));
    // A relay that has ended holds up nobody's table.
    tx.exec(setting("client_connection_check_interval", std::chrono::milliseconds{1000}));
    const auto claimed = sql::exec(tx, "SELECT chunk, alone FROM outbox.backfill_claim($1)", id);
    if (claimed.empty()) return {};
    chunk = claimed[0][0].as<std::int64_t>();
    // A whole table's lock, or a single row's, is waited for once and nothing after it: no cycle
    // can form.
    const bool one_lock = whole_table || claimed[0][1].as<bool>();
    tx.exec(setting("statement_timeout", one_lock ? std::chrono::milliseconds{0}
                                                  : std::max(kLeast, deadlock_timeout_ / 2)));
    const auto row =
        sql::exec(tx, "SELECT rows, bytes FROM outbox.backfill_carry($1, $2)", id, chunk)[0];
    CarriedChunk carried{CarriedChunk::Outcome::kCarried, row[0].as<std::uint64_t>(),
                         row[1].as<std::uint64_t>(), std::chrono::steady_clock::now() - begun};
    POSTRIDER_FAILPOINT("backfill.before_commit");
    tx.commit();  // in doubt until it returns: the chunk's row says what became of it
    POSTRIDER_FAILPOINT("backfill.after_commit");
    return carried;
  } catch (const pqxx::sql_error& e) {
    const std::string state = sql::sqlstate(e);
    // A whole table is cancelled by a person, or because nobody wants it any more.
    const bool busy = state == kLockNotAvailable ||
                      (!whole_table && (state == kQueryCanceled || state.starts_with("40"))) ||
                      (whole_table && state == kQueryCanceled && !is_running(id));
    if (!busy && whole_table && (state == kLimitExceeded || *attempt >= kWholeTableAttempts))
      throw BackfillImpossible(first_lines(e.what()), /*at_once=*/true);
    if (!busy && !passes_by_itself(state)) throw BackfillImpossible(first_lines(e.what()));
    if (!busy || chunk == 0) throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  }
  transact(
      [&](pqxx::work& tx) { sql::exec(tx, "SELECT outbox.backfill_busy($1, $2)", id, chunk); });
  return {CarriedChunk::Outcome::kBusy};
}

std::optional<BackfillSql::Done> BackfillSql::done(std::int64_t id) {
  return transact([&](pqxx::work& tx) -> std::optional<Done> {
    const auto rows = sql::exec(tx, "SELECT chunks, lsn FROM outbox.backfill_done($1)", id);
    if (rows.empty()) return std::nullopt;
    return Done{rows[0][0].as<std::int64_t>(), to_lsn(rows[0][1])};
  });
}

bool BackfillSql::complete(std::int64_t id, std::int64_t chunks) {
  return transact([&](pqxx::work& tx) {
    return sql::exec(tx, "SELECT outbox.backfill_complete($1, $2)", id, chunks)[0][0].as<bool>();
  });
}

void BackfillSql::note(std::int64_t id, const std::string& problem, bool failed) {
  transact([&](pqxx::work& tx) {
    sql::exec(tx, "SELECT outbox.backfill_note($1, $2, $3)", id, problem, failed);
  });
}

bool BackfillSql::moved(std::uint32_t table, const std::string& keys_json, std::uint32_t xid) {
  return transact([&](pqxx::work& tx) {
    return sql::exec(tx, "SELECT outbox.backfill_moved($1, $2, $3::jsonb, $4)", name_, table,
                     keys_json, xid)[0][0]
        .as<bool>();
  });
}

void BackfillSql::cancel(std::uint32_t table, const std::string& problem) {
  transact([&](pqxx::work& tx) {
    sql::exec(tx, "SELECT outbox.backfill_lost($1, $2, $3)", name_, table, problem);
  });
}

}  // namespace postrider
