#include "relay/confirmer.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "base/failpoint.h"
#include "postrider/position.h"

namespace postrider {
namespace {

constexpr std::chrono::milliseconds kStandbyPoll{100};
constexpr int kPollsUntilSaid = 20;

[[noreturn]] void in_doubt(const std::string& what) {
  throw Failure(ErrorKind::kPublishInDoubt, "before a confirmation: " + what);
}

}  // namespace

Confirmer::Confirmer(Source source, JetStreamClient& client, Binding binding)
    : source_(std::move(source)), client_(client), binding_(std::move(binding)) {
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "pr-confirm");
}

Confirmer::~Confirmer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool Confirmer::busy() const {
  const std::lock_guard lock(mutex_);
  return job_.has_value() || result_.has_value();
}

void Confirmer::submit(const Confirmable& place) {
  {
    const std::lock_guard lock(mutex_);
    job_ = place;
  }
  changed_.notify_all();
}

std::optional<Confirmed> Confirmer::take_result() {
  done_.clear();
  const std::lock_guard lock(mutex_);
  if (error_) throw Failure(*error_);
  return std::exchange(result_, std::nullopt);
}

void Confirmer::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || job_.has_value(); });
    if (stop_) return;
    const Confirmable place = *job_;
    lock.unlock();
    std::optional<Confirmed> confirmed;
    std::optional<Error> error;
    try {
      confirmed = confirm(place);
    } catch (const Failure& failure) {
      error = failure.error();
    } catch (const std::exception& e) {
      // The session's thread shows it, instead of an abort that says nothing.
      error = Error{ErrorKind::kInternal, std::string("a confirmation failed: ") + e.what(), ""};
    }
    lock.lock();
    result_ = confirmed;
    error_ = std::move(error);
    job_.reset();
    done_.signal();
    if (error_) return;  // the session ends
  }
}

std::optional<Confirmed> Confirmer::confirm(const Confirmable& place) {
  POSTRIDER_FAILPOINT("confirm.before_proof");
  prove(place.mark);
  POSTRIDER_FAILPOINT("confirm.before_checkpoint");
  const Lsn wal_end = source_.checkpoint(binding_.source, binding_.session, place);
  POSTRIDER_FAILPOINT("confirm.after_checkpoint");
  // After the row: a change commits before it can be seen, and our own commit, which waits for the
  // same standbys, lies between. Nothing up to `place` was decoded with what is not seen here.
  require_publication(source_.publication(binding_.publication), binding_.publication_version);
  if (binding_.captures)
    require_capture(capture_publication(binding_.publication),
                    source_.capture_problem(binding_.source));
  if (binding_.failover && !await_standbys(wal_end)) return std::nullopt;
  return Confirmed{place.confirm_to, place.mark, wal_end};
}

bool Confirmer::await_standbys(Lsn row_end) {
  for (int polls = 0;; ++polls) {
    const auto behind = source_.standbys_behind(row_end);
    if (behind.empty()) return true;
    if (polls == kPollsUntilSaid)
      spdlog::warn("a confirmation waits for standbys: {} in synchronized_standby_slots", behind);
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, kStandbyPoll, [this] { return stop_; })) return false;
  }
}

void Confirmer::prove(const Mark& mark) {
  // The first sequence of the stream, which reaches up to the mark.
  const auto first_seq = [&] {
    const auto stream = client_.stream_info(binding_.stream);
    if (!stream) in_doubt("the stream is gone");
    if (stream->created != binding_.incarnation) in_doubt("the stream is another one");
    if (stream->last_seq < mark.seq)
      in_doubt("the stream ends at sequence " + std::to_string(stream->last_seq) +
               " although it acknowledged " + std::to_string(mark.seq));
    return stream->first_seq;
  };
  if (mark.seq < first_seq() || !mark.names_message() || mark.seq <= binding_.unreadable_up_to)
    return;
  POSTRIDER_FAILPOINT("confirm.before_read");
  const auto message = client_.message(binding_.stream, mark.seq);
  if (!message) {
    // It may have aged out between the two questions.
    if (mark.seq < first_seq()) return;
    in_doubt("sequence " + std::to_string(mark.seq) + " is gone");
  }
  const auto header = wire::position_header(*message);
  if (!header || header->ordinal != mark.ordinal || header->position != mark.position ||
      header->fingerprint != mark.fingerprint)
    in_doubt("sequence " + std::to_string(mark.seq) + " holds another message");
}

}  // namespace postrider
