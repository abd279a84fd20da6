// Which messages of a stream are its source's history, and what of it a repair keeps. Pure.
//
// History is what relays of the source can have published, from the stream's first message on: of
// commits that the source has had, each behind the one before. From the first message that is none
// on, nothing is. Of the history whole transactions are kept, by the operator's word only up to an
// ordinal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/repair/plan.h"
#include "postrider/received_event.h"
#include "relay/progress/timeline_history.h"

namespace postrider {

// What is known before the stream is read.
struct SourceFacts {
  Mark durable;  // the checkpoint row's
  TimelineHistory timelines{1};
  Lsn flushed;                        // no commit begins behind it
  std::vector<std::uint32_t> epochs;  // whose messages may stand behind the durable one
  // By a repair before, with nothing published since: the broker may have lost its deletions.
  std::optional<OrdinalRange> given_up;
  bool lost_front = false;                  // the broker has lost what stood before the first
  std::optional<std::uint64_t> void_after;  // the operator's word
};

struct VoidMessage {
  std::uint64_t seq = 0;
  std::uint64_t ordinal = 0;  // 0: no message of this source's relay
  std::string position;
  std::string subject;
  std::string id;

  friend bool operator==(const VoidMessage&, const VoidMessage&) = default;
};

class StreamHistory {
 public:
  // `stream`: what is known of it unread; default: there is none.
  explicit StreamHistory(SourceFacts source, StreamContent stream = {});

  // Every message that can be read, in the stream's order; what is behind `last_seq` is ignored.
  void take(const ReceivedEvent& event);
  // Once, behind the last.
  void end();

  [[nodiscard]] const StreamContent& content() const { return content_; }
  [[nodiscard]] const std::vector<VoidMessage>& voided() const { return voided_; }
  // Messages that begin a transaction whose end the stream lacks.
  [[nodiscard]] std::uint64_t torn() const { return torn_; }
  // What the broker has lost though it stood behind the durable message, in words; empty: nothing.
  [[nodiscard]] const std::string& gap() const { return gap_; }
  [[nodiscard]] std::uint32_t highest_epoch() const { return highest_epoch_; }
  // The first row change behind the durable message: it has no id to be proven by.
  [[nodiscard]] std::optional<std::uint64_t> first_row_change() const { return row_change_; }

  // The newest ordinal that is surely history, to give up what follows: the end of its last whole
  // transaction, or, where `unproven` is the first ordinal that the source may never have
  // committed, of the last one before that. Nothing: no message can be read that would say it.
  // Never depends on the operator's word.
  [[nodiscard]] std::optional<std::uint64_t> newest_sure(
      std::optional<std::uint64_t> unproven) const;

  // Commit times, in microseconds since 1970-01-01 UTC.
  // Of the oldest message of a relay.
  [[nodiscard]] std::optional<std::int64_t> oldest_us() const { return oldest_us_; }
  // Behind the newest of the messages that are gone though they were published.
  [[nodiscard]] std::optional<std::int64_t> gone_until_us() const { return gone_until_us_; }
  // Of the newest event that is known to have been published into this stream; 0: none.
  [[nodiscard]] std::int64_t newest_published_us() const;

 private:
  void begin_with(const ReceivedEvent& event);
  void take_history(const PositionHeader& place, bool has_id);
  [[nodiscard]] bool is_commit_of_source(const PositionHeader& place) const;
  [[nodiscard]] bool follows(const ReceivedEvent& event);
  [[nodiscard]] bool is_kept(std::uint64_t ordinal) const;

  SourceFacts source_;
  StreamContent content_;
  bool is_over_ = false;                 // what is read now is not history any more
  std::optional<std::uint64_t> newest_;  // where the history's last whole transaction ends
  std::vector<std::uint64_t> ends_;      // of transactions behind the durable message
  std::optional<PositionHeader> previous_;
  std::optional<std::uint64_t> row_change_;
  std::vector<VoidMessage> voided_;
  std::uint64_t torn_ = 0;
  std::string gap_;
  std::uint32_t highest_epoch_ = 0;
  std::uint64_t newest_seq_ = 0;  // that could be read
  std::optional<std::int64_t> oldest_us_;
  std::optional<std::int64_t> gone_until_us_;
  std::int64_t newest_kept_us_ = 0;
};

}  // namespace postrider
