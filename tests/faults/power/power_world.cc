#include "tests/faults/power/power_world.h"

#include <unistd.h>

#include <ctime>
#include <stdexcept>

#include "dev/ports.h"
#include "tests/support/loopback.h"

namespace postrider::test {
namespace {

using std::chrono::steady_clock;
constexpr dev::milliseconds kPatience{300'000};
// A confirmation comes after the broker's sync interval, the margin, and an idle minute.
constexpr dev::milliseconds kConfirmPatience{420'000};
constexpr dev::milliseconds kNothingToDo{2'000};
constexpr std::uint64_t kGiB = 1024UL * 1024 * 1024;

// As nats-server writes times, but with all nine digits: 2026-01-31T12:00:00.000000000
std::string now_text() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  char text[64];
  const auto length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%09ld", now.tv_nsec);
  return text;
}

// The server leaves out zeros at the end, and ends in Z.
std::string padded(std::string time) {
  constexpr std::size_t kSeconds = 19;
  constexpr std::size_t kWhole = kSeconds + 10;
  if (!time.empty() && time.back() == 'Z') time.pop_back();
  if (time.size() == kSeconds) time += '.';
  time.resize(kWhole, '0');
  return time;
}

}  // namespace

PowerWorld::PowerWorld(PowerOptions options)
    : options_(std::move(options)), http_port_(dev::free_port()) {
  Filler::make_table(superuser());
  if (!nats_.stop() || !postgres_.stop(dev::Shutdown::kFast))
    throw std::runtime_error("a server does not stop");
  const auto volume = [&](const char* name, const std::filesystem::path& folder) {
    return std::make_unique<Volume>(
        Volume::Options{options_.images / (folder_.filename().string() + "." + name), folder,
                        8 * kGiB, options_.commit_interval});
  };
  broker_ = volume("nats", nats_.store());
  source_ = volume("postgres", postgres_.options().data);
  postgres_.start();
  start_broker();
  start_relay_process();
  start_writers();
}

PowerWorld::~PowerWorld() {
  workload_.reset();
  filler_.reset();
  relay_.reset();
  (void)nats_.stop(/*kill=*/true);
  (void)postgres_.stop(dev::Shutdown::kKill);
}

void PowerWorld::start_writers() {
  if (!filler_) filler_ = std::make_unique<Filler>(conninfo("app"), options_.seed);
  auto options = writers();
  options.writers = 2;
  options.pause = dev::milliseconds{20};
  // The wal store is open once a relay's first session has begun.
  if (!dev::wait_until([&] { return sql("SELECT wal_store FROM outbox.checkpoint") == "t"; },
                       kPatience))
    throw std::runtime_error("the relay's first session does not begin: " + relay_->log());
  workload_ = std::make_unique<Workload>(options);
}

void PowerWorld::stop_writers() {
  workload_.reset();
  // Those whose writer lost its connection in between: their names come again.
  while (true) {
    const auto left = sql("SELECT quote_literal(gid) FROM pg_prepared_xacts LIMIT 1");
    if (left.empty()) break;
    sql("ROLLBACK PREPARED " + left);
  }
  if (!dev::wait_until([&] { return filler_->idle(); }, kPatience))
    throw std::runtime_error("the filler does not come to an end");
}

void PowerWorld::start_relay_process() {
  relay_.reset();
  relay_ = start_relay({{"relay.confirm", "\"" + options_.confirm + "\""},
                        {"relay.broker_sync_interval",
                         "\"" + std::to_string(options_.sync_interval.count()) + "s\""},
                        {"relay.wal_store", "true"},
                        {"http.listen", "\"127.0.0.1:" + std::to_string(http_port_) + "\""}},
                       {}, "relay" + std::to_string(++relays_));
}

void PowerWorld::require_relay() const {
  if (!relay_->running()) throw std::runtime_error("the relay has ended: " + relay_->log());
}

std::uint64_t PowerWorld::acknowledged() {
  // 0: it only just starts
  return static_cast<std::uint64_t>(metric(http_port_, "postrider_ordinal").value_or(0));
}

std::uint64_t PowerWorld::confirmed() {
  return std::stoull(sql("SELECT ordinal FROM outbox.checkpoint"));
}

void PowerWorld::wait_for_acknowledged(std::uint64_t ordinal) {
  std::uint64_t before = 0;
  auto moved = steady_clock::now();
  const bool enough = dev::wait_until(
      [&] {
        require_relay();
        const auto now = acknowledged();
        if (now != before) moved = steady_clock::now();
        before = now;
        if (now < ordinal && filler_->idle() && steady_clock::now() - moved > kNothingToDo) {
          filler_->more(ordinal - now);
          moved = steady_clock::now();
        }
        return now >= ordinal;
      },
      kPatience);
  if (!enough) throw std::runtime_error("no acknowledgements: " + relay_->log());
}

void PowerWorld::wait_for_confirmed(std::uint64_t ordinal) {
  const bool done = dev::wait_until(
      [&] {
        require_relay();
        return confirmed() >= ordinal;
      },
      kConfirmPatience);
  if (!done) throw std::runtime_error("nothing is confirmed: " + relay_->log());
}

void PowerWorld::wait_for_all_published() {
  const auto all = committed();
  if (!wait_for_seq(all, kPatience))
    throw std::runtime_error("not all is published: " + relay_->log());
}

void PowerWorld::start_broker() {
  nats_.start();
  broker_started_ = steady_clock::now();
}

void PowerWorld::wait_for_sync(std::chrono::milliseconds after) {
  keep_filling();
  const auto until = broker_started_ + options_.sync_interval + after;
  if (!dev::wait_until([&] { return !relay_->running() || steady_clock::now() > until; },
                       kConfirmPatience))
    throw std::runtime_error("the time does not come");
  require_relay();
}

// From here until it is told that it is enough there is always a commit just reported.
void PowerWorld::keep_filling() {
  constexpr std::uint64_t kMoreThanItCan = 10'000'000;
  const auto before = filler_->committed();
  filler_->more(kMoreThanItCan);
  if (!dev::wait_until([&] { return filler_->committed() > before; }, kPatience))
    throw std::runtime_error("the filler does not write");
}

std::uint64_t PowerWorld::kept_since_before(const std::string& time) {
  auto client = nats_client();
  if (!client.has_stream(kStream)) return 0;
  const auto info = client.api(std::string("STREAM.INFO.") + kStream);
  if (padded(info["created"]) >= time) return 0;  // made anew
  std::uint64_t kept = 0;
  for (auto above = info["state"]["last_seq"].get<std::uint64_t>() + 1; kept + 1 < above;) {
    const auto middle = kept + (above - kept) / 2;
    const auto message = client.api(std::string("STREAM.MSG.GET.") + kStream, {{"seq", middle}});
    (padded(message["message"]["time"]) < time ? kept : above) = middle;
  }
  return kept;
}

Outcome PowerWorld::play(const Round& round) {
  filler_->set_synchronous(round.synchronous);
  const auto begin = acknowledged();
  filler_->more(round.events);
  if (round.cut == Cut::kConfirmed) wait_for_confirmed(confirmed() + 1);
  wait_for_acknowledged(begin + round.events);
  if (round.cut == Cut::kIdleBroker) {
    stop_writers();
    wait_for_all_published();
    if (!nats_.stop(round.restart_with_kill)) throw std::runtime_error("nats-server does not stop");
    start_broker();
    wait_for_confirmed(committed());
  }
  if (round.cut == Cut::kSynced) wait_for_sync(round.after_sync);
  const bool cuts_source = round.cut == Cut::kSource || round.cut == Cut::kHost;
  const bool cuts_broker = round.cut != Cut::kSource;
  const bool kills_relay = round.cut == Cut::kWithRelay || round.cut == Cut::kHost;

  // A commit of anybody who waits for the flush takes the others' with it to the disk.
  if (cuts_source && !round.synchronous) workload_.reset();
  if (cuts_source) keep_filling();
  Outcome outcome;
  outcome.confirmed = confirmed();
  outcome.acknowledged = acknowledged();
  if (cuts_source) source_->cut_power();
  if (cuts_broker) broker_->cut_power();
  if (cuts_source && !postgres_.stop(dev::Shutdown::kKill))
    throw std::runtime_error("PostgreSQL survives SIGKILL");
  if (cuts_broker && !nats_.stop(/*kill=*/true))
    throw std::runtime_error("nats-server survives SIGKILL");
  if (kills_relay) relay_->kill();
  const auto cut = now_text();
  filler_->enough();
  if (cuts_source) source_->power_up();
  if (cuts_broker) broker_->power_up();
  const auto start = steady_clock::now();
  if (cuts_source) postgres_.start();
  if (cuts_broker) start_broker();
  if (kills_relay) start_relay_process();
  outcome.kept = kept_since_before(cut);
  outcome.vanished = filler_->vanished(superuser());
  (void)dev::wait_until([&] { return !relay_->running() || last_seq() >= outcome.acknowledged; },
                        kPatience);
  if (!relay_->running()) outcome.relay_ended = relay_->wait(kPatience);
  if (!outcome.relay_ended && last_seq() < outcome.acknowledged)
    throw std::runtime_error("what was destroyed does not come back: " + relay_->log());
  outcome.back_seconds = std::chrono::duration<double>(steady_clock::now() - start).count();
  if (!workload_ && !outcome.relay_ended) start_writers();
  return outcome;
}

Verdict PowerWorld::judge() {
  stop_writers();
  wait_for_all_published();
  return verdict();
}

}  // namespace postrider::test
