#include "tests/simulator/oracle.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace postrider::sim {
namespace {

using Kind = Change::Kind;

std::string header(const std::string& name, const std::string& value) {
  return name + ": " + value + "\r\n";
}

std::string optional_header(const std::string& name, const std::string& value) {
  return value.empty() ? "" : header(name, value);
}

std::string position_text(const Transaction& transaction, unsigned index) {
  char text[48];
  std::snprintf(text, sizeof text, "%08X/%016llX/%08X", transaction.timeline,
                static_cast<unsigned long long>(transaction.commit_lsn.value), index);
  return text;
}

std::string part_text(std::size_t part) {
  char text[24];
  std::snprintf(text, sizeof text, ".%04zX", part);
  return text;
}

// The ordinal that a message claims; 0: none.
std::uint64_t ordinal_of(const Publish& publish) {
  const std::string start = "Postrider-Position: v1 ";
  const auto found = publish.headers.find(start);
  return found == std::string::npos
             ? 0
             : std::strtoull(publish.headers.c_str() + found + start.size(), nullptr, 10);
}

// CloudEvents' own attributes are checked by their unit tests: here only the id.
std::string without_cloud_events(const std::string& headers) {
  std::string kept;
  for (std::size_t at = 0; at < headers.size();) {
    const std::size_t end = headers.find("\r\n", at) + 2;
    const std::string line = headers.substr(at, end - at);
    if (!line.starts_with("ce-") || line.starts_with("ce-id: ")) kept += line;
    at = end;
  }
  return kept;
}

std::string item_payload(const Change& change) {
  const std::string id = std::to_string(change.number);
  const std::string start = std::string("{\"op\":\"") +
                            (change.kind == Kind::kInsert   ? "insert"
                             : change.kind == Kind::kUpdate ? "update"
                                                            : "delete") +
                            "\",\"schema\":\"app\",\"table\":\"items\",";
  if (change.kind == Kind::kDelete) return start + "\"old\":{\"id\":" + id + "}}";
  return start + "\"new\":{\"id\":" + id + ",\"note\":\"" + note_of(change.number) + "\"}}";
}

bool is_item(Kind kind) {
  return kind == Kind::kInsert || kind == Kind::kUpdate || kind == Kind::kDelete;
}

}  // namespace

void Oracle::complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = what;
}

void Oracle::on_settings(const Settings& settings, Lsn from) {
  const std::uint32_t timeline = postgres_.disk().timeline;
  if (epochs_.empty()) from = Lsn{};
  if (!epochs_.empty() && epochs_.back().settings == settings &&
      epochs_.back().timeline == timeline)
    return;
  std::uint32_t number = epochs_.empty() ? 1 : epochs_.back().number + 1;
  // Those of a history that was given up may be in the stream.
  number += 100 * (timeline - (epochs_.empty() ? 1 : epochs_.back().timeline));
  epochs_.push_back({number, timeline, from, postgres_.inserted(), settings});
  begin_again();  // it begins before the row says so
}

void Oracle::on_history_changed() {
  history_changed_ = true;
  const auto& disk = postgres_.disk();
  while (!epochs_.empty() && epochs_.back().written >= disk.rows.back().first) epochs_.pop_back();
  begin_again();
}

void Oracle::begin_again() {
  known_ = 0;
  expected_.clear();
  extend();
}

void Oracle::on_publish(const Publish& publish, std::uint64_t seq) {
  const std::uint64_t ordinal = ordinal_of(publish);
  if (ordinal == 0 && foreign_) return;
  if (ordinal == 0) return complain("a message without ordinal was published");
  if (seq != 0 && seq != ordinal)
    complain("sequence " + std::to_string(seq) + " holds ordinal " + std::to_string(ordinal));
  if (seq != 0) first_stored_.try_emplace(ordinal, broker_.stream()->messages.back().at);
  std::string rest = publish.subject + "\n" + publish.headers;
  const auto [known, inserted] = by_ordinal_.try_emplace(ordinal, rest, publish.payload);
  // A relay that still holds the history that was replaced publishes what was never committed.
  if (!inserted && known->second != std::pair(rest, publish.payload) && !history_changed_)
    complain("ordinal " + std::to_string(ordinal) + " was published with two contents:\n" +
             known->second.first + known->second.second + "\nand\n" + rest + publish.payload);
}

void Oracle::add(const Transaction& transaction) {
  const OpenedEpoch* epoch = &epochs_.front();
  for (const auto& opened : epochs_)
    if (opened.from <= transaction.commit_lsn) epoch = &opened;
  const Settings& settings = epoch->settings;
  unsigned index = 0;
  std::vector<std::pair<Change, unsigned>> carried;
  for (const auto& change : transaction.changes) {
    if (change.kind == Kind::kStrayMessage) continue;
    if (is_item(change.kind) && !settings.captures) continue;
    const bool message =
        change.kind == Kind::kOutboxMessage || change.kind == Kind::kForeignMessage;
    if (message && !settings.wal_store && !settings.captures) continue;
    const unsigned here = index++;
    if (change.kind == Kind::kForeignMessage) continue;
    if (change.kind == Kind::kOutboxMessage && !settings.wal_store) continue;
    carried.emplace_back(change, here);
  }
  for (std::size_t i = 0; i < carried.size(); ++i) {
    const auto& [change, here] = carried[i];
    const bool last = i + 1 == carried.size();
    if (is_item(change.kind)) {
      add_item(transaction, change, here, last, *epoch);
      continue;
    }
    Publish message;
    std::string& headers = message.headers;
    const std::string position = position_text(transaction, here);
    headers = "NATS/1.0\r\n" + place_header(transaction, position, epoch->number, last);
    if (settings.message_id) headers += header("Nats-Msg-Id", position);
    const auto event = event_of(change.number);
    message.subject = "src." + event.subject;
    headers += header("Postrider-Id", event.id);
    headers += optional_header("Postrider-Key", event.key);
    headers += optional_header("Postrider-Type", event.type);
    headers += header("Content-Type", "application/json");
    headers += optional_header("trace", event.header);
    if (settings.cloud_events) headers += header("ce-id", event.id);
    message.payload = event.payload;
    headers += "\r\n";
    expected_.push_back({transaction.commit_lsn, std::move(message)});
  }
}

void Oracle::add_item(const Transaction& transaction, const Change& change, unsigned index,
                      bool last, const OpenedEpoch& epoch) {
  const std::string payload = item_payload(change);
  const std::size_t most = epoch.settings.part_bytes;
  const std::size_t parts =
      most == 0 || payload.size() <= most ? 1 : (payload.size() + most - 1) / most;
  for (std::size_t part = 0; part < parts; ++part) {
    Publish message;
    std::string position = position_text(transaction, index);
    if (parts > 1) position += part_text(part);
    std::string& headers = message.headers;
    headers = "NATS/1.0\r\n" +
              place_header(transaction, position, epoch.number, last && part + 1 == parts);
    if (epoch.settings.message_id) headers += header("Nats-Msg-Id", position);
    if (parts > 1) headers += header("Postrider-Parts", std::to_string(parts));
    headers += header("Postrider-Key", std::to_string(change.number));
    headers += header("Postrider-Type", change.kind == Kind::kInsert   ? "insert"
                                        : change.kind == Kind::kUpdate ? "update"
                                                                       : "delete");
    headers += header("Content-Type", "application/json") + "\r\n";
    message.subject = "src.cdc.app.items";
    message.payload = parts == 1 ? payload : payload.substr(part * most, most);
    expected_.push_back({transaction.commit_lsn, std::move(message)});
  }
}

std::string Oracle::place_header(const Transaction& transaction, const std::string& position,
                                 std::uint32_t epoch, bool last) const {
  return header("Postrider-Position", "v1 " + std::to_string(expected_.size() + 1) + " " +
                                          position + " " + std::to_string(transaction.xid) + " " +
                                          std::to_string(transaction.commit_time_us) + " " +
                                          std::to_string(epoch) + (last ? " last" : ""));
}

// Only what is flushed: the rest may yet be lost.
void Oracle::extend() {
  if (epochs_.empty()) return;
  for (; known_ < postgres_.wal().size() && postgres_.wal()[known_].end_lsn <= postgres_.flushed();
       ++known_)
    add(postgres_.wal()[known_]);
}

std::uint64_t Oracle::expected(Lsn before) {
  extend();
  return static_cast<std::uint64_t>(
      std::ranges::lower_bound(expected_, before, {}, &Expected::commit_lsn) - expected_.begin());
}

bool Oracle::complete() {
  extend();
  if (expected_.empty()) return true;
  return broker_.stream() && broker_.stream()->last_seq() >= expected_.size();
}

void Oracle::on_status(Lsn confirmed) {
  if (confirmed <= postgres_.slot_confirmed() || destroyed_) return;
  if (confirmed > postgres_.flushed())
    return complain("confirmed " + confirmed.to_string() + " beyond the server's WAL");
  const std::uint64_t needed = expected(confirmed);
  const std::uint64_t durable = broker_.durable_seq();
  if (needed > durable && !are_copies(durable + 1, needed))
    return complain("confirmed " + confirmed.to_string() + ", which needs " +
                    std::to_string(needed) + " messages, while " +
                    std::to_string(broker_.durable_seq()) + " are durable");
  constexpr std::uint64_t kLookedAt = 64;
  if (const auto wrong = first_wrong(needed - std::min(needed, kLookedAt) + 1, needed); wrong != 0)
    complain("confirmed " + confirmed.to_string() + " although sequence " + std::to_string(wrong) +
             " does not hold the event that belongs there:\n" +
             broker_.stream()->messages[wrong - 1].message.headers + "instead of\n" +
             (wrong > expected_.size() ? "nothing" : expected_[wrong - 1].message.headers));
}

bool Oracle::are_copies(std::uint64_t first, std::uint64_t last) const {
  if (!broker_.stream() || last > broker_.stream()->last_seq()) return false;
  for (std::uint64_t seq = first; seq <= last; ++seq) {
    const auto stored = first_stored_.find(seq);
    if (stored == first_stored_.end() || !broker_.is_old(stored->second)) return false;
  }
  return true;
}

std::uint64_t Oracle::first_wrong(std::uint64_t first, std::uint64_t last) const {
  for (std::uint64_t seq = first; seq <= last; ++seq) {
    if (seq > expected_.size()) return seq;
    const Publish& want = expected_[seq - 1].message;
    const Publish& have = broker_.stream()->messages[seq - 1].message;
    if (want.subject != have.subject || want.payload != have.payload ||
        want.headers != without_cloud_events(have.headers))
      return seq;
  }
  return 0;
}

void Oracle::check_stream() {
  extend();
  static const std::vector<Stored> kNone;
  const auto& stored = broker_.stream() ? broker_.stream()->messages : kNone;
  for (std::size_t i = 0; i < std::max(stored.size(), expected_.size()); ++i) {
    if (i >= stored.size())
      return complain("the stream ends with sequence " + std::to_string(stored.size()) +
                      ", expected " + std::to_string(expected_.size()) + " messages");
    if (i >= expected_.size())
      return complain("the stream holds more than was committed, from sequence " +
                      std::to_string(i + 1) + " on");
    const Publish& want = expected_[i].message;
    const Publish& have = stored[i].message;
    if (first_wrong(i + 1, i + 1) != 0)
      return complain("sequence " + std::to_string(i + 1) + " holds\n" + have.subject + "\n" +
                      have.headers + have.payload + "\ninstead of\n" + want.subject + "\n" +
                      want.headers + want.payload);
  }
}

}  // namespace postrider::sim
