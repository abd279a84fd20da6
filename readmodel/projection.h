// What turns events into a read model's rows: SQL functions (postgres/sql_projection.h) or a
// handler of a C++ service (postrider/consumer.h).
#pragma once

#include <pqxx/pqxx>
#include <span>
#include <string>

#include "postrider/received_event.h"

namespace postrider {

struct ReadModelStatus;

class Projection {
 public:
  virtual ~Projection() = default;
  Projection() = default;
  Projection(const Projection&) = delete;
  Projection& operator=(const Projection&) = delete;

  // What people call it.
  [[nodiscard]] virtual std::string name() const = 0;
  // Takes part in `tx`, which also moves the cursor, and leaves committing to the caller. `events`
  // are in commit order, of whole source transactions where they fit into memory; those that do not
  // concern it are passed over. Throws what libpqxx throws: the transaction is rolled back.
  virtual void apply(pqxx::transaction_base& tx, std::span<const ReceivedEvent> events) = 0;
  // Adds what it has counted, from any thread.
  virtual void add_to(ReadModelStatus&) const {}
};

}  // namespace postrider
