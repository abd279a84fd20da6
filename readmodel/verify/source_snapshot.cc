#include "readmodel/verify/source_snapshot.h"

#include <libpq-fe.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <random>

#include "base/error.h"
#include "base/postgres/conninfo.h"
#include "base/postgres/standby_slots.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kAnswer{10'000};  // for what the server answers at once
constexpr milliseconds kCancelMargin{2'000};
constexpr const char* kQueryCanceled = "57014";

std::string trimmed(const char* message) {
  std::string text = message == nullptr ? "" : message;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

// Slots of verifies that run at once, also on two hosts, must not meet.
std::string slot_name() {
  std::random_device random;
  return "postrider_verify_" + std::to_string(::getpid()) + "_" + std::to_string(random());
}

}  // namespace

void SourceSnapshot::CloseConnection::operator()(PGconn* connection) const {
  PQfinish(connection);
}
void SourceSnapshot::ClearResult::operator()(PGresult* result) const {
  PQclear(result);
}

SourceSnapshot::SourceSnapshot(const std::string& conninfo) {
  const std::string with = with_defaults(conninfo, liveness_defaults());
  // Later keywords beat what the conninfo string says.
  const std::array<const char*, 4> keywords = {"dbname", "replication", "application_name",
                                               nullptr};
  const std::array<const char*, 4> values = {with.c_str(), "database", "postrider verify", nullptr};
  connection_.reset(PQconnectdbParams(keywords.data(), values.data(), /*expand_dbname=*/1));
  if (PQstatus(connection_.get()) != CONNECTION_OK)
    throw Failure(ErrorKind::kPostgresUnavailable,
                  "cannot connect for replication: " + trimmed(PQerrorMessage(connection_.get())));
  // The exported snapshot is a transaction that stays open, and idle.
  std::string settings = "SET idle_in_transaction_session_timeout = 0";
  if (PQserverVersion(connection_.get()) >= 170000) settings += "; SET transaction_timeout = 0";
  set(settings);
}

void SourceSnapshot::set(const std::string& settings) {
  const ResultPtr result(PQexec(connection_.get(), settings.c_str()));
  if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) throw_result(result.get(), settings);
}

SourceSnapshot::~SourceSnapshot() = default;

void SourceSnapshot::throw_result(const PGresult* result, const std::string& what) const {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const std::string text =
      what + ": " +
      trimmed(result == nullptr ? PQerrorMessage(connection_.get()) : PQresultErrorMessage(result));
  if (state != nullptr && std::string(state) == "42501")
    throw Failure(ErrorKind::kNoPermission, text,
                  "source.verify_conninfo needs a role with LOGIN and REPLICATION");
  if (state != nullptr && std::string(state) == "53400")
    throw Failure(ErrorKind::kPostgresUnavailable, text,
                  "verify needs one of max_replication_slots and of max_wal_senders for a moment");
  throw Failure(ErrorKind::kPostgresUnavailable, text);
}

SourceSnapshot::ResultPtr SourceSnapshot::execute(const std::string& command, milliseconds limit) {
  PGconn* connection = connection_.get();
  if (PQsendQuery(connection, command.c_str()) != 1) throw_result(nullptr, command);
  auto deadline = Clock::now() + limit;
  bool cancelled = false;
  while (PQisBusy(connection) != 0) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    pollfd entry{PQsocket(connection), POLLIN, 0};
    if (left.count() > 0) ::poll(&entry, 1, static_cast<int>(left.count()));
    if (PQconsumeInput(connection) != 1) throw_result(nullptr, command);
    if (Clock::now() < deadline) continue;
    if (cancelled) throw Failure(ErrorKind::kPostgresUnavailable, command + ": no answer");
    cancelled = true;
    deadline = Clock::now() + kAnswer;
    std::array<char, 256> error{};
    const std::unique_ptr<PGcancel, void (*)(PGcancel*)> cancel(PQgetCancel(connection),
                                                                &PQfreeCancel);
    PQcancel(cancel.get(), error.data(), static_cast<int>(error.size()));
  }
  ResultPtr result(PQgetResult(connection));
  while (const ResultPtr rest{PQgetResult(connection)}) {
  }
  const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  if (cancelled && state != nullptr && std::string(state) == kQueryCanceled) return nullptr;
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK || PQntuples(result.get()) != 1)
    throw_result(result.get(), command.substr(0, command.find(' ')));
  return result;
}

bool SourceSnapshot::take(milliseconds limit) {
  return take(
      "CREATE_REPLICATION_SLOT \"" + slot_name() + "\" TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT",
      limit);
}

bool SourceSnapshot::take_with_slot(const std::string& slot, milliseconds limit) {
  // As `postrider migrate up` makes it.
  const bool failover = PQserverVersion(connection_.get()) >= sql::kFailoverSlots;
  return take("CREATE_REPLICATION_SLOT \"" + slot + "\" LOGICAL pgoutput " +
                  (failover ? "(SNAPSHOT 'export', FAILOVER true)" : "EXPORT_SNAPSHOT"),
              limit);
}

bool SourceSnapshot::take(const std::string& create, milliseconds limit) {
  // The place is on this timeline: a promotion in between would have ended the connection.
  const auto system = execute("IDENTIFY_SYSTEM", kAnswer);
  // The server does not notice that we are gone while it waits, with the slot, for a transaction.
  set("SET lock_timeout = " + std::to_string((limit + kCancelMargin).count()));
  const auto slot = execute(create, limit);
  if (!system || !slot) return false;
  system_id_ = PQgetvalue(system.get(), 0, 0);
  timeline_ = static_cast<std::uint32_t>(std::strtoul(PQgetvalue(system.get(), 0, 1), nullptr, 10));
  const auto point = Lsn::parse(PQgetvalue(slot.get(), 0, 1));
  name_ = PQgetvalue(slot.get(), 0, 2);
  if (!point || point->is_none() || name_.empty() || timeline_ == 0)
    throw Failure(ErrorKind::kProtocol, "CREATE_REPLICATION_SLOT returned no consistent point");
  point_ = *point;
  return true;
}

}  // namespace postrider
