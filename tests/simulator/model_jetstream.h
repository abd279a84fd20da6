// A model of nats-server with one JetStream stream, with the habits that were measured on real
// ones: it acknowledges before it has synced, and a crash cuts off what was not synced, whose
// sequences are then used again; answers get lost, late, doubled and reordered; what a client sent
// may arrive after the client has gone; a message may be called a duplicate that is not stored; a
// reader may be shown a state that is past. It has fast-ingest batches as a single nats-server 2.15
// has them.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/jetstream/mailbox.h"
#include "relay/wire/pub_ack.h"
#include "tests/simulator/random.h"

namespace postrider::sim {

using Time = std::chrono::steady_clock::time_point;

// To a publisher, on the reply subject of one of its messages.
struct Said {
  std::string reply;
  std::string text;  // empty: nobody listens
};

struct Publish {
  std::string subject;
  std::string reply;
  std::string headers;  // "NATS/1.0\r\nName: value\r\n...\r\n", as STREAM.MSG.GET shows them
  std::string payload;
  std::string message_id;                      // empty: none
  std::optional<std::uint64_t> expected_last;  // nothing: the sender did not care
};

struct Stored {
  Publish message;
  std::uint64_t seq = 0;
  Time at;
  bool gone = false;  // aged out or deleted
};

class ModelJetStream {
 public:
  struct Connection {
    bool alive = true;  // false: closed by either side
    bool client_gone = false;
    std::deque<Publish> sent;           // by the client, not yet seen by the server
    std::deque<Said> answers;           // by the server, not yet seen by the client
    std::shared_ptr<ErrorBox> mailbox;  // of one that publishes: a Mailbox<Said>
    // What the requests of this connection are shown at most: a replica that lags answers them.
    std::optional<std::uint64_t> stale_last;
  };
  struct Stream {
    std::string created;
    Time created_at;
    std::vector<Stored> messages;  // sequence 1 on, without holes; lost ones are cut off the end
    std::uint64_t first_seq = 1;
    std::map<std::string, std::pair<std::uint64_t, Time>> ids;  // the duplicate window
    [[nodiscard]] std::uint64_t last_seq() const { return messages.size(); }
  };

  // `now` is read, never written. `on_publish` hears of every publish that the server sees, and at
  // which sequence it was stored; 0: it was not.
  ModelJetStream(const Time& now, std::function<void(const Publish&, std::uint64_t)> on_publish);

  bool up = true;
  std::chrono::milliseconds sync_interval{2000};
  std::chrono::milliseconds duplicate_window{300};
  bool fast_ingest = false;      // the stream allows batches
  bool duplicates_first = true;  // looks for duplicates before it compares the expected sequence
  int false_duplicates = 0;      // so many publishes from now on are called duplicates, and dropped
  int refusals = 0;              // so many are refused
  std::uint64_t stale_by = 0;    // the next connection sees a past that lacks so many messages

  [[nodiscard]] const std::optional<Stream>& stream() const { return stream_; }
  // The highest sequence that a crash now cannot cut off.
  [[nodiscard]] std::uint64_t durable_seq() const;
  // True when what was stored then is synced by now.
  [[nodiscard]] bool is_old(Time stored) const { return stored + sync_interval <= now_; }
  [[nodiscard]] const std::vector<std::shared_ptr<Connection>>& connections() const {
    return connections_;
  }

  // ---- What clients do ----
  std::shared_ptr<Connection> connect(std::shared_ptr<ErrorBox> mailbox);
  void create_stream();
  [[nodiscard]] std::uint64_t last_seq_for(const Connection& connection) const;
  [[nodiscard]] const Stored* find(const Connection& connection, std::uint64_t seq) const;

  // ---- What happens ----
  // Takes up to `count` of what a client sent. False when there was nothing.
  bool process(Connection& connection, std::uint64_t count);
  bool deliver(Connection& connection, std::uint64_t count);
  // Connections of clients that have gone, and of which nothing is left.
  void forget_closed();
  void sync();
  // Power loss of the whole: down, and the stream ends at `keep`, or is gone.
  void crash(std::uint64_t keep, bool whole_stream);
  // A new leader that lacks what is behind `keep`, and knows its message ids all the same;
  // connections stay.
  void elect(std::uint64_t keep);
  void disconnect(Connection& connection);
  void delete_stream();
  // Removes messages up to `seq` by age, as far as they are durable.
  void expire(std::uint64_t seq);
  void remove(std::uint64_t seq);
  // Somebody who is no relay publishes `message`.
  void publish_foreign(const Publish& message);

 private:
  void cut(std::uint64_t keep);
  struct Batch {
    std::uint64_t messages = 0;  // taken, whether stored or not
    std::uint64_t seq = 0;       // of the newest that was stored
  };
  std::string answer(const Publish& publish);
  std::vector<std::string> answer_in_batch(const Publish& publish);
  void forget_ids();

  const Time& now_;
  std::function<void(const Publish&, std::uint64_t)> on_publish_;
  std::optional<Stream> stream_;
  std::uint64_t synced_ = 0;  // explicitly
  std::uint64_t incarnations_ = 0;
  std::map<std::string, Batch> batches_;  // open ones
  std::vector<std::shared_ptr<Connection>> connections_;
};

}  // namespace postrider::sim
