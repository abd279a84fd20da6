// The target database of one read model: the lock that makes one process its applier, the cursor,
// and transactions that apply and move it together. Everything goes over one connection, so that
// whoever loses the lock also loses what it was writing.
//
// Not thread-safe. Calls throw Failure: kPostgresUnavailable when the connection broke or the
// database cannot work now (a commit is then in doubt; the next session reads the cursor),
// kNoPermission, kSchemaVersion, kSessionFenced when another applier has moved the cursor. After
// any but kSessionFenced the object is only good for destruction.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/coverage_notice.h"
#include "base/error.h"
#include "base/postgres/holder_life.h"
#include "base/postgres/sql.h"
#include "postrider/received_event.h"
#include "readmodel/progress/barrier.h"
#include "readmodel/progress/cursor.h"

namespace postrider {

// First halves of our advisory locks' two-part keys; the second is hashtext(read model).
inline constexpr int kApplierLockClass = 0x7061;  // "pa": held by the one who applies
inline constexpr int kBarrierLockClass = 0x7076;  // "pv": held while a verify's barrier stands

struct TargetOptions {
  std::string conninfo;
  std::string readmodel;
  std::string source;
  std::string stream;
  std::string schema;  // first in the search_path of its projections
};

// Why a read model waits for a person.
struct Stop {
  std::uint64_t first_ordinal = 0;
  std::uint64_t last_ordinal = 0;  // 0: not known, the transaction was not read to its end
  std::string position;
  std::string projection;
  std::string sqlstate;
  std::string error;
  std::string decision;  // "", "retry" or "skip"
  std::string decided_by;
};

// Thrown by what moves the cursor where `postrider verify` does not want it now. Nothing has
// happened; the target is as good as before, and the same move may succeed later.
class BarrierHit : public Failure {
 public:
  using Failure::Failure;
};

class Target {
 public:
  explicit Target(TargetOptions options);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  // Throws kSchemaVersion, with the remedy, unless schema postrider is the one this binary knows.
  void require_schema(int known_version);

  // The session-level advisory lock of the read model, held until the connection ends.
  [[nodiscard]] bool try_lock();
  // Ends the backend that holds the lock if it has done nothing for `idle`, by the server's clock
  // or as seen from here: its process is paused or its host is gone. True when it ended one.
  bool end_dead_holder(std::chrono::milliseconds idle);
  // A statement with no effect: its time is what another applier judges this one's life by.
  void heartbeat();

  // The connection that holds the lock, for setup and rebuild; in no transaction between calls.
  [[nodiscard]] pqxx::connection& connection() { return *connection_; }

  // The cursor, whose row is made when missing. kConfiguration when the row is another source's.
  [[nodiscard]] Cursor open();
  [[nodiscard]] std::optional<Stop> stop();
  // kSessionFenced unless the cursor still is at `at`: an applier that was overtaken judges
  // nothing.
  void write_stop(const Stop& stop, const Cursor& at);
  // Carries `retry` out: an audit row, and the stop is gone.
  void clear_stop(const Stop& stop);
  // Of an order that is void: nothing was done, and nothing is to be audited.
  void drop_stop();

  // The barrier that a living verify has set. One whose setter is gone is taken away.
  [[nodiscard]] std::optional<Barrier> barrier();
  // Tells the one who set it that everything before it is applied.
  void report_reached(const Barrier& barrier);

  // One transaction. Destroyed without commit() it is rolled back.
  class Transaction {
   public:
    // Its first statement moves the cursor from `from`, the newest known, to `to`.
    Transaction(Target& target, const Cursor& from, const Cursor& to);
    ~Transaction();
    // Moves the cursor on: for a source transaction that is applied in several pieces.
    void move(const Cursor& from, const Cursor& to);
    void note_coverage(const CoverageNotice& notice);
    // Sets the events aside; with `action` "skip" the audit row keeps them, else table parked does.
    // What the database refuses is thrown as by commit().
    void set_aside(const Stop& stop, std::span<const ReceivedEvent> events, const char* action);
    void heartbeat();
    // What the database refuses here (a deferred constraint) is thrown as pqxx::sql_error, for
    // attempt() to judge; outside of it settle() throws Failure like everything else.
    void commit();
    void settle();
    [[nodiscard]] pqxx::transaction_base& sql();

   private:
    Target& target_;
    std::unique_ptr<pqxx::work> tx_;
  };

  // Writes what the cursor has covered, outside of any batch.
  void note_coverage(const CoverageNotice& notice);

 private:
  [[nodiscard]] Failure fenced(const Cursor& from) const;

  TargetOptions options_;
  std::unique_ptr<pqxx::connection> connection_;
  std::int64_t generation_ = 0;  // of the tables that open() found
  HolderLife holder_life_;       // of who applies it, while that is not us
};

// True when a process holds the applier's lock of that read model. In a transaction of its own.
[[nodiscard]] bool is_applied_by_somebody(pqxx::connection& connection,
                                          const std::string& readmodel);

}  // namespace postrider
