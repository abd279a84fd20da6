#include "tests/simulator/model_postgres.h"

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <utility>

namespace postrider::sim {
namespace {

constexpr std::int64_t kPostgresEpochUs = 946'684'800'000'000;
constexpr int kEventsTable = 16'400;
constexpr int kItemsTable = 16'500;

// Writes big-endian fields, as the server does.
class Writer {
 public:
  Writer& u8(unsigned value) { return put(value, 1); }
  Writer& u16(unsigned value) { return put(value, 2); }
  Writer& u32(std::uint64_t value) { return put(value, 4); }
  Writer& u64(std::uint64_t value) { return put(value, 8); }
  Writer& raw(std::string_view text) {
    out_.append(text);
    return *this;
  }
  Writer& c_string(std::string_view text) {
    out_.append(text).push_back('\0');
    return *this;
  }
  Writer& text(std::string_view value) { return u8('t').u32(value.size()).raw(value); }
  Writer& null() { return u8('n'); }
  Writer& text_or_null(std::string_view value) { return value.empty() ? null() : text(value); }
  // A length and bytes, or -1: emit's own format.
  Writer& field(std::string_view value) {
    return value.empty() ? u32(0xFFFFFFFFU) : u32(value.size()).raw(value);
  }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  Writer& put(std::uint64_t value, int bytes) {
    for (int i = bytes; i-- > 0;) out_ += static_cast<char>(value >> (8U * unsigned(i)) & 0xFFU);
    return *this;
  }
  std::string out_;
};

std::string frame(std::string_view payload) {
  return Writer().u8('w').u64(0).u64(0).u64(0).raw(payload).take();
}

std::string keepalive(Lsn end, bool reply_requested) {
  return Writer().u8('k').u64(end.value).u64(0).u8(reply_requested ? 1 : 0).take();
}

std::string id_bytes(std::uint64_t number) {
  return Writer().u64(0x1234567800004000U).u64(0x8000000000000000U + number).take();
}

std::string headers_json(const EmittedEvent& event) {
  return event.header.empty() ? "" : "{\"trace\": \"" + event.header + "\"}";
}

std::string row_of_events(std::uint64_t number) {
  const auto event = event_of(number);
  Writer out;
  out.u8('I').u32(kEventsTable).u8('N').u16(9);
  out.text("2026-01-01 00:00:00+00").text(event.id).text(event.subject).text_or_null(event.key);
  out.text_or_null(event.type).text("application/json").text_or_null(headers_json(event));
  return out.text(event.payload).null().take();
}

std::string message_of(std::uint64_t number) {
  const auto event = event_of(number);
  const std::string content = Writer()
                                  .u8(1)
                                  .raw(id_bytes(number))
                                  .field(event.subject)
                                  .field(event.key)
                                  .field(event.type)
                                  .field("application/json")
                                  .field(headers_json(event))
                                  .raw(event.payload)
                                  .take();
  return Writer()
      .u8('M')
      .u8(1)
      .u64(0)
      .c_string("postrider")
      .u32(content.size())
      .raw(content)
      .take();
}

std::string other_message(bool transactional) {
  return Writer()
      .u8('M')
      .u8(transactional ? 1 : 0)
      .u64(0)
      .c_string("audit")
      .u32(2)
      .raw("hi")
      .take();
}

std::string item_change(const Change& change) {
  Writer out;
  const std::string id = std::to_string(change.number);
  const auto row = [&] { out.u8('N').u16(2).text(id).text(note_of(change.number)); };
  if (change.kind == Change::Kind::kInsert) {
    out.u8('I').u32(kItemsTable);
    row();
  } else if (change.kind == Change::Kind::kUpdate) {
    out.u8('U').u32(kItemsTable);
    row();
  } else {
    out.u8('D').u32(kItemsTable).u8('K').u16(2).text(id).null();
  }
  return out.take();
}

bool is_item(Change::Kind kind) {
  return kind == Change::Kind::kInsert || kind == Change::Kind::kUpdate ||
         kind == Change::Kind::kDelete;
}

}  // namespace

EmittedEvent event_of(std::uint64_t number) {
  EmittedEvent event;
  char id[40];
  std::snprintf(id, sizeof id, "12345678-0000-4000-8000-%012llx",
                static_cast<unsigned long long>(number));
  event.id = id;
  event.subject = "orders." + std::to_string(number % 5);
  if (number % 3 != 0) event.key = "k" + std::to_string(number % 7);
  if (number % 4 != 0) event.type = "Placed";
  event.payload = "{\"n\": " + std::to_string(number) + "}";
  if (number % 11 == 0) event.header = std::to_string(number * 17);
  return event;
}

std::string note_of(std::uint64_t number) {
  std::string note = "note " + std::to_string(number);
  if (number % 4 == 0) note += std::string(number % 300, 'x');
  return note;
}

ModelPostgres::ModelPostgres(std::function<void(Lsn)> on_status)
    : on_status_(std::move(on_status)) {
  Checkpoint& row = disk_.row;
  row.slot = "slot";
  row.publication = "postrider";
  row.publication_version = disk_.publication_version;
  row.system_id = disk_.system_id;
  row.confirm_to = disk_.slot.confirmed;
  row.epochs_json = "[]";
  disk_.rows.emplace_back(disk_.inserted, row);
}

Walsender* ModelPostgres::slot_holder() const {
  return holder_ && holder_->alive ? holder_.get() : nullptr;
}

void ModelPostgres::commit(std::vector<Change> changes, bool synchronous, Random& random) {
  Transaction transaction;
  transaction.changes = std::move(changes);
  disk_.inserted.value += 40 + random.below(400);
  transaction.commit_lsn = disk_.inserted;
  disk_.inserted.value += 48;
  transaction.end_lsn = disk_.inserted;
  transaction.timeline = disk_.timeline;
  transaction.xid = disk_.next_xid++;
  clock_us_ += 1 + static_cast<std::int64_t>(random.below(5000));
  transaction.commit_time_us = clock_us_;
  disk_.wal.push_back(std::move(transaction));
  if (synchronous) flush();
}

void ModelPostgres::write_wal(std::uint64_t bytes) {
  disk_.inserted.value += bytes;
  flush();
}

std::shared_ptr<Walsender> ModelPostgres::connect() {
  auto sender = std::make_shared<Walsender>();
  sender->pid = next_pid_++;
  std::erase_if(senders_, [](const auto& known) { return known.expired(); });
  senders_.push_back(sender);
  return sender;
}

bool ModelPostgres::start(const std::shared_ptr<Walsender>& sender, Lsn from, bool captures,
                          bool messages) {
  if (slot_holder() != nullptr || !disk_.slot.exists || disk_.slot.lost) return false;
  holder_ = sender;
  sender->streaming = true;
  sender->captures = captures;
  sender->messages = messages;
  sender->sent = std::max(from, disk_.slot.confirmed);
  return true;
}

void ModelPostgres::status(Walsender& sender, Lsn confirmed, bool reply_requested) {
  on_status_(confirmed);
  disk_.slot.confirmed = std::max(disk_.slot.confirmed, confirmed);
  if (reply_requested) sender.frames.push_back(keepalive(sender.sent, false));
}

void ModelPostgres::terminate(int pid) {
  if (holder_ && holder_->pid == pid) holder_->alive = false;
}

void ModelPostgres::describe(Walsender& sender, int table, Random& random) {
  // Again after an invalidation.
  if (!sender.described.insert(table).second && !random.one_in(20)) return;
  Writer out;
  out.u8('R').u32(unsigned(table));
  const auto column = [&](std::string_view name, unsigned type, bool key) {
    out.u8(key ? 1 : 0).c_string(name).u32(type).u32(0xFFFFFFFFU);
  };
  if (table == kEventsTable) {
    out.c_string("outbox").c_string("events").u8('d').u16(9);
    column("created_at", 1184, false);
    column("id", 2950, true);
    for (const char* name : {"subject", "key", "type", "content_type"}) column(name, 25, false);
    column("headers", 3802, false);
    column("payload", 3802, false);
    column("payload_bytes", 17, false);
  } else {
    out.c_string("app").c_string("items").u8('d').u16(2);
    column("id", 20, true);
    column("note", 25, false);
  }
  sender.frames.push_back(frame(out.take()));
}

void ModelPostgres::send_transaction(Walsender& sender, const Transaction& transaction,
                                     Random& random) {
  using Kind = Change::Kind;
  const auto time = static_cast<std::uint64_t>(transaction.commit_time_us - kPostgresEpochUs);
  bool begun = false;
  // Transactions without anything to send are left out.
  const auto begin = [&] {
    if (std::exchange(begun, true)) return;
    sender.frames.push_back(frame(
        Writer().u8('B').u64(transaction.commit_lsn.value).u64(time).u32(transaction.xid).take()));
  };
  for (const auto& change : transaction.changes) {
    if (is_item(change.kind) && !sender.captures) continue;
    const bool message = change.kind == Kind::kOutboxMessage ||
                         change.kind == Kind::kForeignMessage || change.kind == Kind::kStrayMessage;
    if (message && !sender.messages) continue;
    if (change.kind == Kind::kStrayMessage) {
      // It comes where it was written, which is never inside a transaction's changes.
      if (!begun) sender.frames.push_back(frame(other_message(false)));
      continue;
    }
    begin();
    if (random.one_in(12))
      sender.frames.push_back(keepalive(transaction.commit_lsn, random.one_in(2)));
    if (is_item(change.kind)) {
      describe(sender, kItemsTable, random);
      sender.frames.push_back(frame(item_change(change)));
    } else if (change.kind == Kind::kOutboxRow) {
      describe(sender, kEventsTable, random);
      sender.frames.push_back(frame(row_of_events(change.number)));
    } else {
      sender.frames.push_back(frame(change.kind == Kind::kOutboxMessage ? message_of(change.number)
                                                                        : other_message(true)));
    }
  }
  if (begun)
    sender.frames.push_back(frame(Writer()
                                      .u8('C')
                                      .u8(0)
                                      .u64(transaction.commit_lsn.value)
                                      .u64(transaction.end_lsn.value)
                                      .u64(time)
                                      .take()));
  sender.sent = transaction.end_lsn;
}

bool ModelPostgres::decode(Walsender& sender, Random& random) {
  if (!sender.alive || !sender.streaming) return false;
  const auto next = std::ranges::lower_bound(disk_.wal, sender.sent, {}, &Transaction::commit_lsn);
  if (next != disk_.wal.end() && next->end_lsn <= disk_.flushed) {
    send_transaction(sender, *next, random);
    if (random.one_in(4)) sender.frames.push_back(keepalive(sender.sent, random.one_in(4)));
    return true;
  }
  if (sender.sent >= disk_.flushed) return false;
  sender.sent = disk_.flushed;
  sender.frames.push_back(keepalive(disk_.flushed, random.one_in(4)));
  return true;
}

void ModelPostgres::close_connections() {
  ++generation;
  for (const auto& sender : senders_)
    if (const auto open = sender.lock()) open->alive = false;
  holder_.reset();
}

void ModelPostgres::crash() {
  close_connections();
  up = false;
  disk_.slot.confirmed = disk_.slot.saved;
  while (!disk_.wal.empty() && disk_.wal.back().end_lsn > disk_.flushed) disk_.wal.pop_back();
  disk_.inserted = disk_.flushed;
}

}  // namespace postrider::sim
