// What must be in the stream, worked out from the committed transactions alone. Shares no code with
// the relay: it writes and reads the documented formats itself.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "postrider/received_event.h"
#include "readmodel/progress/cursor.h"
#include "tests/simulator/model_jetstream.h"
#include "tests/simulator/model_postgres.h"

namespace postrider::sim {

// The settings that decide what is carried, and how.
struct Settings {
  bool message_id = true;
  bool wal_store = false;
  bool captures = false;
  bool cloud_events = false;   // binary mode
  std::size_t part_bytes = 0;  // of a row; 0: not split, and so without captures

  friend bool operator==(const Settings&, const Settings&) = default;
};

class Oracle {
 public:
  Oracle(const ModelPostgres& postgres, const ModelJetStream& broker)
      : postgres_(postgres), broker_(broker) {}

  // What it found wrong first; empty: nothing.
  [[nodiscard]] const std::string& complaint() const { return complaint_; }
  void complain(const std::string& what);

  // A relay wrote its settings into the row: they hold from `from` on, unless they held already.
  void on_settings(const Settings& settings, Lsn from);
  // The server sees a publish, and stores it at `seq` unless that is 0: an ordinal's content never
  // changes, and its sequence is the ordinal, since nobody else publishes.
  void on_publish(const Publish& publish, std::uint64_t seq);
  // The slot is about to be told `confirmed`.
  void on_status(Lsn confirmed);
  // Events that were durable have been destroyed, beyond what the operator stated.
  void on_destruction() { destroyed_ = true; }
  // The source's WAL is another from somewhere on: what it lost was never committed.
  void on_history_changed();
  // Somebody else has published.
  void on_foreign() { foreign_ = true; }
  // A young stream was deleted. Whoever was about to make it makes another under a relay that does
  // not know, and the next session finds messages in a stream that the row does not name.
  void on_deleted() { deleted_ = true; }
  [[nodiscard]] bool deleted() const { return deleted_; }
  [[nodiscard]] bool destroyed() const { return destroyed_; }

  // The halts that the state of both servers calls for. Empty: none, and then none is right.
  [[nodiscard]] std::set<ErrorKind> due();
  // Those that are right, too: what was due when somebody looked may have passed since.
  [[nodiscard]] std::set<ErrorKind> tolerated();
  void note_due();

  // A read model's transaction is about to commit: it moves the cursor over whole source
  // transactions, forward, and holds exactly their events.
  void on_applied(const Cursor& from, const Cursor& to, const std::vector<ReceivedEvent>& events);
  // True when the stream has removed what a read model that stands there needs.
  [[nodiscard]] bool lacks_behind(const Cursor& at) const;
  // True when a read model that stands there may halt so.
  [[nodiscard]] bool may_halt(ErrorKind kind, const Cursor& at) const;

  // How many messages all committed transactions make; `before`: those that commit before it.
  [[nodiscard]] std::uint64_t expected(Lsn before = Lsn{~0ULL});
  // True when the stream holds as many.
  [[nodiscard]] bool complete();
  // Compares the whole stream.
  void check_stream();

 private:
  struct Expected {
    Lsn commit_lsn;
    Publish message;
  };
  struct OpenedEpoch {
    std::uint32_t number = 0;
    std::uint32_t timeline = 1;
    Lsn from;
    Lsn written;  // the end of WAL before the row said so
    Settings settings;
  };
  void extend();
  // True when all of these sequences, though not durable, hold what was stored long ago once
  // before. The relay cannot tell a copy that an older one sent meanwhile: docs/reliability.md.
  [[nodiscard]] bool are_copies(std::uint64_t first, std::uint64_t last) const;
  void begin_again();
  // The first message of the stream from `first` to `last`, inclusive, that is not what is
  // expected there; 0: none. Also where nothing is expected.
  [[nodiscard]] std::uint64_t first_wrong(std::uint64_t first, std::uint64_t last) const;
  void add(const Transaction& transaction);
  // One message, or several where it is split.
  void add_item(const Transaction& transaction, const Change& change, unsigned index, bool last,
                const OpenedEpoch& epoch);
  [[nodiscard]] std::string place_header(const Transaction& transaction,
                                         const std::string& position, std::uint32_t epoch,
                                         bool last) const;

  const ModelPostgres& postgres_;
  const ModelJetStream& broker_;
  std::string complaint_;
  bool destroyed_ = false;
  bool history_changed_ = false;
  bool foreign_ = false;
  bool deleted_ = false;
  std::set<ErrorKind> tolerated_;
  std::vector<OpenedEpoch> epochs_;
  std::vector<Expected> expected_;
  std::size_t known_ = 0;  // transactions in expected_
  std::map<std::uint64_t, std::pair<std::string, std::string>> by_ordinal_;
  std::map<std::uint64_t, Time> first_stored_;  // by ordinal
};

}  // namespace postrider::sim
