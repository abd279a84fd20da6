// The relay's PostgreSQL adapters over the model, in place of relay/postgres/replication.cc and
// relay/postgres/source.cc.
#include <utility>

#include "relay/postgres/replication.h"
#include "relay/postgres/source.h"
#include "tests/simulator/world.h"

// The handle of libpq is one of the model's.
struct pg_conn {
  std::shared_ptr<postrider::sim::Walsender> sender;
  std::string frame;
};

// What replication.h calls inline. The program does not use libpq otherwise.
extern "C" {
int PQsocket(const PGconn*) {
  return 1000;  // for poll(), in seams.cc
}
void PQfinish(PGconn* connection) {
  connection->sender->client_gone = true;
  connection->sender->alive = false;  // the server sees the socket close
  delete connection;
}
int PQbackendPID(const PGconn* connection) {
  return connection->sender->pid;
}
void PQfreemem(void*) {}
void PQclear(PGresult*) {}
}

namespace postrider {

using sim::World;

namespace {

[[noreturn]] void throw_cut_off() {
  throw Failure(ErrorKind::kPostgresUnavailable, "the connection broke");
}

// One statement. The process may be interrupted before it and before its answer; `write` says
// whether it commits.
template <class Statement>
auto statement(Statement run) {
  auto& world = World::the();
  world.pass();
  if (!world.postgres.up || world.relay().sql_generation != world.postgres.generation)
    throw_cut_off();
  auto result = run(world.postgres);
  world.pass();
  // It took effect, and its answer is lost.
  if (world.relay().sql_generation != world.postgres.generation) throw_cut_off();
  return result;
}

// A write of the row, which is WAL like any other.
template <class Write>
void write_row(std::int64_t session, Write write) {
  const bool unfenced = statement([&](sim::ModelPostgres& postgres) {
    if (postgres.row().session != session) return false;
    bool written = false;
    postgres.write_row([&](Checkpoint& row) { written = write(row); });
    return written;
  });
  if (!unfenced) throw Failure(ErrorKind::kSessionFenced, "a newer session owns the source");
}

}  // namespace

void require_publication(const PublicationState& publication, const std::string& expected_version) {
  if (publication.version != expected_version)
    throw Failure(ErrorKind::kPublicationMissing, "another publication");
}

void require_capture(const std::string&, const std::string& problem) {
  if (!problem.empty()) throw Failure(ErrorKind::kPublicationMissing, problem);
}

void require_binding(const Checkpoint& row, const std::string& slot,
                     const std::string& publication) {
  if (row.slot != slot || row.publication != publication)
    throw Failure(ErrorKind::kConfiguration, "another slot or publication");
}

Source::Source(const std::string&, const std::string&, SqlWatch* watch) : watch_(watch) {
  auto& world = World::the();
  world.pass();
  if (!world.postgres.up) throw_cut_off();
  world.relay().sql_generation = world.postgres.generation;
}
Source::~Source() = default;
Source::Source(Source&&) noexcept = default;
Source& Source::operator=(Source&&) noexcept = default;

void Source::require_schema(int) {}

int Source::end_stuck_commits() {
  return 0;
}

bool Source::terminate(int pid) {
  return statement([&](sim::ModelPostgres& postgres) {
    postgres.terminate(pid);
    return true;
  });
}

Checkpoint Source::open_session(const std::string&) {
  return statement([](sim::ModelPostgres& postgres) {
    postgres.write_row([](Checkpoint& row) { ++row.session; });
    return postgres.row();
  });
}

std::optional<Checkpoint> Source::read_checkpoint(const std::string&) {
  return statement([](sim::ModelPostgres& postgres) { return std::optional(postgres.row()); });
}

SlotState Source::slot(const std::string&) {
  return statement([](sim::ModelPostgres& postgres) {
    SlotState state;
    const auto& slot = postgres.disk().slot;
    state.facts.exists = slot.exists;
    state.facts.plugin = "pgoutput";
    state.facts.lost = slot.lost;
    state.facts.confirmed = slot.confirmed;
    if (const auto* holder = postgres.slot_holder()) state.active_pid = holder->pid;
    return state;
  });
}

PublicationState Source::publication(const std::string& name) {
  return statement([&](sim::ModelPostgres& postgres) {
    return PublicationState{name, postgres.disk().publication_version, ""};
  });
}

std::string Source::capture_problem(const std::string&) {
  return statement([](sim::ModelPostgres&) { return std::string(); });
}

Lsn Source::insert_lsn() {
  return statement([](sim::ModelPostgres& postgres) {
    return World::the().relay().epoch_from = postgres.inserted();
  });
}

Lsn Source::flush_lsn() {
  return statement([](sim::ModelPostgres& postgres) { return postgres.flushed(); });
}

// The model has no failover slots.
std::string Source::standbys_behind(Lsn) {
  return {};
}

void Source::bind_stream(const std::string&, std::int64_t session, const std::string& incarnation,
                         std::uint64_t seq) {
  write_row(session, [&](Checkpoint& row) {
    if (row.mark.ordinal != 0) return false;
    row.incarnation = incarnation;
    row.mark.seq = seq;
    return true;
  });
}

void Source::note_foreign(const std::string&, std::int64_t session,
                          std::optional<std::uint64_t> seq) {
  write_row(session, [&](Checkpoint& row) {
    row.foreign_seq = seq;
    return true;
  });
}

void Source::set_epochs(const std::string&, std::int64_t session, const std::string& epochs_json,
                        bool wal_store) {
  write_row(session, [&](Checkpoint& row) {
    row.epochs_json = epochs_json;
    row.wal_store = wal_store;
    auto& world = World::the();
    world.oracle.on_settings(world.relay().settings, world.relay().epoch_from);
    return true;
  });
}

Lsn Source::checkpoint(const std::string&, std::int64_t session, const Confirmable& place) {
  write_row(session, [&](Checkpoint& row) {
    if (place.mark.ordinal < row.mark.ordinal || place.confirm_to < row.confirm_to) {
      World::the().oracle.complain("the checkpoint row would go back");
      return true;
    }
    row.mark = place.mark;
    row.confirm_to = place.confirm_to;
    return true;
  });
  return statement([](sim::ModelPostgres& postgres) { return postgres.inserted(); });
}

// ---- The replication connection ----

ReplicationConnection::ReplicationConnection(const ReplicationOptions&) {
  auto& world = World::the();
  world.pass();
  if (!world.postgres.up) throw_cut_off();
  connection_.reset(new pg_conn{world.postgres.connect(), ""});
}

SystemIdentity ReplicationConnection::identify() {
  auto& world = World::the();
  world.pass();
  if (!world.postgres.up || !connection_->sender->alive) throw_cut_off();
  const auto& disk = world.postgres.disk();
  return {disk.system_id, disk.timeline, disk.flushed};
}

TimelineHistory ReplicationConnection::timeline_history(std::uint32_t timeline) {
  const auto history = TimelineHistory::parse(timeline, World::the().postgres.disk().forks);
  if (!history) throw Failure(ErrorKind::kProtocol, "no timeline history");
  return *history;
}

void ReplicationConnection::start(const std::string&, const std::vector<std::string>& publications,
                                  Lsn from, bool messages) {
  auto& world = World::the();
  world.pass();
  if (!world.postgres.up || !connection_->sender->alive) throw_cut_off();
  if (!world.postgres.start(connection_->sender, from, publications.size() > 1, messages))
    throw_cut_off();
}

void ReplicationConnection::consume_input() {
  World::the().pass();
  auto& sender = *connection_->sender;
  auto& random = World::the().random();
  for (auto n = random.between(1, 12); n > 0 && !sender.frames.empty(); --n) {
    sender.socket.push_back(std::move(sender.frames.front()));
    sender.frames.pop_front();
  }
  // What was on its way arrives before the end of the connection, or is lost with it.
  if (!sender.alive && (sender.frames.empty() || random.one_in(4))) throw_cut_off();
}

std::optional<wire::ReplicationFrame> ReplicationConnection::next_frame() {
  auto& socket = connection_->sender->socket;
  if (socket.empty()) return std::nullopt;
  connection_->frame = std::move(socket.front());
  socket.pop_front();
  return value_or_throw(wire::decode_replication_frame(wire::as_bytes(connection_->frame)));
}

void ReplicationConnection::send_status(Lsn received, Lsn confirmed, bool request_reply) {
  World::the().pass();
  if (!connection_->sender->alive) throw_cut_off();
  static_cast<void>(received);
  World::the().postgres.status(*connection_->sender, confirmed, request_reply);
}

void ReplicationConnection::flush() {}

}  // namespace postrider
