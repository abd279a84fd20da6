#include "tests/faults/campaign/stream_checker.h"

#include <sstream>

namespace postrider::campaign {
namespace {

constexpr std::size_t kProblemsKept = 20;

std::string describe(const Seen& message) {
  return "sequence " + std::to_string(message.seq) + " \"" + message.header + "\"";
}

}  // namespace

std::optional<Header> parse_header(const std::string& text) {
  std::istringstream words(text);
  std::string version;
  std::string last;
  Header header;
  words >> version >> header.ordinal >> header.position >> header.xid >> header.commit_time_us >>
      header.epoch;
  if (version != "v1" || words.fail()) return std::nullopt;
  words >> last;
  header.last = last == "last";
  // timeline/lsn/index, the LSN in hexadecimal without its inner slash
  const auto lsn = header.position.find('/');
  if (lsn == std::string::npos) return std::nullopt;
  header.commit_lsn = std::strtoull(header.position.c_str() + lsn + 1, nullptr, 16);
  return header;
}

StreamChecker::StreamChecker(const std::vector<History>& histories) : histories_(histories) {
  for (const auto& history : histories) seen_.emplace_back(history.size());
}

void StreamChecker::expect(const Committed& transaction) {
  for (const auto hash : transaction.events)
    expected_.push_back({hash, static_cast<std::uint32_t>(transaction.xid), false, false});
  if (transaction.events.empty()) return;
  expected_.back().last = true;
  ++verdict_.transactions;
}

void StreamChecker::problem(std::uint64_t& counter, const std::string& text) {
  ++counter;
  if (verdict_.problems.size() < kProblemsKept) verdict_.problems.push_back(text);
}

std::optional<std::size_t> StreamChecker::place_of(const Seen& message) {
  if (next_ < expected_.size() && expected_[next_].hash == message.hash) return next_;
  if (places_.empty())
    for (std::size_t i = 0; i < expected_.size(); ++i) places_[expected_[i].hash] = i;
  const auto found = places_.find(message.hash);
  if (found == places_.end()) return std::nullopt;
  return found->second;
}

void StreamChecker::see(const Seen& message) {
  ++verdict_.events;
  check_writer(message);
  const auto place = place_of(message);
  if (!place) {
    problem(verdict_.phantom, describe(message) + ": nobody committed it, or not like this");
    return;
  }
  if (expected_[*place].seen) {
    problem(verdict_.duplicated, describe(message) + ": a second time");
    return;
  }
  expected_[*place].seen = true;
  if (*place != next_)
    problem(verdict_.reordered, describe(message) + ": place " + std::to_string(*place) +
                                    " where " + std::to_string(next_) + " belongs");
  next_ = *place + 1;
  check_header(message, *place);
}

void StreamChecker::check_header(const Seen& message, std::size_t place) {
  const auto header = parse_header(message.header);
  const auto& expected = expected_[place];
  if (!header || header->ordinal != place + 1 || header->position <= position_ ||
      static_cast<std::uint32_t>(header->xid) != expected.xid || header->epoch < epoch_ ||
      header->last != expected.last)
    problem(verdict_.malformed,
            describe(message) + ": expected ordinal " + std::to_string(place + 1) + ", xid " +
                std::to_string(expected.xid) + (expected.last ? ", last" : ", not last") +
                ", a position after " + position_);
  if (!header) return;
  if (open_xid_ != 0 && open_xid_ != header->xid)
    problem(verdict_.torn, describe(message) + ": within transaction " + std::to_string(open_xid_));
  open_xid_ = header->last ? 0 : header->xid;
  position_ = header->position;
  epoch_ = header->epoch;
  if (header->last) marks_.push_back({header->commit_lsn, message.stored_us, header->ordinal});
}

void StreamChecker::check_writer(const Seen& message) {
  if (!message.made) return;
  const auto& made = *message.made;
  const auto writer = static_cast<std::size_t>(made.writer);
  const auto transaction = static_cast<std::size_t>(made.transaction);
  if (writer >= histories_.size() || transaction >= histories_[writer].size()) {
    problem(verdict_.phantom, describe(message) + ": no writer began it");
    return;
  }
  const auto& attempt = histories_[writer][transaction];
  const auto name =
      "transaction " + std::to_string(transaction) + " of writer " + std::to_string(writer);
  if (made.aborted || attempt.outcome == Outcome::kAborted)
    problem(verdict_.phantom, describe(message) + ": " + name + " took it back");
  else if (made.events != attempt.events || made.index >= made.events ||
           made.cents != cents_of(made.transaction, made.index, made.events))
    problem(verdict_.malformed, describe(message) + ": " + name + " wrote something else");
  ++seen_[writer][transaction];
}

StreamVerdict StreamChecker::finish() {
  for (std::size_t i = 0; i < expected_.size(); ++i)
    if (!expected_[i].seen)
      problem(verdict_.lost, "lost: the event of ordinal " + std::to_string(i + 1) +
                                 ", transaction " + std::to_string(expected_[i].xid));
  if (open_xid_ != 0)
    problem(verdict_.torn, "the stream ends within transaction " + std::to_string(open_xid_));
  for (std::size_t writer = 0; writer < histories_.size(); ++writer)
    for (std::size_t i = 0; i < histories_[writer].size(); ++i) {
      const auto& attempt = histories_[writer][i];
      const auto seen = seen_[writer][i];
      const auto name = "transaction " + std::to_string(i) + " of writer " +
                        std::to_string(writer) + ": " + std::to_string(seen) + " of " +
                        std::to_string(attempt.events) + " events are in the stream";
      if (attempt.outcome == Outcome::kCommitted && seen < attempt.events)
        problem(verdict_.lost, "committed " + name);
      else if (seen > attempt.events)
        problem(verdict_.duplicated, name);
      else if (attempt.outcome == Outcome::kUnknown && seen != 0 && seen != attempt.events)
        problem(verdict_.torn, "in doubt, " + name);
    }
  return verdict_;
}

}  // namespace postrider::campaign
