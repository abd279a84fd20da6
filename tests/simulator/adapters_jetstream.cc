// The relay's JetStream adapters over the model, in place of base/jetstream/connection.cc,
// base/jetstream/mailbox.cc, relay/jetstream/client.cc and relay/jetstream/publisher.cc.
#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "base/jetstream/mailbox.h"
#include "relay/jetstream/client.h"
#include "relay/jetstream/publisher.h"
#include "relay/wire/fast_batch.h"
#include "tests/simulator/nats_handle.h"
#include "tests/simulator/world.h"

namespace postrider {

using sim::World;

// A mailbox is looked into, never waited for.
ErrorBox::ErrorBox() : fd_(-1) {}
ErrorBox::~ErrorBox() = default;
void ErrorBox::enter(const std::shared_ptr<ErrorBox>&) {}
void ErrorBox::put(Error error) {
  if (!error_) error_ = std::move(error);
}
std::optional<Error> ErrorBox::error() const {
  return error_;
}
void ErrorBox::wake() const {}
void ErrorBox::clear_wake() const {}

struct NatsConnection::Impl {
  std::shared_ptr<sim::ModelJetStream::Connection> connection;
  __natsConnection handle;
};

namespace {

[[noreturn]] void throw_broken() {
  throw Failure(ErrorKind::kBrokerUnavailable, "the connection broke");
}

// One request to the leader: the process may be interrupted before it and before its answer.
void ask(const sim::ModelJetStream::Connection& connection) {
  World::the().pass();
  if (!connection.alive || !World::the().broker.up) throw_broken();
}

wire::StreamInfo describe(const sim::ModelJetStream::Connection& connection) {
  const auto& broker = World::the().broker;
  const auto& stream = *broker.stream();
  wire::StreamInfo info;
  info.name = "S";
  info.created = stream.created;
  info.last_seq = broker.last_seq_for(connection);
  info.first_seq = std::min(stream.first_seq, info.last_seq + 1);
  info.messages = static_cast<std::uint64_t>(std::count_if(
      stream.messages.begin(), stream.messages.begin() + static_cast<std::ptrdiff_t>(info.last_seq),
      [](const auto& stored) { return !stored.gone; }));
  info.subjects = {"src.>"};
  info.storage = "file";
  info.retention = "limits";
  info.discard = "new";
  info.fast_ingest = broker.fast_ingest;
  return info;
}

}  // namespace

NatsConnection::NatsConnection(const NatsOptions&, const std::string&, std::chrono::milliseconds,
                               std::shared_ptr<ErrorBox> errors)
    : impl_(std::make_unique<Impl>()) {
  World::the().pass();
  if (!World::the().broker.up) throw_broken();
  impl_->connection = World::the().broker.connect(std::move(errors));
  impl_->handle.model = impl_->connection.get();
}

NatsConnection::~NatsConnection() {
  if (!impl_->connection) return;
  // What was sent may still arrive.
  impl_->connection->client_gone = true;
  impl_->connection->alive = false;
  impl_->connection->mailbox.reset();
}

// Holes in the middle are not modelled.
std::uint64_t NatsConnection::newest_missing(const std::string&) {
  return 0;
}

std::optional<wire::StreamInfo> NatsConnection::stream_info(const std::string&) {
  ask(*impl_->connection);
  if (!World::the().broker.stream()) return std::nullopt;
  return describe(*impl_->connection);
}

std::optional<wire::StoredMessage> NatsConnection::message(const std::string&, std::uint64_t seq) {
  ask(*impl_->connection);
  if (!World::the().broker.stream()) return std::nullopt;
  const auto* stored = World::the().broker.find(*impl_->connection, seq);
  if (stored == nullptr) return std::nullopt;
  return wire::StoredMessage{seq, stored->message.subject, stored->message.headers,
                             stored->message.payload};
}

void NatsConnection::for_each_message(
    const std::string&, std::uint64_t first, std::uint64_t last,
    const std::function<void(const wire::StoredMessage&)>& visit) {
  ask(*impl_->connection);
  if (!World::the().broker.stream()) return;
  last = std::min(last, World::the().broker.stream()->last_seq());
  for (std::uint64_t seq = first; seq <= last; ++seq) {
    const auto* stored = World::the().broker.find(*impl_->connection, seq);
    if (stored != nullptr)
      visit({seq, stored->message.subject, stored->message.headers, stored->message.payload});
  }
}

std::optional<wire::StoredMessage> NatsConnection::message_from(const std::string&,
                                                                std::uint64_t seq,
                                                                const std::string&) {
  ask(*impl_->connection);
  const auto& broker = World::the().broker;
  if (!broker.stream()) return std::nullopt;
  for (; seq <= broker.last_seq_for(*impl_->connection); ++seq)
    if (const auto* stored = broker.find(*impl_->connection, seq))
      return wire::StoredMessage{seq, stored->message.subject, stored->message.headers,
                                 stored->message.payload};
  return std::nullopt;
}

std::size_t NatsConnection::max_payload() const {
  return 1024UL * 1024;
}

natsConnection* NatsConnection::handle() const {
  return &impl_->handle;
}

JetStreamClient::JetStreamClient(const NatsOptions& options, const std::string& client_name,
                                 std::chrono::milliseconds timeout)
    : JetStreamClient(options, client_name, timeout, Mailbox<std::monostate>::open()) {}

JetStreamClient::JetStreamClient(const NatsOptions& options, const std::string& client_name,
                                 std::chrono::milliseconds timeout, Errors errors)
    : NatsConnection(options, client_name, timeout, errors),
      errors_(std::move(errors)) {}

JetStreamClient::~JetStreamClient() = default;

wire::StreamInfo JetStreamClient::create_stream(const StreamOptions&, const std::string&) {
  World::the().pass();
  auto& connection = *handle()->model;
  if (!connection.alive || !World::the().broker.up) throw_broken();
  World::the().broker.create_stream();
  const auto info = describe(connection);
  ask(connection);  // made, and the answer may be lost
  return info;
}

struct Publisher::Impl {
  std::shared_ptr<Mailbox<sim::Said>> answers = Mailbox<sim::Said>::open();
  std::shared_ptr<sim::ModelJetStream::Connection> connection;
  std::optional<wire::FastBatch> batch;
  std::vector<sim::Said> said;
  std::deque<sim::Publish> unsent;
};

Publisher::Publisher(const NatsOptions&, const std::string&, std::chrono::milliseconds)
    : impl_(std::make_unique<Impl>()) {
  World::the().pass();
  if (!World::the().broker.up) throw_broken();
  impl_->connection = World::the().broker.connect(impl_->answers);
}

Publisher::~Publisher() {
  if (!impl_->connection) return;
  impl_->connection->client_gone = true;
  impl_->connection->alive = false;
  impl_->connection->mailbox.reset();
}

int Publisher::fd() const {
  return -1;
}

bool Publisher::backed_up() const {
  return false;
}

void Publisher::flush() {
  auto& sent = impl_->connection->sent;
  for (auto& publish : impl_->unsent) sent.push_back(std::move(publish));
  impl_->unsent.clear();
}

void Publisher::announce(std::string_view, std::string_view) {}

void Publisher::use_batches(std::uint16_t flow) {
  impl_->batch.emplace("_INBOX." + std::to_string(World::the().next_inbox()), flow);
}

bool Publisher::in_batch() const {
  return impl_->batch && impl_->batch->open();
}

bool Publisher::awaits_batch() const {
  return impl_->batch && impl_->batch->ending();
}

bool Publisher::answer_due() const {
  return impl_->batch && impl_->batch->answer_due();
}

void Publisher::end_batch() {
  if (!in_batch()) return;
  if (!impl_->unsent.empty()) {
    auto& reply = impl_->unsent.back().reply;
    reply[reply.size() - wire::FastBatch::kOperationFromEnd] = wire::FastBatch::kCommit;
    impl_->batch->end();
    return;
  }
  sim::Publish end;
  end.reply = impl_->batch->end_of_batch();
  impl_->unsent.push_back(std::move(end));
}

void Publisher::take_answers(std::vector<wire::PubAck>& answers) {
  answers.clear();
  impl_->answers->take(impl_->said);
  for (const auto& said : impl_->said) {
    wire::PubAck none;
    none.outcome = wire::PubAck::Outcome::kNoResponder;
    if (!impl_->batch)
      answers.push_back(said.text.empty() ? none : wire::parse_pub_ack(said.text));
    else if (said.text.empty() && impl_->batch->is_own(said.reply))
      answers.push_back(none);
    else if (auto answer = impl_->batch->accept(said.reply, said.text))
      answers.push_back(*std::move(answer));
  }
}

void Publisher::publish(const Message& message, const std::string&, std::uint64_t expected_last) {
  World::the().pass();
  if (!impl_->connection->alive) throw_broken();
  sim::Publish publish;
  publish.subject = message.subject;
  publish.payload = message.payload;
  publish.headers = "NATS/1.0\r\n";
  for (const auto& [name, value] : message.headers) {
    publish.headers.append(name).append(": ").append(value).append("\r\n");
    if (name == "Nats-Msg-Id") publish.message_id = value;
  }
  publish.headers += "\r\n";
  publish.expected_last = expected_last;
  if (!impl_->batch) return impl_->connection->sent.push_back(std::move(publish));
  publish.reply = impl_->batch->next(expected_last);
  impl_->unsent.push_back(std::move(publish));
  if (World::the().random().one_in(4)) flush();
}

}  // namespace postrider
