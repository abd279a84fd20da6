#include "readmodel/postgres/parked.h"

#include <algorithm>

#include "base/error.h"
#include "base/postgres/conninfo.h"
#include "base/postgres/sql.h"
#include "readmodel/attempt.h"
#include "readmodel/postgres/translate.h"
#include "readmodel/replica/row_json.h"
#include "readmodel/subject_pattern.h"

namespace postrider {
namespace {

std::unique_ptr<pqxx::connection> connect(const ReadModelOptions& options) {
  return translated([&] {
    auto connection = std::make_unique<pqxx::connection>(
        with_defaults(options.target_conninfo, liveness_defaults()));
    pqxx::nontransaction tx(*connection);
    tx.exec("SET client_min_messages = warning; SET row_security = off; SET lock_timeout = '10s'");
    tx.exec("SET application_name = " + tx.quote("postrider apply --parked " + options.name));
    tx.exec("SET search_path = " + tx.quote_name(options.schema) +
            (options.schema == "public" ? "" : ", public"));
    return connection;
  });
}

// Makes the applier wait, and finds out whether the transaction is parked.
bool lock(pqxx::transaction_base& tx, const std::string& readmodel, std::int64_t ordinal) {
  sql::exec(tx, "SELECT FROM postrider.cursor WHERE readmodel = $1 FOR UPDATE", readmodel);
  return !sql::exec(tx,
                    "SELECT FROM postrider.parked WHERE readmodel = $1 AND first_ordinal = $2 "
                    "FOR UPDATE",
                    readmodel, ordinal)
              .empty();
}

// Its events that `projection` is for, to its function. False when there are none.
bool apply(pqxx::transaction_base& tx, const SqlProjection& projection,
           const std::string& readmodel, std::int64_t ordinal) {
  std::string wanted;
  for (const auto& row :
       sql::exec(tx,
                 "SELECT e.ordinal, e.subject FROM postrider.parked p, unnest(p.events) e "
                 "WHERE p.readmodel = $1 AND p.first_ordinal = $2",
                 readmodel, ordinal))
    if (matches(projection.subjects(), row[1].as<std::string>()))
      wanted += (wanted.empty() ? "" : ",") + row[0].as<std::string>();
  if (wanted.empty()) return false;
  sql::exec(tx,
            "SELECT " + projection.quoted_function(tx) +
                "((SELECT array_agg(e ORDER BY (e).ordinal) FROM (SELECT unnest(events) AS e FROM "
                "postrider.parked WHERE readmodel = $1 AND first_ordinal = $2) s "
                "WHERE (e).ordinal = ANY ($3::bigint[])))",
            readmodel, ordinal, "{" + wanted + "}");
  return true;
}

// Applied behind changes that came later, a row change would undo them.
void refuse_row_changes(pqxx::transaction_base& tx, const replica::Options& replicas,
                        const std::string& readmodel, std::int64_t ordinal) {
  if (replicas.rules.empty()) return;
  for (const auto& row : sql::exec(
           tx,
           "SELECT e.subject, coalesce(e.type, '') FROM postrider.parked p, "
           "unnest(p.events) e WHERE p.readmodel = $1 AND p.first_ordinal = $2 AND e.id IS NULL "
           "AND NOT e.headers ? 'Postrider-Id'",
           readmodel, ordinal)) {
    ReceivedEvent event;
    event.subject = row[0].as<std::string>();
    event.type = row[1].as<std::string>();
    const bool taken = std::ranges::any_of(replicas.rules, [&](const auto& rule) {
      return rule.subjects.empty() || matches(rule.subjects, event.subject);
    });
    if (!taken || !replica::is_row_change(event)) continue;
    throw Failure(
        ErrorKind::kConfiguration,
        "read model " + readmodel + ", parked ordinal " + std::to_string(ordinal) +
            ": it holds row changes of replica tables, which would now overwrite newer rows",
        "`postrider apply skip " + readmodel + " --parked " + std::to_string(ordinal) +
            "`, then bring the tables in line: touch the rows at the source, or backfill; "
            "`postrider verify " +
            readmodel + "` names them");
  }
}

// Out of table parked, into the audit.
void remove(pqxx::transaction_base& tx, const std::string& readmodel, std::int64_t ordinal,
            const std::string& action) {
  sql::exec(tx,
            "WITH gone AS (DELETE FROM postrider.parked WHERE readmodel = $1 AND "
            "first_ordinal = $2 RETURNING *) "
            "INSERT INTO postrider.audit (action, readmodel, first_ordinal, last_ordinal, events, "
            "detail) SELECT $3, readmodel, first_ordinal, last_ordinal, events, "
            "'parked: ' || projection || ': ' || error FROM gone",
            readmodel, ordinal, action);
}

}  // namespace

std::vector<std::uint64_t> parked_ordinals(const ReadModelOptions& options) {
  const auto connection = connect(options);
  return translated([&] {
    pqxx::work tx(*connection);
    std::vector<std::uint64_t> ordinals;
    for (const auto& row : sql::exec(tx,
                                     "SELECT first_ordinal FROM postrider.parked "
                                     "WHERE readmodel = $1 ORDER BY 1",
                                     options.name))
      ordinals.push_back(row[0].as<std::uint64_t>());
    return ordinals;
  });
}

bool retry_parked(const ReadModelOptions& options,
                  std::span<const std::shared_ptr<SqlProjection>> projections,
                  const replica::Options& replicas, std::uint64_t first_ordinal) {
  const auto connection = connect(options);
  const auto ordinal = static_cast<std::int64_t>(first_ordinal);
  bool found = false;
  std::string at = "before its projections";
  const auto refusal = attempt(options.name, at, [&] {
    pqxx::work tx(*connection);
    found = lock(tx, options.name, ordinal);
    if (!found) return;
    refuse_row_changes(tx, replicas, options.name, ordinal);
    bool applied = false;
    for (const auto& projection : projections) {
      at = projection->name();
      if (apply(tx, *projection, options.name, ordinal)) applied = true;
    }
    if (!applied)
      throw Failure(
          ErrorKind::kConfiguration,
          "read model " + options.name + ", parked ordinal " + std::to_string(first_ordinal) +
              ": no [[projection]] of the configuration takes any of its events",
          "it stays parked: give the projection its pattern back; events of a C++ handler "
          "are applied by the service, which finds them in postrider.parked");
    remove(tx, options.name, ordinal, "retry");
    at = "commit";
    tx.commit();
  });
  if (refusal)
    throw Failure(
        ErrorKind::kPoisonEvent,
        "read model " + options.name + ", parked ordinal " + std::to_string(first_ordinal) + ": " +
            refusal->projection + ": " + refusal->error,
        "it stays parked: correct the projection and try again, or `postrider apply skip " +
            options.name + " --parked " + std::to_string(first_ordinal) + "`");
  return found;
}

bool skip_parked(const ReadModelOptions& options, std::uint64_t first_ordinal) {
  const auto connection = connect(options);
  const auto ordinal = static_cast<std::int64_t>(first_ordinal);
  return translated([&] {
    pqxx::work tx(*connection);
    if (!lock(tx, options.name, ordinal)) return false;
    remove(tx, options.name, ordinal, "skip");
    tx.commit();
    return true;
  });
}

}  // namespace postrider
