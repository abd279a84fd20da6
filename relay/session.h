// One session: from the mark on, WAL to broker, until something ends it.
//
// One thread runs it, with one wait point. Three positions are kept apart: received (what the
// server has sent), published (acknowledged by the broker) and confirmed (what PostgreSQL may
// forget).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/coverage_notice.h"
#include "relay/confirmer.h"
#include "relay/options.h"
#include "relay/progress/announcer.h"
#include "relay/progress/durability.h"
#include "relay/progress/resume.h"
#include "relay/progress/stream_room.h"
#include "relay/progress/window.h"
#include "relay/route/encoder.h"
#include "relay/session_start.h"
#include "relay/status.h"
#include "relay/transaction/assembler.h"
#include "relay/transaction/backfill_reader.h"

namespace postrider {

// What backfills have to hear of the WAL, in its order and before the last event of its commit is
// published: what was heard of a commit that the stream holds a part of is heard again. What it
// throws ends the session.
class BackfillListener {
 public:
  virtual ~BackfillListener() = default;
  virtual void on_started() = 0;
  // By a commit that other sessions of the server may not see yet.
  virtual void on_moved(std::uint32_t xid, const MovedRow& row) = 0;
  // Before the last event of that commit is published, and before the commit counts as heard of.
  virtual void on_moved_all() = 0;
  // All commits before `lsn` have been heard of.
  virtual void on_handled(Lsn lsn) = 0;
  // And the stream holds what they are to bring.
  virtual void on_published(Lsn lsn) = 0;
};

class Session {
 public:
  // What the session is told from outside; checked whenever `wake` is readable.
  struct Control {
    const Wake& wake;
    std::function<bool()> stop_requested;
    std::function<bool()> still_owner;
    // Since when an earlier session has waited for an acknowledgement that never came, if any did:
    // then only an acknowledgement, or nothing left to publish, shows that the broker works again.
    std::optional<SteadyTime> pending_since;
    // What backfills have to hear of the WAL. Called on the session's thread.
    BackfillListener* backfills = nullptr;
  };

  Session(const RelayOptions& options, OpenSession open, Control control, StatusBoard& board);

  // Carries events until asked to stop (or, with until_caught_up, until everything committed before
  // the start is published), and drains. Throws the Failure that ended the session.
  void run();

  // True when everything committed before the start is published and acknowledged.
  [[nodiscard]] bool caught_up() const;

  // The replication connection of a session that has ended, for the relay to keep alive while the
  // broker is away: it holds the slot, and WAL stays where it is.
  [[nodiscard]] std::unique_ptr<ReplicationConnection> release_wal() { return std::move(wal_); }
  [[nodiscard]] Lsn received() const { return received_; }
  [[nodiscard]] Lsn confirmed() const { return durability_.confirmed(); }
  // The newest ordinal that the broker acknowledged or was found to hold.
  [[nodiscard]] std::uint64_t published_ordinal() const { return published_.ordinal; }
  // Since when an acknowledgement has been waited for, also by sessions before this one.
  [[nodiscard]] std::optional<SteadyTime> pending_since() const { return pending_since_; }
  // True once the broker has acknowledged something in this session, or something was confirmed.
  [[nodiscard]] bool made_progress() const { return pipelined_ || confirmed_some_; }
  // True once nothing was left to publish of what had been committed before it.
  [[nodiscard]] bool was_idle() const { return was_idle_; }

 private:
  enum class Phase { kRunning, kDraining };

  void wait();
  [[nodiscard]] bool batch_goes_on();
  [[nodiscard]] milliseconds until_announcement() const;
  void take_answers();
  void take_input();
  void handle(const wire::Keepalive& keepalive);
  void handle(const wire::XLogData& data);
  void handle(const wire::PgOutputMessage& message);
  void handle(const Step& step);
  void warn_of(const wire::Relation& unmatched);
  // Hands over the next change of a message that holds several. False when none is left.
  bool take_change();
  void handle(const TransactionEnd& end, bool event_sent);
  // Publishes the next message of the event at hand, after those that the stream holds.
  void publish_next();
  // True when it was sent, false when the stream holds it, or when room is wanted for it first:
  // then it is to be published again.
  bool publish(const AssembledEvent& message, std::optional<Lsn> commit_end);
  // Counts the room anew, with nothing in flight. Throws when there has been none for long.
  void renew_room();
  [[nodiscard]] Error no_room() const;
  // True with no transaction open, and all of its events published.
  [[nodiscard]] bool between_transactions() const;
  void note_quiescence();
  void note_progress();
  void keep_time();
  void send_status(bool request_reply);
  void send_status_if_due();
  void announce_if_due();
  void confirm_if_due();
  void check_stall();
  void report();

  [[nodiscard]] bool may_read() const;
  [[nodiscard]] bool finished() const;

  const RelayOptions& options_;
  Control control_;
  StatusBoard& board_;

  // Destroyed in reverse: the confirmer uses the client.
  std::unique_ptr<JetStreamClient> client_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<ReplicationConnection> wal_;
  Epochs epochs_;
  TimelineHistory history_;
  Assembler assembler_;
  BackfillReader backfill_reader_;
  Resume resume_;
  Window window_;
  StreamRoom room_;
  Durability durability_;
  Announcer announcer_;
  CoverageNotice notice_;  // what all notices of this session have in common
  Confirmer confirmer_;

  // An event and what follows it, while messages of it are left: a large row has several, and each
  // waits for room.
  struct Left {
    AssembledEvent event;  // views the assembler's, which is not fed meanwhile
    std::uint32_t parts = 1;
    std::uint32_t count = 1;
    std::uint32_t next = 0;
    std::optional<TransactionEnd> end;
  };

  Phase phase_ = Phase::kRunning;
  std::optional<Left> left_;
  SteadyTime now_;
  Message message_;
  std::optional<std::uint64_t> assigned_;  // of the message that room is wanted for
  bool room_wanted_ = false;               // by our own count; nothing is read until it is renewed
  std::optional<SteadyTime> full_since_;   // the stream's count, too, shows no room
  SteadyTime last_room_look_;              // while full
  bool full_said_ = false;
  std::vector<wire::PubAck> answers_;
  bool unsent_ = false;     // published, and not yet handed to the socket
  bool input_left_ = true;  // frames may wait in libpq's buffer
  // What is left of a message that holds several changes. Like frames, they wait for room.
  bool backfill_left_ = false;
  wire::Truncate truncate_left_;
  std::uint32_t xid_ = 0;  // of the transaction at hand
  bool socket_readable_ = true;
  bool pipelined_ = false;  // the first message of the session has been acknowledged
  Lsn received_;
  Lsn told_;  // by the newest keepalive outside a transaction
  Lsn caught_up_target_;
  Mark published_;
  SteadyTime last_answer_;
  std::optional<SteadyTime> pending_since_;
  bool recovering_;  // pending_since_ is an earlier session's, and nothing has moved since
  SteadyTime last_frame_;
  SteadyTime last_status_;
  bool status_owed_ = true;
  bool was_idle_ = false;
  bool confirmed_some_ = false;
  SteadyTime last_confirmation_;
  Mark confirmed_mark_;
  Lsn own_wal_end_;  // end of the WAL that the last confirmation itself wrote; 0 among others'
  std::uint64_t events_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t transactions_ = 0;
  std::uint64_t confirmations_ = 0;
  std::uint64_t recognised_ = 0;  // of what was reported
  std::uint64_t ignored_ = 0;
};

}  // namespace postrider
