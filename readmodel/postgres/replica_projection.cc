#include "readmodel/postgres/replica_projection.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/error.h"

namespace postrider {
namespace {

using replica::Op;

// Whatever a role or a database sets, a literal is read as the relay wrote it. What can wait until
// the commit waits: there the rows are those of a commit of the source.
constexpr const char* kSettings =
    "SET LOCAL standard_conforming_strings = on; SET LOCAL IntervalStyle = 'postgres'; "
    "SET LOCAL DateStyle = 'ISO, MDY'; SET LOCAL lc_monetary = 'C'; "
    "SET LOCAL xmloption = 'content'; SET LOCAL array_nulls = on; "
    "SET CONSTRAINTS ALL DEFERRED";

std::string place_of(const ReceivedEvent& event) {
  return "ordinal " + std::to_string(event.place.ordinal) + ", " + event.subject + ": ";
}

bool is_constraint_violation(const pqxx::sql_error& e) {
  return sql::sqlstate(e).starts_with("23");
}

}  // namespace

ReplicaProjection::ReplicaProjection(replica::Options options) : tables_(std::move(options)) {}

void ReplicaProjection::apply(pqxx::transaction_base& tx,
                              std::span<const ReceivedEvent> events) try {
  collect(tx, events);
  if (changes_.empty()) return;
  tx.exec(kSettings);
  if (must_keep_order() || !write_folded(tx)) write_in_order(tx);
  // What was made is undone if the transaction is.
  if (tables_.altered()) tables_.forget();
} catch (...) {
  tables_.forget();
  throw;
}

void ReplicaProjection::collect(pqxx::transaction_base& tx, std::span<const ReceivedEvent> events) {
  while (!collect_from(tx, events)) {
  }
}

bool ReplicaProjection::collect_from(pqxx::transaction_base& tx,
                                     std::span<const ReceivedEvent> events) {
  changes_.clear();
  for (const auto& event : events) {
    if (!replica::is_row_change(event) || !tables_.takes_subject(event.subject)) continue;
    if (replica::is_debezium(event))
      throw Failure(ErrorKind::kReplicaTable,
                    place_of(event) + "a row change in Debezium's envelope",
                    "it does not hold every value exactly: set capture.format = \"postrider\", or "
                    "narrow replica.subjects");
    if (const auto parsed = replica::parse_row_json(event.payload, row_); !parsed)
      throw std::runtime_error(place_of(event) + parsed.error().context);
    ReplicaTable* table = tables_.find(tx, row_, event.subject);
    if (table == nullptr) continue;
    BoundChange& bound = changes_.emplace_back();
    bound.table = table;
    auto decoded = table->decoder.decode(row_, bound.change, unknown_);
    if (decoded && unknown_.empty() && event.key)
      decoded = table->decoder.check_key(row_, *event.key);
    if (!decoded) {
      Error error = std::move(decoded.error());
      error.context = place_of(event) + error.context;
      if (error.kind == ErrorKind::kReplicaTable) throw Failure(std::move(error));
      throw std::runtime_error(error.context);
    }
    if (unknown_.empty()) continue;
    tables_.extend(tx, *table, unknown_);
    return false;
  }
  return true;
}

// A foreign key that deletes or changes rows by itself must see the rows that the source's saw.
bool ReplicaProjection::must_keep_order() const {
  return std::ranges::any_of(changes_, [](const BoundChange& bound) {
    return bound.table->target.deletes_act &&
           (bound.change.op == Op::kDelete || bound.change.op == Op::kTruncate);
  });
}

bool ReplicaProjection::write_folded(pqxx::transaction_base& tx) {
  try {
    pqxx::subtransaction savepoint(dynamic_cast<pqxx::dbtransaction&>(tx), "postrider_replica");
    ReplicaWriter writer(savepoint);
    writer.write_folded(changes_);
    savepoint.commit();
    count(writer);
    return true;
  } catch (const pqxx::sql_error& e) {
    if (!is_constraint_violation(e)) throw;
    for (const auto& [table, change] : changes_) (void)table->fold.take();
    return false;
  }
}

void ReplicaProjection::write_in_order(pqxx::transaction_base& tx) {
  ReplicaWriter writer(tx);
  writer.write_in_order(changes_);
  count(writer);
  ++in_order_;
}

void ReplicaProjection::count(const ReplicaWriter& writer) {
  rows_ += writer.rows();
  missing_ += writer.missing();
}

void ReplicaProjection::add_to(ReadModelStatus& status) const {
  status.replica_rows_total += rows_;
  status.replica_missing_total += missing_;
  status.replica_in_order_total += in_order_;
}

}  // namespace postrider
