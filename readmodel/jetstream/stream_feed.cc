#include "readmodel/jetstream/stream_feed.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/jetstream/nats_library.h"
#include "readmodel/jetstream/ack_subject.h"

namespace postrider {
namespace {

using Json = nlohmann::json;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// One request brings at most so much; at most two are under way.
constexpr std::uint64_t kBatch = 2000;
constexpr std::size_t kBatchBytes = 2UL * 1024 * 1024;
constexpr seconds kExpires{5};
// The server forgets the consumer of a reader that is gone.
constexpr seconds kInactive{30};

bool is_own_header(std::string_view name) {
  return !name.starts_with("Nats-") && !name.starts_with("Postrider-") && name != "Content-Type";
}

// 0, which no row has, for what is no number.
std::uint32_t parts_of(std::string_view text) {
  std::uint32_t parts = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parts);
  return error == std::errc{} && end == text.data() + text.size() ? parts : 0;
}

// What arrived under `name`, or nothing.
const char* header(natsMsg* message, const char* name) {
  const char* value = nullptr;
  return natsMsgHeader_Get(message, name, &value) == NATS_OK ? value : nullptr;
}

}  // namespace

struct StreamFeed::Raw {
  std::shared_ptr<natsMsg> message;
  bool notice = false;
};

StreamFeed::StreamFeed(const NatsOptions& options, const std::string& client_name,
                       std::chrono::milliseconds timeout, const std::string& notice_subject)
    : StreamFeed(options, client_name, timeout, notice_subject, Mailbox<Raw>::open()) {}

StreamFeed::StreamFeed(const NatsOptions& options, const std::string& client_name,
                       std::chrono::milliseconds timeout, const std::string& notice_subject,
                       Inbox inbox)
    : NatsConnection(options, client_name, timeout, inbox),
      inbox_(std::move(inbox)),
      reply_prefix_(new_inbox() + "."),
      heard_(std::chrono::steady_clock::now()) {
  const auto subscribe = [&](const std::string& subject, natsMsgHandler handler) {
    natsSubscription* subscription = nullptr;
    check(
        natsConnection_Subscribe(&subscription, handle(), subject.c_str(), handler, inbox_->key()),
        "subscribe to " + subject);
    keep(subscription);
    check(natsSubscription_SetPendingLimits(subscription, -1, -1), "pending limits");
  };
  subscribe(reply_prefix_ + "*",
            [](natsConnection*, natsSubscription*, natsMsg* message, void* key) {
              std::shared_ptr<natsMsg> owned(message, &natsMsg_Destroy);
              if (const auto box = Mailbox<Raw>::find(key)) box->put(Raw{std::move(owned), false});
            });
  subscribe(notice_subject,
            [](natsConnection*, natsSubscription*, natsMsg* message, void* key) {
              std::shared_ptr<natsMsg> owned(message, &natsMsg_Destroy);
              if (const auto box = Mailbox<Raw>::find(key)) box->put(Raw{std::move(owned), true});
            });
}

StreamFeed::~StreamFeed() {
  if (consumer_.empty()) return;
  try {  // it would be forgotten by itself after a while
    announce("$JS.API.CONSUMER.DELETE." + stream_ + "." + consumer_, "");
  } catch (const Failure&) {
  }
}

int StreamFeed::fd() const {
  return inbox_->fd();
}

bool StreamFeed::unanswered_for(std::chrono::milliseconds time) const {
  return !requests_.empty() && std::chrono::steady_clock::now() - heard_ > time;
}

void StreamFeed::open(const std::string& stream, const std::string& source, std::uint64_t seq) {
  stream_ = stream;
  source_prefix_ = source + ".";
  const Json config = {{"deliver_policy", "by_start_sequence"},
                       {"opt_start_seq", seq},
                       {"ack_policy", "none"},
                       {"replay_policy", "instant"},
                       {"max_waiting", 8},
                       {"num_replicas", 1},
                       {"mem_storage", true},
                       {"inactive_threshold", nanoseconds(kInactive).count()}};
  const std::string answer = request("$JS.API.CONSUMER.CREATE." + stream,
                                     Json{{"stream_name", stream}, {"config", config}}.dump());
  if (const auto error = wire::find_api_error(answer))
    throw Failure(ErrorKind::kBrokerUnavailable,
                  "cannot read stream \"" + stream + "\": " + error->description);
  const auto json = Json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("name") || !json["name"].is_string())
    throw Failure(ErrorKind::kBrokerUnavailable, "CONSUMER.CREATE: an answer without a name");
  consumer_ = json["name"].get<std::string>();
}

void StreamFeed::ask_for_more() {
  std::uint64_t under_way = 0;
  for (const auto& request : requests_) under_way += request.left;
  if (under_way > kBatch / 2) return;
  if (requests_.empty()) heard_ = std::chrono::steady_clock::now();
  const Request request{++last_request_, kBatch};
  const std::size_t most = std::max(kBatchBytes, max_payload() + max_payload() / 4);
  const std::string body =
      Json{{"batch", request.left}, {"max_bytes", most}, {"expires", nanoseconds(kExpires).count()}}
          .dump();
  check(natsConnection_PublishRequestString(
            handle(), ("$JS.API.CONSUMER.MSG.NEXT." + stream_ + "." + consumer_).c_str(),
            (reply_prefix_ + std::to_string(request.number)).c_str(), body.c_str()),
        "ask for messages");
  requests_.push_back(request);
}

// A request ends with its last message, or with a status: expired, too large together, or because
// the consumer is gone.
void StreamFeed::end_request(std::uint64_t number, std::string_view status,
                             const std::string& why) {
  if (status == "503" || why.find("Consumer Deleted") != std::string::npos)
    throw Failure(ErrorKind::kBrokerUnavailable, "the consumer is gone: " + why);
  std::erase_if(requests_, [&](const Request& request) { return request.number <= number; });
}

void StreamFeed::take(std::vector<ReceivedEvent>& events, std::vector<std::string>& notices) {
  events.clear();
  notices.clear();
  inbox_->take(raw_);
  for (auto& [shared, is_notice] : raw_) {
    natsMsg* message = shared.get();
    const std::string_view subject = natsMsg_GetSubject(message);
    std::string data(natsMsg_GetData(message),
                     static_cast<std::size_t>(natsMsg_GetDataLength(message)));
    if (is_notice) {
      notices.push_back(std::move(data));
      continue;
    }
    heard_ = std::chrono::steady_clock::now();
    if (subject.starts_with(reply_prefix_)) {
      std::uint64_t number = 0;
      const auto digits = subject.substr(reply_prefix_.size());
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
      const char* status = header(message, "Status");
      const char* why = header(message, "Description");
      end_request(number, status == nullptr ? "" : status, why == nullptr ? "" : why);
      continue;
    }
    if (!requests_.empty() && --requests_.front().left == 0) requests_.pop_front();

    ReceivedEvent event;
    const char* reply = natsMsg_GetReply(message);
    const auto seq = stream_sequence(reply == nullptr ? "" : reply);
    if (!seq)
      throw Failure(ErrorKind::kBrokerUnavailable,
                    std::string("a message without a sequence: ") + (reply ? reply : ""));
    event.seq = *seq;
    const char* place = header(message, std::string(kPositionHeader).c_str());
    const auto parsed = PositionHeader::parse(place == nullptr ? "" : place);
    event.subject = subject;
    if (keep_foreign_ && (!parsed || !subject.starts_with(source_prefix_))) {
      events.push_back(std::move(event));
      continue;
    }
    if (!parsed || !subject.starts_with(source_prefix_))
      throw Failure(ErrorKind::kForeignMessage,
                    "stream \"" + stream_ + "\" sequence " + std::to_string(*seq) + " on " +
                        std::string(subject) + " is not a message of this source's relay",
                    "somebody else published into the stream: see docs/operating.md, \"foreign "
                    "message\"");
    event.place = *parsed;
    event.payload = std::move(data);
    const char** names = nullptr;
    int count = 0;
    if (natsMsgHeader_Keys(message, &names, &count) == NATS_OK) {
      for (int i = 0; i < count; ++i) {
        const std::string_view name = names[i];
        const char* value = header(message, names[i]);
        if (value == nullptr) continue;
        if (name == "Postrider-Key")
          event.key = value;
        else if (name == "Postrider-Type")
          event.type = value;
        else if (name == "Postrider-Id")
          event.id = value;
        else if (name == kHoleHeader)
          event.hole = OrdinalRange::parse(value);
        else if (name == kPartsHeader)
          event.parts = parts_of(value);
        else if (name == "Content-Type")
          event.content_type = value;
        else if (is_own_header(name))
          event.headers.emplace_back(name, value);
      }
      free(static_cast<void*>(names));
    }
    std::ranges::sort(event.headers);
    events.push_back(std::move(event));
  }
  raw_.clear();
}

}  // namespace postrider
