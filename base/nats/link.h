// One connection to NATS that its own thread drives: no other thread reads or writes for it, and
// nothing is handed over. For the path on which every event goes; what is asked now and then goes
// over NatsConnection.
//
// Not thread-safe. Never reconnects: after a Failure the object is only good for destruction.
// Throws kBrokerUnavailable, kNoPermission, kTooLarge, and kConfiguration for files it cannot use.
// Credentials that expire end the connection as a broken network does, kBrokerUnavailable: the next
// one is made with what the files hold then, and may be refused with kNoPermission.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/jetstream/nats_options.h"
#include "base/nats/protocol.h"
#include "base/nats/socket.h"

namespace postrider::nats {

class Link {
 public:
  // Connects to one of the options' servers, tried in random order, each for at most `timeout`. One
  // at the URL `preferred`, where it is among them, comes first.
  Link(const NatsOptions& options, const std::string& client_name,
       std::chrono::milliseconds timeout, const std::string& preferred = {});

  [[nodiscard]] int fd() const { return socket_->fd(); }

  // Takes protocol text to send, at its end: append_publish() does.
  [[nodiscard]] std::string& out() { return out_; }
  [[nodiscard]] std::size_t unsent() const { return out_.size() - sent_; }
  // Sends what the socket takes without waiting.
  void flush();
  // True when the newest flush() left something: call it again when fd() is writable, and add no
  // more.
  [[nodiscard]] bool backed_up() const { return backed_up_; }

  // Reads what has come, shows `visit` each message of a subscription, answers pings and sends
  // some: to be called every second or so, also when nothing has come. Messages that came before
  // the end of the connection, or before the server's report of an error, come first.
  template <std::invocable<const Delivery&> Visit>
  void read(Visit visit) {
    while (true) {
      const std::size_t bytes = receive();
      while (const auto operation = next())
        if (const auto* delivery = std::get_if<Delivery>(&*operation)) visit(*delivery);
      if (bytes == 0) break;
    }
    keep_alive();
    flush();
  }
  // A subject that nobody else uses, below the options' inbox_prefix.
  [[nodiscard]] std::string new_inbox() const;

 private:
  struct Server {
    std::string text;  // without what is secret
    std::string host;
    std::string port;
    std::string user;
    std::string password;
    bool tls = false;
  };
  static std::vector<Server> servers_of(const std::string& urls);
  void connect(const Server& server, const NatsOptions& options, const std::string& client_name,
               Deadline deadline);
  void await_pong(Deadline deadline);
  void keep_alive();
  std::size_t receive();
  std::optional<ServerOperation> next();

  std::unique_ptr<Socket> socket_;
  ServerReader reader_;
  std::string out_;
  std::size_t sent_ = 0;  // of out_
  bool backed_up_ = false;
  std::chrono::steady_clock::time_point pinged_;
  int pings_out_ = 0;
  bool established_ = false;  // the server has taken who we are
  std::string inbox_prefix_;
};

}  // namespace postrider::nats
