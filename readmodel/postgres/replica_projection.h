// Row changes of captured tables into same-named columns of same-named tables: docs/replicas.md.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "readmodel/postgres/replica_tables.h"
#include "readmodel/postgres/replica_writer.h"
#include "readmodel/projection.h"
#include "readmodel/status.h"

namespace postrider {

class ReplicaProjection final : public Projection {
 public:
  explicit ReplicaProjection(replica::Options options);

  [[nodiscard]] std::string name() const override { return "replica"; }
  // Folded by key and written by table. Where a constraint of the target is against that order, the
  // same changes are written one by one as the source did, in the same transaction.
  void apply(pqxx::transaction_base& tx, std::span<const ReceivedEvent> events) override;
  void add_to(ReadModelStatus& status) const override;

 private:
  void collect(pqxx::transaction_base& tx, std::span<const ReceivedEvent> events);
  // False when a table has to be looked at anew: begin again.
  [[nodiscard]] bool collect_from(pqxx::transaction_base& tx,
                                  std::span<const ReceivedEvent> events);
  [[nodiscard]] bool must_keep_order() const;
  // False, with nothing written, when a constraint is against it.
  [[nodiscard]] bool write_folded(pqxx::transaction_base& tx);
  void write_in_order(pqxx::transaction_base& tx);
  void count(const ReplicaWriter& writer);

  ReplicaTables tables_;
  std::vector<BoundChange> changes_;
  replica::RowJson row_;
  std::vector<std::string> unknown_;

  // Attempts that are rolled back count, too.
  std::atomic<std::uint64_t> rows_{0};
  std::atomic<std::uint64_t> missing_{0};
  std::atomic<std::uint64_t> in_order_{0};
};

}  // namespace postrider
