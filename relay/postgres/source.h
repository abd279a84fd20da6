// The source database by ordinary SQL: the advisory lock that makes one relay the owner, the
// checkpoint row, and what a session start wants to know. Functions of the schema do the writing;
// the relay's role may not touch the tables (migrations/service).
//
// A Source is one connection and not thread-safe. Every call may throw Failure:
// kPostgresUnavailable when the connection broke (the outcome of a write is then in doubt; a new
// session reads the row again), kNoPermission, or what the call itself names. After
// kPostgresUnavailable the object is only good for destruction.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/postgres/sql.h"
#include "base/postgres/sql_watch.h"
#include "postrider/lsn.h"
#include "relay/progress/decision.h"
#include "relay/progress/durability.h"
#include "relay/progress/mark.h"

namespace postrider {

struct SlotState {
  SlotFacts facts;
  std::optional<int> active_pid;
  bool failover = false;  // standbys keep a copy of it (PostgreSQL 17)
  Lsn restart_lsn;
  std::string wal_status;           // as pg_replication_slots says
  std::int64_t retained_bytes = 0;  // WAL kept for the slot
  // Every transaction with a lower id, epoch included, had ended before what is confirmed: the slot
  // sends nothing of it any more.
  std::uint64_t passed_xid = 0;
};

struct LockHolder {
  int pid = 0;
  std::string state;  // of pg_stat_activity; empty when not visible to this role
  std::string changed;                    // when it last changed that state, as the server's text
  std::chrono::milliseconds idle_for{0};  // since then, by the server's clock
  std::string application;
  std::string client;
  std::string role;   // "?" when not visible
  bool ours = false;  // the same role, which we may therefore end
};

// The relay's replication connection as the server sees it.
struct WalSender {
  int pid = 0;
  std::string application;
  std::string client;
  // What the relay reported as received. The server shows it only to members of
  // pg_read_all_stats.
  std::optional<Lsn> received;
};

// A publication as the catalog shows it now.
struct PublicationState {
  std::string name;
  std::string version;  // another one after any change, also one that was taken back; empty: none
  std::string problem;  // why some events would not be decoded; empty: all would be
};
// Throws kPublicationMissing, with the remedy, unless it selects every event and is the very one
// that `row` was written with: what was committed under any other may be missing from the WAL's
// decoding.
void require_publication(const PublicationState& publication, const std::string& expected_version);

// Throws kPublicationMissing, with the remedy, unless `problem` is empty; it is what
// Source::capture_problem found.
void require_capture(const std::string& publication, const std::string& problem);

// Throws kConfiguration unless these are the names that the source was initialised with: another
// source's slot would be taken from its relay and confirmed for events that nobody carried.
void require_binding(const Checkpoint& row, const std::string& slot,
                     const std::string& publication);

class Source {
 public:
  // Connects with the role's own settings neutralised and a bound on every statement. `watch`
  // bounds what the server does not, and must outlive this.
  Source(const std::string& conninfo, const std::string& application_name,
         SqlWatch* watch = nullptr);
  ~Source();
  Source(Source&&) noexcept;
  Source& operator=(Source&&) noexcept;

  [[nodiscard]] int server_version();
  // Throws kSchemaVersion, with the remedy, unless the schema is the one that this binary knows.
  void require_schema(int known_version);

  // Ownership of the source `name`: a session-level advisory lock, held until this connection ends.
  [[nodiscard]] bool try_lock(const std::string& name);
  [[nodiscard]] std::optional<LockHolder> lock_holder(const std::string& name);
  // Of the server's process at the other end, as the server numbers it.
  [[nodiscard]] int backend_pid();
  // A statement with no effect: its time is what another relay judges this one's life by.
  void heartbeat();
  // Ends a backend of the same role. False when it is gone already or not ours.
  bool terminate(int pid);

  // Ends backends of this name whose client is gone and whose COMMIT still waits for synchronous
  // replication: they hold the checkpoint row's lock. Their commits stand. Returns how many.
  int end_stuck_commits();

  // Raises the session number, synchronously committed, and returns the row. Every WAL record
  // before it is then flushed. kNotInitialised when the source has no initialised row.
  [[nodiscard]] Checkpoint open_session(const std::string& name);
  // Reads the row and changes nothing; nothing when there is none.
  [[nodiscard]] std::optional<Checkpoint> read_checkpoint(const std::string& name);
  [[nodiscard]] SlotState slot(const std::string& slot_name);
  // False while somebody uses it. Only a repair and `migrate down` drop one.
  [[nodiscard]] bool drop_slot(const std::string& slot_name);
  [[nodiscard]] PublicationState publication(const std::string& name);
  // Why changes of captured tables may be missing in the WAL's decoding; empty: they are not.
  [[nodiscard]] std::string capture_problem(const std::string& name);
  [[nodiscard]] Lsn insert_lsn();
  [[nodiscard]] Lsn flush_lsn();
  // The slots in the server's synchronized_standby_slots, separated by commas, that have not
  // received the WAL up to `lsn`, or do not exist; empty: none, or the server knows no such
  // setting. A failover slot's walsender waits for the same ones before it sends an event.
  [[nodiscard]] std::string standbys_behind(Lsn lsn);

  // Who streams from the slot, if anybody.
  [[nodiscard]] std::optional<WalSender> wal_sender(const std::string& slot_name);

  // Writes of the row, fenced by the session number: each throws kSessionFenced when a newer
  // session exists.
  void bind_stream(const std::string& name, std::int64_t session, const std::string& incarnation,
                   std::uint64_t seq);
  // Nothing: the stream no longer reaches the sequence noted.
  void note_foreign(const std::string& name, std::int64_t session,
                    std::optional<std::uint64_t> seq);
  void set_epochs(const std::string& name, std::int64_t session, const std::string& epochs_json,
                  bool wal_store);
  // Returns the end of the flushed WAL after the commit: the row lies before it, with at most WAL
  // of others.
  Lsn checkpoint(const std::string& name, std::int64_t session, const Confirmable& place);

  // Housekeeping of the outbox: partitions ahead, durable old ones dropped. Returns what it did, as
  // JSON.
  std::string maintain();

  // The underlying connection, for `postrider check` and `status`.
  [[nodiscard]] pqxx::connection& connection() { return *connection_; }

 private:
  std::unique_ptr<pqxx::connection> connection_;
  SqlWatch* watch_;
};

}  // namespace postrider
