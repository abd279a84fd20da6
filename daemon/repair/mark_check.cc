#include "daemon/repair/mark_check.h"

#include <poll.h>

#include <memory>
#include <optional>

#include "relay/progress/resume.h"
#include "relay/wire/pgoutput.h"

namespace postrider {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLook{200};

// Nothing: go on reading.
std::optional<Result<void>> judge(Resume& resume, const wire::ReplicationFrame& frame) {
  if (const auto* keepalive = std::get_if<wire::Keepalive>(&frame)) {
    auto fits = resume.on_caught_up(keepalive->end);
    return fits ? std::nullopt : std::optional(std::move(fits));
  }
  const auto message = wire::decode_pgoutput(std::get<wire::XLogData>(frame).payload);
  if (!message) return Result<void>(tl::unexpected(message.error()));
  const auto* begin = std::get_if<wire::Begin>(&*message);
  if (begin == nullptr) return std::nullopt;
  return resume.on_begin(begin->commit_lsn, {begin->xid, begin->commit_time_us});
}

// Nothing: it is still in use at the deadline.
std::unique_ptr<ReplicationConnection> begin(const ReplicationOptions& options,
                                             const std::string& slot,
                                             const std::vector<std::string>& publications, Lsn from,
                                             bool messages, Clock::time_point deadline) {
  while (true) {
    try {
      auto wal = std::make_unique<ReplicationConnection>(options);
      wal->start(slot, publications, from, messages);
      return wal;
    } catch (const Failure& failure) {
      if (failure.error().kind != ErrorKind::kPostgresUnavailable) throw;
      if (Clock::now() > deadline) return nullptr;
    }
    ::poll(nullptr, 0, static_cast<int>(kLook.count()));
  }
}

Result<MarkCheck> read_on(ReplicationConnection& wal, Resume& resume, Clock::time_point deadline) {
  while (Clock::now() < deadline) {
    wal.consume_input();
    while (auto frame = wal.next_frame())
      if (auto fits = judge(resume, *frame)) {
        if (!*fits) return tl::unexpected(fits->error());
        return MarkCheck::kHolds;
      }
    // Confirms nothing, and makes a server that has come to its WAL's end say so.
    wal.send_status({}, {}, /*request_reply=*/true);
    pollfd entry{wal.socket(), POLLIN, 0};
    ::poll(&entry, 1, static_cast<int>(kLook.count()));
  }
  return MarkCheck::kTooLong;
}

}  // namespace

Result<MarkCheck> check_mark(const ReplicationOptions& options, const std::string& slot,
                             const std::vector<std::string>& publications, bool messages,
                             const Start& start, std::uint32_t timeline, milliseconds patience,
                             milliseconds limit) {
  Start first = start;
  first.skip = 0;  // lies behind the first transaction
  if (!first.verify_first) return MarkCheck::kHolds;
  Resume resume(first, timeline);
  try {
    const auto wal =
        begin(options, slot, publications, first.start_lsn, messages, Clock::now() + patience);
    if (!wal) return MarkCheck::kBusy;
    return read_on(*wal, resume, Clock::now() + limit);
  } catch (const Failure& failure) {
    const auto kind = failure.error().kind;
    if (kind == ErrorKind::kPublicationMissing) return tl::unexpected(failure.error());
    if (kind != ErrorKind::kPostgresUnavailable) throw;
    return MarkCheck::kBusy;  // a relay that starts ends whoever holds its slot
  }
}

}  // namespace postrider
