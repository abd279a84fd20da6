#include "relay/postgres/replication.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/postgres/conninfo.h"

namespace postrider {
namespace {

// SQLSTATEs that mean something of their own. Source: PostgreSQL documentation, "PostgreSQL Error
// Codes".
constexpr std::string_view kUndefinedObject = "42704";
constexpr std::string_view kObjectNotInPrerequisiteState = "55000";
constexpr std::string_view kInsufficientPrivilege = "42501";
constexpr std::string_view kInvalidAuthorization = "28000";
constexpr std::string_view kInvalidPassword = "28P01";

// Whatever a role or database sets, the text of values stays the same.
constexpr const char* kPinnedSettings =
    "-c DateStyle=ISO,MDY -c TimeZone=UTC -c IntervalStyle=postgres -c extra_float_digits=3 "
    "-c bytea_output=hex -c lc_monetary=C -c search_path=pg_catalog "  // which regclass is told by
    "-c statement_timeout=0 -c idle_session_timeout=0";
// A walsender decodes each transaction within one of its own, for as long as the broker takes it.
// Older servers would refuse the connection for an option that they do not know.
constexpr const char* kNoTransactionTimeout = "SET transaction_timeout = 0";
constexpr int kTransactionTimeoutSince = 170000;
// Where PostgreSQL's slot.c says so; never translated.
constexpr std::string_view kWaitsForStandbys = "StandbySlotsHaveCaughtup";

std::string quote_identifier(const std::string& name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string quote_literal(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + "'";
}

std::string_view sqlstate(const PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return state == nullptr ? "" : state;
}

std::string trimmed(const char* message) {
  std::string text = message == nullptr ? "" : message;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

std::string column(const PGresult* result, int number) {
  return PQgetvalue(result, 0, number);
}

}  // namespace

ReplicationConnection::ReplicationConnection(const ReplicationOptions& options)
    : watch_(options.watch) {
  const std::string settings = std::string(kPinnedSettings) + " -c wal_sender_timeout=" +
                               std::to_string(options.wal_sender_timeout.count()) + "ms";
  const std::string conninfo = with_defaults(options.conninfo, liveness_defaults());
  // Later keywords beat what the conninfo string says.
  const std::array<const char*, 6> keywords = {"dbname",           "replication", "client_encoding",
                                               "application_name", "options",     nullptr};
  const std::array<const char*, 6> values = {conninfo.c_str(), "database",
                                             "UTF8",           options.application_name.c_str(),
                                             settings.c_str(), nullptr};
  connection_.reset(PQconnectdbParams(keywords.data(), values.data(), /*expand_dbname=*/1));
  if (PQstatus(connection_.get()) != CONNECTION_OK) throw_lost("cannot connect for replication");
  PQsetNoticeReceiver(connection_.get(), &ReplicationConnection::receive_notice, this);
  if (PQserverVersion(connection_.get()) < kTransactionTimeoutSince) return;
  const auto result = execute(kNoTransactionTimeout);
  if (PQresultStatus(result.get()) != PGRES_COMMAND_OK)
    throw_result(result.get(), kNoTransactionTimeout);
}

void ReplicationConnection::receive_notice(void* self, const PGresult* result) {
  // PostgreSQL 18 only warns when a publication is missing, and then drops its rows. The notice
  // carries the same SQLSTATE as the error of older servers' kin. So does one that is harmless: that
  // a standby in synchronized_standby_slots is not there, for which the walsender waits.
  const char* function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
  if (function != nullptr && std::string_view(function) == kWaitsForStandbys) return;
  const char* severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity == nullptr || std::string_view(severity) != "WARNING") return;
  const auto state = sqlstate(result);
  if (state != kObjectNotInPrerequisiteState && state != kUndefinedObject) return;
  static_cast<ReplicationConnection*>(self)->fatal_notice_ =
      trimmed(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

void ReplicationConnection::throw_on_fatal_notice() const {
  if (fatal_notice_.empty()) return;
  throw Failure(
      ErrorKind::kPublicationMissing, "the server warns: " + fatal_notice_,
      "create the publication again with `postrider migrate up`; rows committed while it "
      "was missing are not decoded, `postrider repair --resend` sends them: docs/operating.md, "
      "\"publication missing\"");
}

void ReplicationConnection::throw_lost(const std::string& what) const {
  throw Failure(ErrorKind::kPostgresUnavailable,
                what + ": " + trimmed(PQerrorMessage(connection_.get())));
}

void ReplicationConnection::throw_result(const PGresult* result, const std::string& what) const {
  const auto state = sqlstate(result);
  const std::string text = what + ": " + trimmed(PQresultErrorMessage(result)) + " (SQLSTATE " +
                           std::string(state) + ")";
  if (state == kUndefinedObject && streaming_)
    throw Failure(
        ErrorKind::kPublicationMissing, text,
        "create the publication again with `postrider migrate up`; WAL from before is decoded "
        "with the catalog of its time: where this halts again, `postrider repair --resend` makes a "
        "new slot and sends what the stream lacks (docs/operating.md, \"publication missing\")");
  if (state == kUndefinedObject)
    throw Failure(ErrorKind::kSlotMissing, text, "see docs/operating.md, \"slot lost\"");
  if (state == kObjectNotInPrerequisiteState)
    throw Failure(ErrorKind::kSlotUnusable, text, "see docs/operating.md, \"slot lost\"");
  if (state == kInsufficientPrivilege || state == kInvalidAuthorization ||
      state == kInvalidPassword)
    throw Failure(ErrorKind::kNoPermission, text,
                  "the relay's role needs LOGIN and REPLICATION and membership in postrider_relay");
  throw Failure(ErrorKind::kPostgresUnavailable, text);
}

ReplicationConnection::ResultPtr ReplicationConnection::execute(const std::string& command) {
  // Other backends, the lock's among them, may live on where this one stands still.
  const SqlWatch::Guard guard(watch_, PQsocket(connection_.get()));
  ResultPtr result(PQexec(connection_.get(), command.c_str()));
  if (!result) throw_lost(command);
  return result;
}

SystemIdentity ReplicationConnection::identify() {
  const auto result = execute("IDENTIFY_SYSTEM");
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK || PQntuples(result.get()) != 1)
    throw_result(result.get(), "IDENTIFY_SYSTEM");
  SystemIdentity identity;
  identity.system_id = column(result.get(), 0);
  identity.timeline =
      static_cast<std::uint32_t>(std::strtoul(column(result.get(), 1).c_str(), nullptr, 10));
  const auto flushed = Lsn::parse(column(result.get(), 2));
  if (!flushed || identity.timeline == 0)
    throw Failure(ErrorKind::kProtocol, "IDENTIFY_SYSTEM returned no LSN or timeline");
  identity.flushed = *flushed;
  return identity;
}

TimelineHistory ReplicationConnection::timeline_history(std::uint32_t timeline) {
  if (timeline == 1) return TimelineHistory(1);  // the first has no history file
  const auto result = execute("TIMELINE_HISTORY " + std::to_string(timeline));
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK || PQntuples(result.get()) != 1)
    throw_result(result.get(), "TIMELINE_HISTORY");
  auto history = TimelineHistory::parse(
      timeline,
      {PQgetvalue(result.get(), 0, 1), static_cast<std::size_t>(PQgetlength(result.get(), 0, 1))});
  if (!history) throw Failure(ErrorKind::kProtocol, "the timeline history file is unreadable");
  return *history;
}

void ReplicationConnection::start(const std::string& slot,
                                  const std::vector<std::string>& publications, Lsn from,
                                  bool messages) {
  std::string names;
  for (const auto& publication : publications)
    names += (names.empty() ? "" : ",") + quote_identifier(publication);
  std::string command = "START_REPLICATION SLOT " + quote_identifier(slot) + " LOGICAL " +
                        from.to_string() + " (proto_version '1', publication_names " +
                        quote_literal(names);
  if (messages) command += ", messages 'true'";
  command += ")";
  const auto result = execute(command);
  if (PQresultStatus(result.get()) != PGRES_COPY_BOTH)
    throw_result(result.get(), "START_REPLICATION of slot \"" + slot + "\"");
  streaming_ = true;
  if (PQsetnonblocking(connection_.get(), 1) != 0)
    throw_lost("cannot make the connection non-blocking");
  throw_on_fatal_notice();
}

void ReplicationConnection::consume_input() {
  if (PQconsumeInput(connection_.get()) == 0) throw_lost("the replication connection broke");
}

std::optional<wire::ReplicationFrame> ReplicationConnection::next_frame() {
  frame_.reset();  // two large ones at once would be one too many
  char* buffer = nullptr;
  const int size = PQgetCopyData(connection_.get(), &buffer, /*async=*/1);
  throw_on_fatal_notice();
  if (size == 0) return std::nullopt;
  if (size < 0) {
    const ResultPtr result(PQgetResult(connection_.get()));
    if (result && PQresultStatus(result.get()) == PGRES_FATAL_ERROR)
      throw_result(result.get(), "the replication stream ended");
    throw_lost("the server ended the replication stream");
  }
  frame_.reset(buffer);
  return value_or_throw(wire::decode_replication_frame(
      wire::as_bytes({frame_.get(), static_cast<std::size_t>(size)})));
}

void ReplicationConnection::send_status(Lsn received, Lsn confirmed, bool request_reply) {
  const auto update = wire::encode_status_update(received, confirmed, request_reply);
  const int put = PQputCopyData(connection_.get(), reinterpret_cast<const char*>(update.data()),
                                static_cast<int>(update.size()));
  if (put < 0) throw_lost("cannot send a status update");
  if (put == 0)
    wants_write_ = true;  // the send queue is full; the next timer tick sends a newer one
  flush();
}

void ReplicationConnection::flush() {
  const int pending = PQflush(connection_.get());
  if (pending < 0) throw_lost("cannot send a status update");
  wants_write_ = pending > 0;
}

}  // namespace postrider
