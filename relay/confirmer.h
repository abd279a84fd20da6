// Makes a confirmation safe before the slot hears of it: first a leader read proves that the broker
// still holds the message, then the checkpoint row is committed, then the publication is looked at:
// what was committed under another one may never have been decoded, and must not be forgotten. On a
// failover slot the standbys must have the row too: one that is promoted with the newer slot and
// the older row would look like one whose slot somebody moved. All take round trips, so they run on
// a thread of their own, one at a time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/wake.h"
#include "relay/jetstream/client.h"
#include "relay/postgres/source.h"
#include "relay/progress/durability.h"

namespace postrider {

struct Confirmed {
  Lsn confirm_to;
  Mark mark;
  Lsn wal_end;  // the WAL's end after the row's commit: where this confirmation's own WAL lies
                // before
};

class Confirmer {
 public:
  struct Binding {
    std::string source;
    std::int64_t session = 0;
    std::string stream;
    std::string incarnation;
    std::string publication;
    std::string publication_version;
    bool captures = false;               // captured tables are carried
    bool failover = false;               // the slot is one that standbys keep a copy of
    std::uint64_t unreadable_up_to = 0;  // sequences known to be gone at session start
  };

  // Takes over the connection `source`; `client` must outlive this.
  Confirmer(Source source, JetStreamClient& client, Binding binding);
  ~Confirmer();
  Confirmer(const Confirmer&) = delete;
  Confirmer& operator=(const Confirmer&) = delete;

  // True while a confirmation is under way.
  [[nodiscard]] bool busy() const;
  // Starts one; not while busy.
  void submit(const Confirmable& place);
  // Readable when take_result() has something.
  [[nodiscard]] int fd() const { return done_.fd(); }
  // The finished confirmation, if any. Throws the Failure that ended it: kPublishInDoubt when the
  // stream does not show what it acknowledged, kPublicationMissing, kSessionFenced, or a lost
  // connection.
  [[nodiscard]] std::optional<Confirmed> take_result();

 private:
  void run();
  // Nothing when asked to stop.
  std::optional<Confirmed> confirm(const Confirmable& place);
  void prove(const Mark& mark);
  // Waits, for as long as it takes; false when asked to stop.
  [[nodiscard]] bool await_standbys(Lsn row_end);

  Source source_;
  JetStreamClient& client_;
  const Binding binding_;
  Wake done_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Confirmable> job_;
  std::optional<Confirmed> result_;
  std::optional<Error> error_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace postrider
