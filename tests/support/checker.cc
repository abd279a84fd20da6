#include "tests/support/checker.h"

#include <set>
#include <sstream>

namespace postrider::test {
namespace {

// Postrider-Position, read by the tests' own code: v1 ordinal position xid time epoch [last]
struct Header {
  bool good = false;
  std::uint64_t ordinal = 0;
  std::string position;
  std::string xid;
  std::uint64_t epoch = 0;
  bool last = false;
};

Header parse(const StreamMessage& message) {
  Header header;
  const auto text = message.header("Postrider-Position");
  if (!text) return header;
  std::istringstream words(*text);
  std::string version;
  std::string time;
  std::string last;
  words >> version >> header.ordinal >> header.position >> header.xid >> time >> header.epoch;
  header.good = version == "v1" && !words.fail();
  words >> last;
  header.last = last == "last";
  return header;
}

class Comparison {
 public:
  Comparison(const std::vector<ExpectedEvent>& expected,
             const std::map<std::string, Written>& written, std::string source, std::size_t from)
      : expected_(expected), written_(written), source_(std::move(source)), next_(from) {
    for (std::size_t i = 0; i < expected.size(); ++i) place_[expected[i].id] = i;
    verdict_.expected = expected.size() - from;
  }

  void take(const StreamMessage& message) {
    ++verdict_.in_stream;
    const auto id = message.header("Postrider-Id").value_or("");
    const auto found = place_.find(id);
    if (found == place_.end()) {
      problem(verdict_.foreign, message, "nobody committed it");
      return;
    }
    if (!seen_.insert(id).second) {
      problem(verdict_.duplicated, message, "a second time");
      return;
    }
    if (found->second != next_)
      problem(verdict_.out_of_order, message,
              "place " + std::to_string(found->second) + " where " + std::to_string(next_) +
                  " belongs");
    check_header(message, found->second);
    check_content(message, id);
    next_ = found->second + 1;
  }

  Verdict finish(std::size_t from) {
    for (std::size_t i = from; i < expected_.size(); ++i)
      if (!seen_.contains(expected_[i].id)) {
        ++verdict_.lost;
        note("lost " + expected_[i].id + ", place " + std::to_string(i));
      }
    return verdict_;
  }

 private:
  void check_header(const StreamMessage& message, std::size_t place) {
    const Header header = parse(message);
    const bool ends =
        place + 1 == expected_.size() || expected_[place + 1].xid != expected_[place].xid;
    if (!header.good || header.ordinal != place + 1 || header.position <= position_ ||
        header.xid != expected_[place].xid || header.epoch < epoch_ || header.last != ends)
      problem(verdict_.malformed, message,
              "expected ordinal " + std::to_string(place + 1) + ", xid " + expected_[place].xid +
                  (ends ? ", last" : ", not last") + ", a position after " + position_);
    position_ = header.position;
    epoch_ = header.epoch;
  }

  void check_content(const StreamMessage& message, const std::string& id) {
    const auto found = written_.find(id);
    if (found == written_.end()) return;
    if (message.subject != source_ + "." + found->second.subject ||
        message.data != found->second.payload)
      problem(verdict_.altered, message,
              "written was " + found->second.subject + " " + found->second.payload.substr(0, 80));
  }

  void problem(std::size_t& counter, const StreamMessage& message, const std::string& what) {
    ++counter;
    note("sequence " + std::to_string(message.seq) + " " + message.subject + " \"" +
         message.header("Postrider-Position").value_or("no position") + "\": " + what);
  }
  void note(const std::string& text) {
    if (verdict_.first_problem.empty()) verdict_.first_problem = text;
  }

  const std::vector<ExpectedEvent>& expected_;
  const std::map<std::string, Written>& written_;
  std::string source_;
  std::size_t next_;
  std::map<std::string, std::size_t> place_;
  std::set<std::string> seen_;
  std::string position_;
  std::uint64_t epoch_ = 0;
  Verdict verdict_;
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const Verdict& verdict) {
  return out << "expected " << verdict.expected << ", in stream " << verdict.in_stream << ", lost "
             << verdict.lost << ", duplicated " << verdict.duplicated << ", out of order "
             << verdict.out_of_order << ", foreign " << verdict.foreign << ", malformed "
             << verdict.malformed << ", altered " << verdict.altered
             << (verdict.first_problem.empty() ? "" : "; first: ") << verdict.first_problem;
}

Verdict compare(const std::vector<StreamMessage>& stream,
                const std::vector<ExpectedEvent>& expected,
                const std::map<std::string, Written>& written, const std::string& source,
                std::size_t from) {
  Comparison comparison(expected, written, source, from);
  for (const auto& message : stream) comparison.take(message);
  return comparison.finish(from);
}

}  // namespace postrider::test
