#include "relay/wire/fast_batch.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace postrider::wire {
namespace {

constexpr char kStart = '0';
constexpr char kAppend = '1';
constexpr char kEndOfBatch = '3';

PubAck cut(const std::string& what) {
  PubAck ack;
  ack.outcome = PubAck::Outcome::kBatchCut;
  ack.description = what;
  return ack;
}

// {"type":"ack"|"gap"|"err",...}: what a server says of a batch that has not ended.
struct Report {
  std::string type;          // empty: something else
  std::uint64_t number = 0;  // "ack": all up to it are stored
};

// Nothing for what is none, such as a PubAck.
std::optional<Report> read_report(std::string_view text) {
  if (!text.starts_with("{\"type\":")) return std::nullopt;
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  Report report;
  if (const auto& type = json["type"]; type.is_string()) report.type = type.get<std::string>();
  if (const auto seq = json.find("seq"); seq != json.end() && seq->is_number_unsigned())
    report.number = seq->get<std::uint64_t>();
  return report;
}

}  // namespace

FastBatch::FastBatch(std::string inbox, std::uint16_t flow)
    : inbox_(std::move(inbox)),
      id_('.' + inbox_.substr(inbox_.rfind('.') + 1) + '-'),
      flow_(flow) {}

std::string_view FastBatch::next(std::uint64_t expected_last) {
  if (sent_ == 0) {
    base_ = expected_last;
    answered_ = 0;
    subject_ = inbox_ + id_;
    subject_ += std::to_string(++batches_);
    subject_ += '.';
    subject_ += std::to_string(flow_);
    subject_ += ".fail.";
    prefix_ = subject_.size();
  }
  ++sent_;
  return reply_subject(sent_, sent_ == 1 ? kStart : kAppend);
}

std::string_view FastBatch::end_of_batch() {
  const auto subject = reply_subject(sent_ + 1, kEndOfBatch);
  ending_ = true;
  if (answered_ == sent_) close();  // its answer would tell nothing new
  return subject;
}

void FastBatch::close() {
  sent_ = 0;
  ending_ = false;
}

std::string_view FastBatch::reply_subject(std::uint64_t number, char operation) {
  subject_.resize(prefix_);
  subject_ += std::to_string(number);
  subject_ += '.';
  subject_ += operation;
  subject_ += ".$FI";
  return subject_;
}

bool FastBatch::is_own(std::string_view subject) const {
  return sent_ > 0 && subject.starts_with(std::string_view(subject_).substr(0, prefix_));
}

std::optional<PubAck> FastBatch::accept(std::string_view subject, std::string_view json) {
  if (!is_own(subject)) return std::nullopt;
  PubAck ack;
  if (const auto report = read_report(json); report && report->type != "err") {
    if (report->type == "gap") return cut("a message of a batch did not reach the broker");
    if (report->type != "ack" || report->number > sent_) return ack;
    if (report->number <= answered_)
      return std::nullopt;  // the first says only how often it answers
    answered_ = report->number;
    ack.seq = base_ + answered_;
    if (ending_ && answered_ == sent_) close();
  } else {
    ack = parse_pub_ack(json);
    if (ack.outcome != PubAck::Outcome::kStored) return ack;
    if (!ending_ || ack.seq != base_ + sent_)
      return cut("a batch of " + std::to_string(sent_) + " messages behind sequence " +
                 std::to_string(base_) + " ended with sequence " + std::to_string(ack.seq));
    close();
  }
  ack.outcome = PubAck::Outcome::kStoredThrough;
  return ack;
}

}  // namespace postrider::wire
