#include "tests/faults/campaign/witness.h"

#include <cstdlib>
#include <string_view>

#include "tests/faults/campaign/sql.h"
#include "tests/support/oracle.h"

namespace postrider::campaign {
namespace {

constexpr std::size_t kUuidBytes = 16;
constexpr std::size_t kUuidText = 36;

class Hash {
 public:
  // FNV-1a, with an end after each part.
  Hash& add(std::string_view part) {
    constexpr std::uint64_t kPrime = 1099511628211U;
    for (const char c : part) value_ = (value_ ^ static_cast<unsigned char>(c)) * kPrime;
    value_ = (value_ ^ 0x100U) * kPrime;
    return *this;
  }
  [[nodiscard]] std::uint64_t value() const { return value_ == 0 ? 1 : value_; }

 private:
  std::uint64_t value_ = 14695981039346656037U;
};

std::uint64_t hash_event(std::string_view id, std::string_view subject, std::string_view key,
                         std::string_view payload) {
  return Hash().add(id).add(subject).add(key).add(payload).value();
}
std::uint64_t hash_row(std::string_view table, std::string_view id, std::string_view cents,
                       std::uint64_t xid) {
  return Hash().add(table).add(id).add(cents).add(std::to_string(xid)).value();
}

// The value behind "name[type]:", without quotes; "" for null or none.
std::string_view field(std::string_view line, std::string_view name) {
  const auto at = line.find(name);
  if (at == std::string_view::npos) return {};
  auto rest = line.substr(at + name.size());
  if (rest.starts_with('\'')) return rest.substr(1, rest.find('\'', 1) - 1);
  const auto value = rest.substr(0, rest.find(' '));
  return value == "null" ? std::string_view() : value;
}

// Fields of the wal store's message: length as four bytes, -1 for NULL.
std::string_view take_field(std::string_view& rest) {
  std::uint32_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size = size << 8U | static_cast<unsigned char>(rest[i]);
  rest.remove_prefix(4);
  if (size == 0xffffffffU) return {};
  const auto value = rest.substr(0, size);
  rest.remove_prefix(size);
  return value;
}

std::uint64_t hash_of_wal_event(std::string_view content) {
  content.remove_prefix(1);  // format
  const auto id = test::uuid_text(content);
  content.remove_prefix(kUuidBytes);
  const auto subject = take_field(content);
  const auto key = take_field(content);
  for (int skipped = 0; skipped < 3; ++skipped) take_field(content);  // type, content type, headers
  return hash_event(id, subject, key, content);
}

std::uint64_t lsn_of(const char* text) {
  unsigned high = 0;
  unsigned low = 0;
  std::sscanf(text, "%X/%X", &high, &low);
  return static_cast<std::uint64_t>(high) << 32U | low;
}

}  // namespace

std::uint64_t hash_of_line(const std::string& line, std::uint64_t xid) {
  const std::string_view view(line);
  if (view.starts_with("table outbox.events")) {
    if (view.find(": INSERT: ") == std::string_view::npos) return 0;
    return hash_event(field(view, " id[uuid]:").substr(0, kUuidText),
                      field(view, " subject[text]:"), field(view, " key[text]:"),
                      field(view, " payload[jsonb]:"));
  }
  if (view.starts_with("table public.account: "))
    return hash_row("account", field(view, " id[integer]:"), field(view, " cents[bigint]:"), xid);
  if (view.starts_with("table public.marker: "))
    return hash_row("marker", field(view, " n[bigint]:"), "", xid);
  if (!view.starts_with("message: transactional: 1 prefix: postrider, sz: ")) return 0;
  constexpr std::string_view kContent = " content:";
  return hash_of_wal_event(view.substr(view.find(kContent) + kContent.size()));
}

Seen seen_of(const test::StreamMessage& message) {
  Seen seen;
  seen.seq = message.seq;
  seen.stored_us = message.stored_us;
  seen.header = message.header("Postrider-Position").value_or("");
  if (const auto id = message.header("Postrider-Id")) {
    const auto subject = std::string_view(message.subject);
    seen.hash = hash_event(*id, subject.substr(subject.find('.') + 1),
                           message.header("Postrider-Key").value_or(""), message.data);
    Payload payload;
    if (parse_payload(message.data, payload)) seen.made = payload;
    return seen;
  }
  const auto row = nlohmann::json::parse(message.data);
  const auto header = parse_header(seen.header);
  const auto& values = row["new"];
  if (row["table"] == "account")
    seen.hash =
        hash_row("account", values["id"].dump(), values["cents"].dump(), header ? header->xid : 0);
  else
    seen.hash = hash_row("marker", values["n"].dump(), "", header ? header->xid : 0);
  return seen;
}

std::uint64_t hash_of_message(const test::StreamMessage& message) {
  Hash hash;
  hash.add(message.subject);
  for (const auto& [name, value] : message.headers) hash.add(name).add(value);
  return hash.add(message.data).value();
}

std::uint64_t Witness::take(std::uint64_t changes,
                            const std::function<void(const Committed&)>& visit) {
  Sql sql(superuser_);
  const auto query =
      "SELECT lsn::text, xid::text, data FROM pg_logical_slot_get_binary_changes('witness', "
      "NULL, " +
      std::to_string(changes) +
      ", 'force-binary', '1', 'skip-empty-xacts', '1', 'include-timestamp', '0')";
  if (PQsendQueryParams(sql.raw(), query.c_str(), 0, nullptr, nullptr, nullptr, nullptr,
                        /*binary=*/1) != 1 ||
      PQsetSingleRowMode(sql.raw()) != 1)
    throw SqlError(PQerrorMessage(sql.raw()), true, "");
  std::uint64_t lines = 0;
  std::string error;
  Committed transaction;
  while (PGresult* raw = PQgetResult(sql.raw())) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(raw, &PQclear);
    if (PQresultStatus(raw) == PGRES_FATAL_ERROR) error = PQresultErrorMessage(raw);
    for (int row = 0; row < PQntuples(raw); ++row) {
      ++lines;
      const std::string line(PQgetvalue(raw, row, 2),
                             static_cast<std::size_t>(PQgetlength(raw, row, 2)));
      if (line.starts_with("BEGIN ")) {
        transaction = {};
        transaction.xid = std::strtoull(PQgetvalue(raw, row, 1), nullptr, 10);
      } else if (line.starts_with("COMMIT ")) {
        transaction.end_lsn = lsn_of(PQgetvalue(raw, row, 0));
        if (transaction.end_lsn <= taken_to_) continue;
        taken_to_ = transaction.end_lsn;
        if (!transaction.events.empty()) visit(transaction);
      } else if (const auto hash = hash_of_line(line, transaction.xid); hash != 0) {
        transaction.events.push_back(hash);
      }
    }
  }
  if (!error.empty()) throw SqlError("witness: " + error, true, "");
  return lines;
}

}  // namespace postrider::campaign
