// The applier's adapters over the models, in place of readmodel/postgres/target.cc and
// readmodel/jetstream/stream_feed.cc.
#include <pqxx/pqxx>
#include <utility>

#include "readmodel/jetstream/stream_feed.h"
#include "readmodel/postgres/target.h"
#include "tests/simulator/nats_handle.h"
#include "tests/simulator/world.h"

namespace postrider {

using sim::World;

namespace {

// The statement's connection. The process may be interrupted before it and before its answer.
sim::ModelTarget::Session& session_of(std::int64_t id) {
  World::the().pass();
  auto* const session = World::the().readmodel.session(id);
  if (session == nullptr)
    throw Failure(ErrorKind::kPostgresUnavailable, "the connection to the target broke");
  return *session;
}

}  // namespace

// ---- The target. Its generation_ is the model's session. ----

Target::Target(TargetOptions options) : options_(std::move(options)) {
  World::the().pass();
  generation_ = World::the().readmodel.connect();
  World::the().applier().target_session = generation_;
}

Target::~Target() {
  World::the().readmodel.close(generation_);
}

bool Target::try_lock() {
  session_of(generation_);
  return World::the().readmodel.try_lock(generation_);
}

bool Target::end_dead_holder(std::chrono::milliseconds idle) {
  session_of(generation_);
  return World::the().readmodel.end_dead_holder(idle);
}

void Target::heartbeat() {
  session_of(generation_);
}

Cursor Target::open() {
  session_of(generation_);
  return World::the().readmodel.cursor();
}

std::optional<Stop> Target::stop() {
  session_of(generation_);
  return std::nullopt;
}

void Target::write_stop(const Stop& stop, const Cursor&) {
  World::the().oracle.complain("an event was refused: " + stop.error);
}

void Target::clear_stop(const Stop&) {}
void Target::drop_stop() {}

std::optional<Barrier> Target::barrier() {
  session_of(generation_);
  return std::nullopt;
}

void Target::report_reached(const Barrier&) {}
void Target::note_coverage(const CoverageNotice&) {}

Target::Transaction::Transaction(Target& target, const Cursor& from, const Cursor& to)
    : target_(target) {
  session_of(target_.generation_).open.emplace();
  move(from, to);
}

Target::Transaction::~Transaction() {
  if (auto* session = World::the().readmodel.session(target_.generation_)) session->open.reset();
}

void Target::Transaction::move(const Cursor& from, const Cursor& to) {
  while (true) {
    session_of(target_.generation_);
    if (!World::the().readmodel.row_is_locked(target_.generation_)) break;
    World::the().wait();
  }
  // Where it was terminated meanwhile, it has no transaction any more.
  if (!session_of(target_.generation_).open)
    throw Failure(ErrorKind::kPostgresUnavailable, "the connection to the target broke");
  if (!World::the().readmodel.move(target_.generation_, from, to))
    throw Failure(ErrorKind::kSessionFenced, "another applier has moved the cursor");
}

void Target::Transaction::note_coverage(const CoverageNotice&) {}
void Target::Transaction::set_aside(const Stop&, std::span<const ReceivedEvent>, const char*) {}

void Target::Transaction::heartbeat() {
  session_of(target_.generation_);
}

// In doubt until it returns: done, and its answer may be lost.
void Target::Transaction::commit() {
  session_of(target_.generation_);
  World::the().readmodel.commit(target_.generation_);
  session_of(target_.generation_);
}

void Target::Transaction::settle() {
  commit();
}

// Nothing looks inside: the projection of the simulator writes to the model.
pqxx::transaction_base& Target::Transaction::sql() {
  alignas(pqxx::work) static std::byte nothing[sizeof(pqxx::work)];
  return *reinterpret_cast<pqxx::transaction_base*>(nothing);
}

// ---- The feed ----

struct StreamFeed::Burst {};
class StreamFeed::Reader {
 public:
  std::chrono::steady_clock::time_point heard = World::the().now;
};

StreamFeed::StreamFeed(const NatsOptions& options, const std::string& client_name,
                       std::chrono::milliseconds timeout, const std::string& notice_subject)
    : StreamFeed(options, client_name, timeout, notice_subject, Mailbox<Burst>::open()) {}

StreamFeed::StreamFeed(const NatsOptions& options, const std::string& client_name,
                       std::chrono::milliseconds timeout, const std::string&, Inbox inbox)
    : NatsConnection(options, client_name, timeout, inbox),
      inbox_(std::move(inbox)),
      reader_(std::make_unique<Reader>()) {}

StreamFeed::~StreamFeed() = default;

void StreamFeed::open(const std::string&, const std::string&, std::uint64_t seq) {
  World::the().pass();
  const auto& stream = World::the().broker.stream();
  if (!handle()->model->alive || !stream)
    throw Failure(ErrorKind::kBrokerUnavailable, "the connection broke");
  handle()->incarnation = stream->created;
  handle()->next = seq;
}

void StreamFeed::ask_for_more() {
  World::the().pass();
}

int StreamFeed::fd() const {
  return -1;
}

bool StreamFeed::unanswered_for(std::chrono::milliseconds time) const {
  return World::the().now - reader_->heard > time;
}

// Some of what follows. A stream that was cut off behind the reader shows it nothing until it is
// longer again.
void StreamFeed::take(std::vector<ReceivedEvent>& events, std::vector<std::string>& notices) {
  auto& world = World::the();
  world.pass();
  events.clear();
  notices.clear();
  const auto& stream = world.broker.stream();
  if (!handle()->model->alive)
    throw Failure(ErrorKind::kBrokerUnavailable, "the connection broke");
  if (!world.broker.up) return;
  if (!stream || stream->created != handle()->incarnation)
    throw Failure(ErrorKind::kBrokerUnavailable, "the consumer is gone");
  reader_->heard = world.now;
  for (auto n = world.applier_random().below(8); n > 0; --n) {
    std::uint64_t& next = handle()->next;
    while (next <= stream->last_seq() && stream->messages[next - 1].gone) ++next;
    if (next > stream->last_seq()) return;
    const sim::Publish& message = stream->messages[next - 1].message;
    ReceivedEvent event;
    event.seq = next++;
    event.subject = message.subject;
    event.payload = message.payload;
    const auto place = wire::find_header(message.headers, kPositionHeader);
    const auto parsed = PositionHeader::parse(place.value_or(""));
    if (!parsed) throw Failure(ErrorKind::kForeignMessage, "not a message of this source's relay");
    event.place = *parsed;
    if (const auto parts = wire::find_header(message.headers, kPartsHeader))
      event.parts = static_cast<std::uint32_t>(std::stoul(std::string(*parts)));
    events.push_back(std::move(event));
  }
}

}  // namespace postrider
