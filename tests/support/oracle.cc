#include "tests/support/oracle.h"

#include <libpq-fe.h>

#include <cstdio>
#include <memory>
#include <stdexcept>

namespace postrider::test {
namespace {

constexpr const char* kSlot = "oracle";
constexpr std::size_t kUuidBytes = 16;
constexpr std::size_t kUuidText = 36;

// One line of test_decoding; empty when it is not an event.
std::string event_id(const std::string& line) {
  if (line.starts_with("table outbox.events")) {
    const std::string name = "id[uuid]:'";
    const auto at = line.find(name);
    if (line.find(": INSERT: ") == std::string::npos || at == std::string::npos) return {};
    return line.substr(at + name.size(), kUuidText);
  }
  const std::string start = "message: transactional: 1 prefix: postrider, sz: ";
  if (!line.starts_with(start)) return {};
  const auto content = line.find(" content:") + 9;
  return uuid_text(std::string_view(line).substr(content + 1));  // after the format byte
}

}  // namespace

std::string uuid_text(std::string_view bytes) {
  std::string text;
  for (std::size_t i = 0; i < kUuidBytes; ++i) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned char>(bytes[i]));
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += hex;
  }
  return text;
}

Oracle::Oracle(std::string superuser) : superuser_(std::move(superuser)) {
  PGconn* connection = PQconnectdb(superuser_.c_str());
  PGresult* result =
      PQexec(connection, "SELECT pg_create_logical_replication_slot('oracle', 'test_decoding')");
  const bool good = PQresultStatus(result) == PGRES_TUPLES_OK;
  const std::string error = PQerrorMessage(connection);
  PQclear(result);
  PQfinish(connection);
  if (!good) throw std::runtime_error("oracle: " + error);
}

std::vector<ExpectedEvent> Oracle::read() const {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(superuser_.c_str()),
                                                                &PQfinish);
  const auto query =
      std::string("SELECT xid::text, data FROM pg_logical_slot_peek_binary_changes('") + kSlot +
      "', NULL, NULL, 'force-binary', '1', 'skip-empty-xacts', '1', "
      "'include-timestamp', '0')";
  if (PQsendQueryParams(connection.get(), query.c_str(), 0, nullptr, nullptr, nullptr, nullptr,
                        /*binary=*/1) != 1 ||
      PQsetSingleRowMode(connection.get()) != 1)
    throw std::runtime_error(std::string("oracle: ") + PQerrorMessage(connection.get()));
  std::vector<ExpectedEvent> events;
  std::string error;
  while (PGresult* raw = PQgetResult(connection.get())) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(raw, &PQclear);
    if (PQresultStatus(raw) == PGRES_FATAL_ERROR) error = PQresultErrorMessage(raw);
    for (int row = 0; row < PQntuples(raw); ++row) {
      const std::string line(PQgetvalue(raw, row, 1),
                             static_cast<std::size_t>(PQgetlength(raw, row, 1)));
      auto id = event_id(line);
      if (!id.empty()) events.push_back({std::move(id), PQgetvalue(raw, row, 0)});
    }
  }
  if (!error.empty()) throw std::runtime_error("oracle: " + error);
  return events;
}

}  // namespace postrider::test
