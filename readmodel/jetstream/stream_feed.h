// Reads a stream in its order through a pull consumer that acknowledges nothing: the server keeps
// no progress that could disagree with the cursor, and sends no more than was asked for.
//
// Not thread-safe. A thread of its own reads the socket and takes messages apart while the caller
// works on what it has: the server need not wait for the reader, nor give it up as a slow one.
// Memory is bounded by what is asked for: ask_for_more() only while there is room. Of notices that
// nobody takes a few are kept, always the newest. Throws Failure; afterwards the object is only
// good for destruction. kForeignMessage when a message is not of this source's relay. Parts of a
// large row come one by one: progress/row_parts joins them, behind the chain.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/jetstream/connection.h"
#include "postrider/received_event.h"

namespace postrider {

class StreamFeed : public NatsConnection {
 public:
  // Opens two connections, one after the other, each within `timeout` a server. Notices on
  // `notice_subject` come beside the messages.
  StreamFeed(const NatsOptions& options, const std::string& client_name,
             std::chrono::milliseconds timeout, const std::string& notice_subject);
  ~StreamFeed();

  // Messages that are not of this source's relay are handed over with ordinal 0, sequence and
  // subject, instead of ending everything.
  void keep_foreign() { keep_foreign_ = true; }

  // Begins at `seq` of `stream`, whose messages must all be of `source`.
  void open(const std::string& stream, const std::string& source, std::uint64_t seq);
  // Asks the server for more messages, as soon as no more than half of a request's are under way.
  void ask_for_more();

  // An eventfd, readable when take() has something or the connection broke.
  [[nodiscard]] int fd() const;
  // Moves what has arrived into `events` and `notices`, which are cleared first.
  void take(std::vector<ReceivedEvent>& events, std::vector<std::string>& notices);
  // True when something is asked for and the server has said nothing to it for so long, not even
  // that the request has expired: the request is lost. Notices say nothing about it.
  [[nodiscard]] bool unanswered_for(std::chrono::milliseconds time) const;

 private:
  struct Burst;
  class Reader;
  using Inbox = std::shared_ptr<Mailbox<Burst>>;
  StreamFeed(const NatsOptions& options, const std::string& client_name,
             std::chrono::milliseconds timeout, const std::string& notice_subject, Inbox inbox);

  Inbox inbox_;
  bool keep_foreign_ = false;
  std::string stream_;
  std::string consumer_;
  std::unique_ptr<Reader> reader_;
};

}  // namespace postrider
