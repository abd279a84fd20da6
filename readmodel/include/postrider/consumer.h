// A read model kept by a C++ service: a handler gets events of the stream inside the transaction
// that also moves the read model's cursor.
//
//   postrider::Consumer consumer(
//       {.name = "balances", .source = "shop", .target_conninfo = "dbname=views"},
//       [](pqxx::dbtransaction& tx, std::span<const postrider::ReceivedEvent> events) {
//         for (const auto& event : events) ...;  // SQL in tx
//       });
//   consumer.run();  // until request_stop(), from another thread or a signal handler
//
// Guarantee: what the handler writes in `tx` is committed exactly once for each event, in commit
// order, whole source transactions at a time, whatever crashes: the cursor is in the same commit.
// Effects outside of `tx` may happen more than once: an attempt that is rolled back is made again.
//
// The database needs schema postrider (`postrider migrate up --target`); its role
// postrider_applier. Several processes with the same name: one works, the others stand by and take
// over.
//
// Errors of the handler: what libpqxx throws for passing trouble (a deadlock, a serialization
// failure, a lost connection) is tried again with backoff. Anything else is a refusal of the
// events: the read model stops there, for `postrider apply retry` or `skip`, or sets the source
// transaction aside where park_refused is set.
//
// An SQL error that the handler catches has aborted `tx` all the same: nothing of it can be
// committed, and the read model stops, whatever park_refused says, since what was caught may have
// been passing trouble. Catch one only around a pqxx::subtransaction of `tx`, or write SQL that
// does not fail (ON CONFLICT).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <pqxx/pqxx>
#include <span>
#include <stdexcept>
#include <string>

#include "postrider/received_event.h"

namespace postrider {

struct ConsumerOptions {
  std::string name;             // [a-z0-9_]{1,40}; the read model's, in postrider.cursor
  std::string source;           // [a-z0-9_-]{1,40}; first token of its subjects
  std::string stream;           // empty: the source's name in upper case
  std::string target_conninfo;  // libpq

  std::string nats_url = "nats://127.0.0.1:4222";
  std::string nats_credentials_file;
  std::string nats_user;
  std::string nats_password_file;
  std::string nats_tls_ca_file;
  std::string nats_inbox_prefix = "_INBOX";

  bool park_refused = false;
  std::size_t batch_events = 2000;  // at most so many in one call, but always whole transactions
  std::size_t batch_bytes = 4UL * 1024 * 1024;  // a larger source transaction comes in pieces
  // A standby ends the connection of a process that has sent no statement for so long: at least a
  // second, and more than the handler ever needs between two statements, or two processes take the
  // read model from one another for ever.
  std::chrono::milliseconds takeover_after{4000};
  bool until_caught_up = false;  // run() returns once everything in the stream is applied
};

// What only a person can resolve; what() says what happened and the remedy.
class ConsumerError : public std::runtime_error {
 public:
  ConsumerError(std::string kind, const std::string& what)
      : std::runtime_error(what), kind_(std::move(kind)) {}
  // Stable, lower_snake: the names of docs/operating.md, "Exit codes".
  [[nodiscard]] const std::string& kind() const { return kind_; }

 private:
  std::string kind_;
};

class Consumer {
 public:
  // Called on the thread of run(), with events of one stream in commit order.
  using Handler =
      std::function<void(pqxx::dbtransaction& tx, std::span<const ReceivedEvent> events)>;

  // Throws ConsumerError for options that cannot work.
  Consumer(ConsumerOptions options, Handler handler);
  ~Consumer();
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  // Blocks. Throws ConsumerError.
  void run();
  // From any thread or a signal handler; asking twice is asking once.
  void request_stop() noexcept;

  struct Status {
    std::string state;          // starting, standby, running, waiting, stopped, halted, ended
    std::string error;          // why it is not running: of the last session, until one after it
                                // has committed something
    std::uint64_t ordinal = 0;  // newest event applied
    std::uint64_t lag_events = 0;
    bool ready = false;
    bool stalled = false;  // something is pending and nothing was committed for five minutes
  };
  // From any thread.
  [[nodiscard]] Status status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postrider
