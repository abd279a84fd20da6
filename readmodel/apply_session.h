// One session of a read model: from the cursor on, stream to target database, until something ends
// it. One thread runs it, with one wait point.
//
// A batch is whole source transactions, applied in one target transaction whose first statement
// moves the cursor. An incomplete transaction is never waited for while complete ones are held, and
// never committed; one that is larger than memory is applied in pieces inside an open transaction.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/wake.h"
#include "readmodel/jetstream/stream_feed.h"
#include "readmodel/options.h"
#include "readmodel/postgres/target.h"
#include "readmodel/progress/barrier.h"
#include "readmodel/progress/chain.h"
#include "readmodel/progress/coverage.h"
#include "readmodel/progress/place.h"
#include "readmodel/progress/row_parts.h"
#include "readmodel/projection.h"
#include "readmodel/status.h"

namespace postrider {

using Projections = std::vector<std::shared_ptr<Projection>>;

class ApplySession {
 public:
  struct Control {
    const Wake& wake;  // readable when stop_requested may have changed
    std::function<bool()> stop_requested;
  };

  // `target` holds the read model's lock; `feed` is connected. Both outlive this.
  ApplySession(const ReadModelOptions& options, const Projections& projections, Target& target,
               StreamFeed& feed, Control control, ReadModelBoard& board);
  ~ApplySession();

  // Applies until asked to stop (or until caught up). Throws the Failure that ended the session;
  // kPoisonEvent after the stop has been written.
  void run();
  // True once something was applied.
  [[nodiscard]] bool made_progress() const { return progressed_; }

 private:
  // Source transactions in the order of the stream, and how many of their events are complete.
  struct Pending {
    std::deque<std::size_t> sizes;  // events of each complete transaction
    std::vector<ReceivedEvent> events;
    std::deque<Cursor> ends;  // the cursor after each complete transaction
    std::size_t bytes = 0;
    std::size_t complete = 0;  // events of complete transactions
  };

  void apply_stream();
  // kSessionFenced where another applier has moved the cursor: then this one judges nothing.
  void require_own_cursor();
  // Both wait where they must, and say false when asked to stop meanwhile.
  [[nodiscard]] bool await_decision();
  [[nodiscard]] bool open_stream();
  [[nodiscard]] std::optional<Found> search();
  [[nodiscard]] std::chrono::milliseconds heartbeat_interval() const;
  void wait(std::chrono::milliseconds longest);
  void take_input();
  void apply_pending();
  void apply_batch(std::size_t transactions, std::size_t events);
  // A source transaction, or what is there of one that is larger than memory.
  struct Piece {
    std::span<const ReceivedEvent> events;
    Cursor to;
    bool ends = false;
  };
  [[nodiscard]] Piece next_piece() const;
  void open_or_move(const Piece& piece);
  void finish_piece(const Piece& piece);
  void apply_piece();
  void skip_piece();
  void on_refusal(const Stop& refusal, std::size_t transactions, std::size_t events);
  void park(const Stop& refusal, std::size_t events);
  [[noreturn]] void stop_undone(Stop& refusal, const char* done);
  void look_while_stopped();
  void drop_applied(std::size_t transactions, std::size_t events);
  void note_attempt();
  void note_idle();
  void note_end_of_stream();
  void note_coverage();
  // The barrier that `postrider verify` may have set: looked at every now and then, and whenever a
  // move of the cursor was refused because of it.
  void look_at_barrier();
  void report_barrier_reached();
  void keep_time();
  [[nodiscard]] bool finished() const;
  void note_stream(const wire::StreamInfo& stream);
  void require_beginning();
  [[nodiscard]] bool retention_is_near(const wire::StreamInfo& stream);

  const ReadModelOptions& options_;
  const Projections& projections_;
  Target& target_;
  StreamFeed& feed_;
  Control control_;
  ReadModelBoard& board_;

  Cursor cursor_;  // committed
  std::optional<Chain> chain_;
  RowParts row_parts_;  // at most one row, beside what is pending
  Coverage coverage_;
  Pending pending_;
  std::optional<Barrier> barrier_;             // set by verify; the database enforces it
  bool barrier_reported_ = false;              // that it is reached
  std::optional<Stop> skip_;                   // ordered by a person
  std::uint64_t one_by_one_until_ = 0;         // ordinal: a batch up to there was refused
  std::unique_ptr<Target::Transaction> open_;  // of a transaction larger than memory
  Cursor open_end_;                            // what it has moved the cursor to
  std::uint64_t open_first_ordinal_ = 0;       // of its first event; a hole may stand before it
  std::string open_first_;                     // position of its first event
  std::uint64_t caught_up_seq_ = 0;            // of what there was at the start, the newest

  std::vector<ReceivedEvent> arrived_;
  std::vector<std::string> notices_;
  std::chrono::steady_clock::time_point now_;
  std::chrono::steady_clock::time_point last_statement_;
  std::chrono::steady_clock::time_point last_look_;
  std::uint64_t looked_at_seq_ = 0;  // what had been read at the last look
  std::chrono::steady_clock::time_point last_barrier_look_;
  std::chrono::steady_clock::time_point held_since_;
  bool progressed_ = false;
};

}  // namespace postrider
