// One replication connection: libpq, since libpqxx has no COPY BOTH.
//
// Not thread-safe. Every call may throw Failure; after one the object is only good for destruction,
// which closes the connection. Errors are told apart by SQLSTATE, never by text. Source: PostgreSQL
// documentation, "Streaming Replication Protocol", "Functions Associated with COPY".
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/postgres/sql_watch.h"
#include "postrider/lsn.h"
#include "relay/progress/timeline_history.h"
#include "relay/wire/replication_frame.h"

namespace postrider {

struct SystemIdentity {
  std::string system_id;
  std::uint32_t timeline = 0;
  Lsn flushed;  // end of the durable WAL
};

struct ReplicationOptions {
  std::string conninfo;
  std::string application_name;
  std::chrono::milliseconds wal_sender_timeout{10'000};
  // Bounds commands, up to the start of the stream; outlives the connection. Null: nothing does.
  SqlWatch* watch = nullptr;
};

class ReplicationConnection {
 public:
  // Connects. The session settings that the text of values depends on are pinned here, so that a
  // role's or a database's own settings cannot change the bytes in the stream.
  explicit ReplicationConnection(const ReplicationOptions& options);

  [[nodiscard]] SystemIdentity identify();
  [[nodiscard]] TimelineHistory timeline_history(std::uint32_t timeline);

  // Takes the slot and starts the stream at `from` (none: where the slot is confirmed).
  // kSlotMissing when the slot does not exist, kPostgresUnavailable while another connection holds
  // it.
  void start(const std::string& slot, const std::vector<std::string>& publications, Lsn from,
             bool messages);

  [[nodiscard]] bool streaming() const { return streaming_; }
  // Of the server's process at the other end.
  [[nodiscard]] int backend_pid() const { return PQbackendPID(connection_.get()); }

  // For poll(): readable means read() has something to do; wants_write() asks for writability too.
  [[nodiscard]] int socket() const { return PQsocket(connection_.get()); }
  [[nodiscard]] bool wants_write() const { return wants_write_; }

  // Takes what the socket has. Not calling it is back-pressure: the server stops sending.
  void consume_input();
  // The next whole frame, if one has arrived. Valid until the next call.
  [[nodiscard]] std::optional<wire::ReplicationFrame> next_frame();
  // Sends a status update without blocking; flush() later where wants_write().
  void send_status(Lsn received, Lsn confirmed, bool request_reply);
  void flush();

 private:
  struct CloseConnection {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  struct FreeBuffer {
    void operator()(char* buffer) const { PQfreemem(buffer); }
  };
  struct ClearResult {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  using ResultPtr = std::unique_ptr<PGresult, ClearResult>;

  ResultPtr execute(const std::string& command);
  [[noreturn]] void throw_lost(const std::string& what) const;
  [[noreturn]] void throw_result(const PGresult* result, const std::string& what) const;
  static void receive_notice(void* self, const PGresult* result);
  void throw_on_fatal_notice() const;

  SqlWatch* watch_;
  std::unique_ptr<PGconn, CloseConnection> connection_;
  std::unique_ptr<char, FreeBuffer> frame_;
  bool wants_write_ = false;
  bool streaming_ = false;
  std::string fatal_notice_;
};

}  // namespace postrider
