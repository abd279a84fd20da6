#include "tests/simulator/model_jetstream.h"

#include <algorithm>
#include <sstream>
#include <utility>

namespace postrider::sim {
namespace {

std::string stored_at(std::uint64_t seq) {
  return "{\"stream\":\"S\",\"seq\":" + std::to_string(seq) + "}";
}

std::string duplicate_of(std::uint64_t seq) {
  return "{\"stream\":\"S\",\"seq\":" + std::to_string(seq) + ",\"duplicate\":true}";
}

std::string refused(int code, int err_code, const std::string& why) {
  return "{\"type\":\"io.nats.jetstream.api.v1.pub_ack\",\"error\":{\"code\":" +
         std::to_string(code) + ",\"err_code\":" + std::to_string(err_code) +
         ",\"description\":\"" + why + "\"},\"stream\":\"S\",\"seq\":0}";
}

constexpr const char* kNoResponders = "";

// What a reply subject says: ....<batch>.<flow>.fail.<number>.<operation>.$FI
struct BatchPlace {
  std::string batch;
  std::uint64_t flow = 0;
  std::uint64_t number = 0;
  char operation = 0;
};

BatchPlace place_of(const std::string& reply) {
  std::vector<std::string> tokens;
  std::istringstream text(reply);
  for (std::string token; std::getline(text, token, '.');) tokens.push_back(token);
  const auto from_end = [&](std::size_t n) { return tokens.at(tokens.size() - n); };
  return {from_end(6), std::stoull(from_end(5)), std::stoull(from_end(3)), from_end(2).at(0)};
}

}  // namespace

ModelJetStream::ModelJetStream(const Time& now,
                               std::function<void(const Publish&, std::uint64_t)> on_publish)
    : now_(now), on_publish_(std::move(on_publish)) {}

std::uint64_t ModelJetStream::durable_seq() const {
  if (!stream_) return 0;
  std::uint64_t seq = stream_->last_seq();
  while (seq > synced_ && stream_->messages[seq - 1].at + sync_interval > now_) --seq;
  return seq;
}

std::shared_ptr<ModelJetStream::Connection> ModelJetStream::connect(
    std::shared_ptr<ErrorBox> mailbox) {
  auto connection = std::make_shared<Connection>();
  connection->mailbox = std::move(mailbox);
  if (stream_ && stale_by > 0)
    connection->stale_last = stream_->last_seq() - std::min(stream_->last_seq(), stale_by);
  stale_by = 0;
  connections_.push_back(connection);
  return connection;
}

void ModelJetStream::create_stream() {
  if (stream_) return;
  stream_.emplace();
  stream_->created = "2026-01-01T00:00:00." + std::to_string(++incarnations_) + "Z";
  stream_->created_at = now_;
  synced_ = 0;
}

std::uint64_t ModelJetStream::last_seq_for(const Connection& connection) const {
  if (!connection.stale_last) return stream_->last_seq();
  // No replica lags by as long as it takes to be durable everywhere.
  return std::clamp(*connection.stale_last, durable_seq(), stream_->last_seq());
}

const Stored* ModelJetStream::find(const Connection& connection, std::uint64_t seq) const {
  if (seq == 0 || seq > last_seq_for(connection)) return nullptr;
  const Stored& stored = stream_->messages[seq - 1];
  return stored.gone ? nullptr : &stored;
}

bool ModelJetStream::process(Connection& connection, std::uint64_t count) {
  if (!up || connection.sent.empty()) return false;
  for (; count > 0 && !connection.sent.empty(); --count) {
    const Publish publish = std::move(connection.sent.front());
    connection.sent.pop_front();
    const std::uint64_t before = stream_ ? stream_->last_seq() : 0;
    auto said = publish.reply.ends_with(".$FI") ? answer_in_batch(publish)
                                                : std::vector<std::string>{answer(publish)};
    const std::uint64_t after = stream_ ? stream_->last_seq() : 0;
    if (!publish.headers.empty()) on_publish_(publish, after > before ? after : 0);
    if (!connection.alive) continue;
    for (auto& text : said) connection.answers.push_back({publish.reply, std::move(text)});
  }
  return true;
}

std::string ModelJetStream::answer(const Publish& publish) {
  if (!stream_) return kNoResponders;
  if (false_duplicates > 0 && !publish.message_id.empty()) {
    --false_duplicates;
    return duplicate_of(0);
  }
  if (refusals > 0) {
    --refusals;
    return refused(503, 10077, "insufficient resources");
  }
  forget_ids();
  const auto known = stream_->ids.find(publish.message_id);
  const bool duplicate = !publish.message_id.empty() && known != stream_->ids.end();
  if (duplicate && duplicates_first) return duplicate_of(known->second.first);
  if (publish.expected_last && *publish.expected_last != stream_->last_seq())
    return refused(400, wire::kErrWrongLastSequence,
                   "wrong last sequence: " + std::to_string(stream_->last_seq()));
  if (duplicate) return duplicate_of(known->second.first);
  const std::uint64_t seq = stream_->last_seq() + 1;
  stream_->messages.push_back({publish, seq, now_, false});
  if (!publish.message_id.empty()) stream_->ids[publish.message_id] = {seq, now_};
  return stored_at(seq);
}

// As nats-server's stream.go does it, processJetStreamFastBatchMsg, for a stream of one replica.
std::vector<std::string> ModelJetStream::answer_in_batch(const Publish& publish) {
  if (!stream_) return {kNoResponders};
  const BatchPlace place = place_of(publish.reply);
  auto found = batches_.find(place.batch);
  if (found == batches_.end()) {
    if (place.number != 1)
      return {refused(400, wire::kErrUnknownBatch, "batch publish ID unknown")};
    found = batches_.emplace(place.batch, Batch{}).first;
  }
  Batch& batch = found->second;
  std::vector<std::string> said;
  const auto end = [&] {
    said.push_back("{\"stream\":\"S\",\"seq\":" + std::to_string(batch.seq) + ",\"batch\":\"" +
                   place.batch + "\",\"count\":" + std::to_string(batch.messages) + "}");
    batches_.erase(found);
    return said;
  };
  if (place.number != batch.messages + 1) {
    said.push_back("{\"type\":\"gap\",\"last_seq\":" + std::to_string(batch.messages + 1) +
                   ",\"seq\":" + std::to_string(place.number) + "}");
    return end();
  }
  if (place.operation == '3') return end();
  const bool commit = place.operation == '2';
  ++batch.messages;
  if (place.number == 1 && !commit)
    said.push_back("{\"type\":\"ack\",\"seq\":0,\"msgs\":" + std::to_string(place.flow) + "}");
  const auto ack = wire::parse_pub_ack(answer(publish));
  using Outcome = wire::PubAck::Outcome;
  if (ack.outcome == Outcome::kStored) batch.seq = ack.seq;
  if (ack.outcome != Outcome::kStored && ack.outcome != Outcome::kDuplicate) {
    const std::string error = "\"error\":{\"code\":" + std::to_string(ack.code) +
                              ",\"err_code\":" + std::to_string(ack.err_code) +
                              ",\"description\":\"" + ack.description + "\"}";
    if (place.number == 1) {
      said.push_back("{" + error + ",\"stream\":\"S\",\"seq\":0}");
      batches_.erase(found);
      return said;
    }
    said.push_back("{\"type\":\"err\",\"seq\":" + std::to_string(place.number) + "," + error + "}");
    --batch.messages;
    return end();
  }
  // A duplicate is passed over, and counts.
  if (commit && place.number == 1 && ack.outcome == Outcome::kDuplicate) {
    said.push_back(duplicate_of(ack.seq));
    batches_.erase(found);
    return said;
  }
  if (commit) return end();
  if (batch.messages % place.flow == 0)
    said.push_back("{\"type\":\"ack\",\"seq\":" + std::to_string(batch.messages) +
                   ",\"msgs\":" + std::to_string(place.flow) + "}");
  return said;
}

void ModelJetStream::forget_ids() {
  std::erase_if(stream_->ids,
                [&](const auto& id) { return id.second.second + duplicate_window <= now_; });
}

bool ModelJetStream::deliver(Connection& connection, std::uint64_t count) {
  if (!connection.alive || connection.answers.empty()) return false;
  for (; count > 0 && !connection.answers.empty(); --count) {
    static_cast<Mailbox<Said>&>(*connection.mailbox).put(std::move(connection.answers.front()));
    connection.answers.pop_front();
  }
  return true;
}

void ModelJetStream::forget_closed() {
  std::erase_if(connections_, [](const auto& connection) {
    return !connection->alive && connection->sent.empty();
  });
}

void ModelJetStream::sync() {
  if (stream_) synced_ = stream_->last_seq();
}

void ModelJetStream::cut(std::uint64_t keep) {
  if (!stream_) return;
  keep = std::min(keep, stream_->last_seq());
  stream_->messages.resize(keep);
  stream_->first_seq = std::min(stream_->first_seq, keep + 1);
  synced_ = std::min(synced_, keep);
}

void ModelJetStream::crash(std::uint64_t keep, bool whole_stream) {
  up = false;
  batches_.clear();
  for (const auto& connection : connections_) disconnect(*connection);
  for (const auto& connection : connections_) connection->sent.clear();
  if (whole_stream)
    stream_.reset();
  else
    cut(keep);
  // The duplicate window is rebuilt from what is stored.
  if (stream_) std::erase_if(stream_->ids, [&](const auto& id) { return id.second.first > keep; });
  synced_ = stream_ ? stream_->last_seq() : 0;  // read back from the disk
}

void ModelJetStream::elect(std::uint64_t keep) {
  batches_.clear();
  cut(keep);
}

void ModelJetStream::disconnect(Connection& connection) {
  if (!connection.alive) return;
  connection.alive = false;
  connection.answers.clear();
  if (!connection.client_gone)
    connection.mailbox->put(Error{ErrorKind::kBrokerUnavailable, "the connection broke", ""});
}

void ModelJetStream::delete_stream() {
  batches_.clear();
  stream_.reset();
  synced_ = 0;
}

void ModelJetStream::expire(std::uint64_t seq) {
  if (!stream_) return;
  for (; stream_->first_seq <= std::min(seq, durable_seq()); ++stream_->first_seq)
    stream_->messages[stream_->first_seq - 1].gone = true;
}

void ModelJetStream::remove(std::uint64_t seq) {
  if (stream_ && seq >= 1 && seq <= durable_seq()) stream_->messages[seq - 1].gone = true;
}

void ModelJetStream::publish_foreign(const Publish& message) {
  if (up && stream_) stream_->messages.push_back({message, stream_->last_seq() + 1, now_, false});
}

}  // namespace postrider::sim
