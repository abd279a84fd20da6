// A model of a PostgreSQL server with one source database: a WAL of committed transactions, the
// checkpoint row as part of that WAL, a logical slot whose confirmed position falls back to what
// was last saved when the server crashes, and walsenders that decode with pgoutput. A crash loses
// what was committed without waiting for the flush, and nothing else.
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

struct Transaction {
  Lsn commit_lsn;  // start of the commit record
  Lsn end_lsn;
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

class ModelPostgres {
 public:
  // `on_status` hears of every confirmed position before the slot takes it.
  explicit ModelPostgres(std::function<void(Lsn)> on_status);

  bool up = true;
  int generation = 1;  // of the server: a connection of an older one is broken

  [[nodiscard]] const std::vector<Transaction>& wal() const { return wal_; }
  [[nodiscard]] Lsn inserted() const { return inserted_; }
  [[nodiscard]] Lsn flushed() const { return flushed_; }
  [[nodiscard]] Lsn slot_confirmed() const { return slot_confirmed_; }
  [[nodiscard]] Walsender* slot_holder() const;
  Checkpoint row;

  // ---- What services do ----
  void commit(std::vector<Change> changes, bool synchronous, Random& random);
  void write_wal(std::uint64_t bytes);  // of no concern to the relay
  // ---- What the relay does ----
  void flush() { flushed_ = inserted_; }
  std::shared_ptr<Walsender> connect();
  // False when somebody else holds the slot.
  [[nodiscard]] bool start(const std::shared_ptr<Walsender>& sender, Lsn from, bool captures,
                           bool messages);
  void status(Walsender& sender, Lsn confirmed, bool reply_requested);
  void terminate(int pid);
  // ---- What happens ----
  // Decodes the next transaction, or says that there is none. False when it has said so already.
  bool decode(Walsender& sender, Random& random);
  void save_slot() { slot_saved_ = slot_confirmed_; }
  void crash();

 private:
  void send_transaction(Walsender& sender, const Transaction& transaction, Random& random);
  void describe(Walsender& sender, int table, Random& random);

  std::function<void(Lsn)> on_status_;
  std::vector<Transaction> wal_;
  Lsn inserted_{0x1000000};
  Lsn flushed_{0x1000000};
  Lsn slot_confirmed_{0x1000000};
  Lsn slot_saved_{0x1000000};
  std::uint32_t next_xid_ = 700;
  std::int64_t clock_us_ = 1'767'225'600'000'000;
  int next_pid_ = 100;
  std::shared_ptr<Walsender> holder_;  // of the slot; may be dead
  std::vector<std::weak_ptr<Walsender>> senders_;
};

}  // namespace postrider::sim
