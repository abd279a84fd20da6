#include "readmodel/verify/hold.h"

#include <utility>

#include "base/postgres/conninfo.h"
#include "readmodel/postgres/target.h"
#include "readmodel/postgres/translate.h"

namespace postrider {

Hold::Hold(const std::string& target_conninfo, std::string readmodel,
           std::chrono::milliseconds limit)
    : readmodel_(std::move(readmodel)), limit_(limit) {
  translated([&] {
    connection_ =
        std::make_unique<pqxx::connection>(with_defaults(target_conninfo, liveness_defaults()));
    sql::forbid_reconnecting(*connection_);
    pqxx::nontransaction tx(*connection_);
    const auto ms = [](std::int64_t count) { return "'" + std::to_string(count) + "ms'"; };
    constexpr std::int64_t kMargin = 10'000;
    tx.exec(
        "SET client_min_messages = warning; SET application_name = 'postrider verify'; "
        "SET default_transaction_isolation = 'read committed'; "
        "SET default_transaction_read_only = off; SET row_security = off; SET lock_timeout = " +
        ms(limit_.count()) +
        // Longer than any wait between two statements of ours: then verify itself has stopped.
        "; SET idle_session_timeout = " + ms(2 * limit_.count() + kMargin) +
        // A host that is gone must not hold the read model for hours.
        "; SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; "
        "SET tcp_keepalives_count = 3");
    holder_ = tx.exec("SELECT gen_random_uuid()")[0][0].as<std::string>();
  });
}

Hold::~Hold() = default;

std::optional<std::int64_t> Hold::take() {
  return translated([&]() -> std::optional<std::int64_t> {
    pqxx::nontransaction tx(*connection_);
    sql::exec(tx, "SELECT pg_advisory_lock($1::int, hashtext($2))", kBarrierLockClass, readmodel_);
    held_ = true;
    // Waits for a batch that is being applied; the next one finds the barrier.
    const auto set = sql::exec(
        tx,
        "UPDATE postrider.cursor SET barrier_holder = $2, barrier_timeline = 0, "
        "barrier_lsn = '0/0', barrier_reached = false WHERE readmodel = $1 RETURNING generation",
        readmodel_, holder_);
    if (set.empty()) return std::nullopt;
    return set[0][0].as<std::int64_t>();
  });
}

void Hold::let_run_to(std::uint32_t timeline, Lsn point) {
  translated([&] {
    pqxx::nontransaction tx(*connection_);
    sql::exec(tx,
              "UPDATE postrider.cursor SET barrier_timeline = $3, barrier_lsn = $4::pg_lsn "
              "WHERE readmodel = $1 AND barrier_holder = $2",
              readmodel_, holder_, static_cast<std::int64_t>(timeline), point.to_string());
  });
}

bool Hold::reached() {
  return translated([&] {
    pqxx::nontransaction tx(*connection_);
    return !sql::exec(tx,
                      "SELECT 1 FROM postrider.cursor WHERE readmodel = $1 AND "
                      "barrier_holder = $2 AND barrier_reached",
                      readmodel_, holder_)
                .empty();
  });
}

std::optional<Hold::Obstacle> Hold::obstacle() {
  auto stopped = translated([&]() -> std::optional<Obstacle> {
    pqxx::nontransaction tx(*connection_);
    const auto rows = sql::exec(
        tx, "SELECT projection, position FROM postrider.stopped WHERE readmodel = $1", readmodel_);
    if (rows.empty()) return std::nullopt;
    return Obstacle{"it is stopped at " + rows[0][1].as<std::string>() + ": " +
                        rows[0][0].as<std::string>() +
                        " refuses the transaction there (`postrider apply retry` or `skip`)",
                    false};
  });
  if (stopped) return stopped;
  if (!is_applied_by_somebody(*connection_, readmodel_))
    return Obstacle{"nobody applies it: start `postrider apply`", true};
  return std::nullopt;
}

void Hold::release() {
  if (!std::exchange(held_, false)) return;
  translated([&] {
    pqxx::nontransaction tx(*connection_);
    sql::exec(tx,
              "UPDATE postrider.cursor SET barrier_holder = NULL WHERE readmodel = $1 AND "
              "barrier_holder = $2",
              readmodel_, holder_);
    sql::exec(tx, "SELECT pg_advisory_unlock($1::int, hashtext($2))", kBarrierLockClass,
              readmodel_);
    tx.exec("SET idle_session_timeout = 0");  // nobody waits for us any more
  });
}

std::optional<std::int64_t> Hold::generation() {
  return translated([&]() -> std::optional<std::int64_t> {
    pqxx::nontransaction tx(*connection_);
    const auto rows =
        sql::exec(tx, "SELECT generation FROM postrider.cursor WHERE readmodel = $1", readmodel_);
    if (rows.empty()) return std::nullopt;
    return rows[0][0].as<std::int64_t>();
  });
}

}  // namespace postrider
