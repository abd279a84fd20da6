#include "daemon/verify/verify_stream.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "daemon/verify/outbox_rows.h"
#include "daemon/verify/stream_scan.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kPoll{200};

class Run {
 public:
  explicit Run(const VerifyStreamOptions& options)
      : options_(options),
        reading_(options.limit),
        rows_(options.source_conninfo),
        scan_(options.relay, reading_) {}

  StreamVerdict verdict() {
    const auto start = Clock::now();
    verdict_.place = rows_.place();
    read_rows();
    const auto durable = rows_.durable(options_.relay.source.name);
    scan_.know_durable(durable.incarnation, durable.seq);
    bool exists = scan_.read_to_end();
    bool passed = has_passed();
    compare(passed);
    // What is missing may not be published yet: nobody is accused before the stream has passed.
    if (verdict_.counts.missing > 0 && !passed) {
      const auto read = Clock::now();
      while (!passed && Clock::now() - read < options_.timeout) {
        scan_.wait(kPoll);
        exists = scan_.read_to_end();
        passed = has_passed();
      }
      compare(passed);
    }
    if (verdict_.counts.missing > 0 && !passed)
      verdict_.could_not_say =
          std::to_string(verdict_.counts.missing) +
          (exists ? " rows are not published yet, and the stream has not passed "
                  : " rows are not published, and there is no stream: ") +
          verdict_.place.to_string() + ": is the relay running?";
    fill_in();
    verdict_.took = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
    return std::move(verdict_);
  }

 private:
  void read_rows() {
    std::vector<OutboxRow> page;
    while (rows_.next(page)) {
      verdict_.rows += page.size();
      for (const auto& row : page) spilled_.add(partition_of(row.id), row);
    }
  }

  // What is confirmed was acknowledged before: so it has been read if it is asked before reading.
  bool has_passed() {
    if (scan_.has_passed(rows_.timeline(), rows_.place())) return true;
    const auto confirmed = rows_.confirmed(options_.relay.source.slot);
    if (!confirmed || *confirmed < rows_.place()) return false;
    return scan_.read_to_end();
  }

  void compare(bool accuse) {
    verdict_.findings = reading_;
    verdict_.counts = {};
    // In two steps: by id, then by ordinal, each a partition at a time.
    Spill<Placed> by_ordinal(kPartitions);
    const std::uint64_t first = scan_.first_ordinal();
    const std::uint64_t last = std::max(first, scan_.last() ? scan_.last()->ordinal : 0);
    const std::uint64_t width = (last - first) / kPartitions + 1;
    std::vector<Placed> placed;
    for (std::size_t i = 0; i < kPartitions; ++i) {
      placed.clear();
      join(spilled_.read(i), scan_.events().read(i), scan_.horizon_us(), accuse, verdict_.findings,
           verdict_.counts, placed);
      for (const auto& p : placed)
        by_ordinal.add(std::min<std::size_t>((p.ordinal - std::min(first, p.ordinal)) / width,
                                             kPartitions - 1),
                       p);
    }
    StatementOrder order(verdict_.findings);
    for (std::size_t i = 0; i < kPartitions; ++i) {
      auto part = by_ordinal.read(i);
      std::ranges::sort(part, {}, &Placed::ordinal);
      for (const auto& p : part) order.accept(p);
    }
  }

  void fill_in() {
    verdict_.messages = scan_.messages();
    verdict_.row_changes = scan_.row_changes();
    verdict_.first_ordinal = scan_.first_ordinal();
    verdict_.faults = verdict_.findings.total();
    if (!scan_.last()) return;
    verdict_.last_ordinal = scan_.last()->ordinal;
    verdict_.last_position = scan_.last()->position.to_string();
  }

  const VerifyStreamOptions& options_;
  StreamFindings reading_;  // found while the stream was read
  OutboxRows rows_;
  StreamScan scan_;
  Spill<OutboxRow> spilled_{kPartitions};
  StreamVerdict verdict_;
};

}  // namespace

StreamVerdict verify_stream(const VerifyStreamOptions& options) {
  return Run(options).verdict();
}

}  // namespace postrider
