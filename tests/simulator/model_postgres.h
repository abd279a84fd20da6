// A model of a PostgreSQL server with one source database: a WAL of committed transactions, the
// checkpoint row as part of that WAL, a logical slot whose confirmed position falls back to what
// was last saved when the server crashes, and walsenders that decode with pgoutput. A crash loses
// what was committed without waiting for the flush, and nothing else. A standby that is promoted
// may lack a tail; a backup that is put back lacks one, and new commits use its LSNs again.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "relay/progress/mark.h"
#include "tests/simulator/random.h"

namespace postrider::sim {

// One change in the WAL. What it holds is a function of `number`.
struct Change {
  enum class Kind : std::uint8_t {
    kOutboxRow,       // by emit
    kOutboxMessage,   // by emit into the `wal` store
    kForeignMessage,  // a transactional logical message of somebody else
    kStrayMessage,    // one that belongs to no transaction
    kInsert,          // of rows of app.items, a captured table
    kUpdate,
    kDelete,
  };
  Kind kind = Kind::kOutboxRow;
  std::uint64_t number = 0;
};

// What emit was given.
struct EmittedEvent {
  std::string id;
  std::string subject;
  std::string key;  // empty: null
  std::string type;
  std::string payload;
  std::string header;  // value of the header "trace"; empty: no headers
};
[[nodiscard]] EmittedEvent event_of(std::uint64_t number);
// The note of a row of app.items; some are long.
[[nodiscard]] std::string note_of(std::uint64_t number);

struct Transaction {
  Lsn commit_lsn;  // start of the commit record
  Lsn end_lsn;
  std::uint32_t timeline = 1;
  std::uint32_t xid = 0;
  std::int64_t commit_time_us = 0;
  std::vector<Change> changes;
};

struct Walsender {
  int pid = 0;
  bool alive = true;
  bool client_gone = false;
  bool streaming = false;
  bool captures = false;  // the publication of captured tables was asked for
  bool messages = false;
  Lsn sent;                        // decoded up to there
  std::set<int> described;         // tables
  std::deque<std::string> frames;  // in the network
  std::deque<std::string> socket;  // arrived at the client
};

// What is on the server's disk.
struct Cluster {
  std::string system_id = "7000000000000000001";
  std::uint32_t timeline = 1;
  std::string forks;  // the history file of the timeline
  std::vector<Transaction> wal;
  Lsn inserted{0x1000000};
  Lsn flushed{0x1000000};
  std::uint32_t next_xid = 700;
  Checkpoint row;
  std::vector<std::pair<Lsn, Checkpoint>> rows;  // as they were, and where the WAL ended then
  std::string publication_version = "1";
  struct Slot {
    bool exists = true;
    bool lost = false;  // invalidated
    Lsn confirmed{0x1000000};
    Lsn saved{0x1000000};
  } slot;
};

class ModelPostgres {
 public:
  // `on_status` hears of every confirmed position before the slot takes it.
  explicit ModelPostgres(std::function<void(Lsn)> on_status);

  bool up = true;
  int generation = 1;  // of the server: a connection of an older one is broken

  [[nodiscard]] const Cluster& disk() const { return disk_; }
  [[nodiscard]] const std::vector<Transaction>& wal() const { return disk_.wal; }
  [[nodiscard]] Lsn inserted() const { return disk_.inserted; }
  [[nodiscard]] Lsn flushed() const { return disk_.flushed; }
  [[nodiscard]] Lsn slot_confirmed() const { return disk_.slot.confirmed; }
  [[nodiscard]] Walsender* slot_holder() const;
  [[nodiscard]] const Checkpoint& row() const { return disk_.row; }

  // ---- What services do ----
  void commit(std::vector<Change> changes, bool synchronous, Random& random);
  void write_wal(std::uint64_t bytes);  // of no concern to the relay
  // ---- What the relay does ----
  void flush() { disk_.flushed = disk_.inserted; }
  // The row as `change` leaves it, committed and flushed.
  template <class Change>
  void write_row(Change change) {
    change(disk_.row);
    write_wal(200);
    disk_.rows.emplace_back(disk_.inserted, disk_.row);
  }
  std::shared_ptr<Walsender> connect();
  // False when somebody else holds the slot, or nobody could.
  [[nodiscard]] bool start(const std::shared_ptr<Walsender>& sender, Lsn from, bool captures,
                           bool messages);
  void status(Walsender& sender, Lsn confirmed, bool reply_requested);
  void terminate(int pid);
  // ---- What happens ----
  // Decodes the next transaction, or says that there is none. False when it has said so already.
  bool decode(Walsender& sender, Random& random);
  void save_slot() { disk_.slot.saved = disk_.slot.confirmed; }
  void crash();

  // ---- Where its history moves back, or the slot is lost: model_postgres_fate.cc ----
  // A crash, and another disk: it stays down.
  void restore(const Cluster& backup, bool with_slot);
  // A standby that has replayed up to `fork`, a place between records, takes over. It holds the
  // slot where that was saved, if at all.
  void promote(Lsn fork, bool with_slot);
  void become_another_system();
  void drop_slot();
  void invalidate_slot();
  void recreate_slot();  // at the end of the WAL
  void make_publication_anew() { disk_.publication_version = "2"; }

 private:
  void close_connections();
  void send_transaction(Walsender& sender, const Transaction& transaction, Random& random);
  void describe(Walsender& sender, int table, Random& random);

  std::function<void(Lsn)> on_status_;
  Cluster disk_;
  std::int64_t clock_us_ = 1'767'225'600'000'000;
  int next_pid_ = 100;
  std::shared_ptr<Walsender> holder_;  // of the slot; may be dead
  std::vector<std::weak_ptr<Walsender>> senders_;
};

}  // namespace postrider::sim
