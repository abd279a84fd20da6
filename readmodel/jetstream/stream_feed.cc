#include "readmodel/jetstream/stream_feed.h"

#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <exception>
#include <iterator>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/nats/link.h"
#include "base/wake.h"
#include "readmodel/jetstream/delivered_event.h"
#include "readmodel/jetstream/pull_requests.h"

namespace postrider {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// One request brings at most so much; at most two are under way.
constexpr std::uint64_t kBatch = 2000;
constexpr std::size_t kBatchBytes = 2UL * 1024 * 1024;
// The server forgets the consumer of a reader that asks for nothing for so long. One that has
// enough for the time being asks for what cannot be sent.
constexpr seconds kInactive{30};
constexpr seconds kSignOfLife{10};
constexpr const char* kNothing = R"({"batch":1,"max_bytes":1,"expires":5000000000})";
// A message that is larger than what a request may bring.
constexpr const char* kOneOfAnySize = R"({"batch":1,"expires":5000000000})";
// Handed over when so much has come together, or nothing more has come.
constexpr std::size_t kBurstBytes = 64UL * 1024;
constexpr std::chrono::milliseconds kKeepAlive{1000};
// Subscriptions.
constexpr std::string_view kReplies = "1";
constexpr std::string_view kNotices = "2";
// Notices come whether or not anybody takes them, a hundred a second. Only so many are kept.
constexpr std::size_t kMostNotices = 64;
// Where messages follow one another this closely, those of a moment are read together: a wake-up
// for each would take the cores from the servers.
constexpr std::chrono::milliseconds kMoment{2};

// nats-server's limits.max_request_batch, which its answer to CONSUMER.CREATE names, may be less
// than we would ask for.
std::uint64_t most_at_once(const Json& answer) {
  const auto limit = answer.value(Json::json_pointer("/config/max_batch"), Json());
  if (!limit.is_number_unsigned() || limit == 0) return kBatch;
  return std::min(kBatch, limit.get<std::uint64_t>());
}

// The older ones become sparse: the oldest is reached first, the newest says most.
void keep_few(std::vector<std::string>& notices) {
  if (notices.size() <= kMostNotices) return;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < notices.size(); ++i)
    if (i % 2 == 0 || i + 1 == notices.size()) std::swap(notices[kept++], notices[i]);
  notices.resize(kept);
}

}  // namespace

struct StreamFeed::Burst {
  std::vector<ReceivedEvent> events;
  std::vector<std::string> notices;
};

// The thread, and what only it touches; but for want(), begin() and silent_since().
class StreamFeed::Reader {
 public:
  // At the server at `url`, if it can be: another one of a cluster may hear of a new consumer after
  // the first request to it.
  Reader(const NatsOptions& options, const std::string& client_name,
         std::chrono::milliseconds timeout, const std::string& url,
         const std::string& notice_subject, Inbox inbox)
      : inbox_(std::move(inbox)),
        link_(options, client_name + " reader", timeout, url),
        reply_prefix_(link_.new_inbox() + "."),
        sign_of_life_(reply_prefix_ + "0") {
    subscribe(reply_prefix_ + "*", kReplies);
    subscribe(notice_subject, kNotices);
    link_.flush();
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "pr-reader");
  }
  ~Reader() {
    stop_ = true;
    wake_.signal();
    thread_.join();
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Before the first want(). A request, as its body says, brings `batch` messages at most.
  void begin(std::string request_subject, std::string request_body, std::uint64_t batch,
             ExpectedMessages expected) {
    const std::lock_guard lock(mutex_);
    request_subject_ = std::move(request_subject);
    request_body_ = std::move(request_body);
    batch_ = batch;
    expected_ = std::move(expected);
    asked_ = Clock::now();
  }
  void want() {
    if (!wanted_.exchange(true)) wake_.signal();
  }
  // Since when the server has said nothing to what was asked for; 0: nothing is.
  [[nodiscard]] nanoseconds silent_since() const { return nanoseconds(silent_since_); }

 private:
  void subscribe(const std::string& subject, std::string_view sid) {
    link_.out().append("SUB ").append(subject).append(" ").append(sid).append("\r\n");
  }

  void run() {
    try {
      while (!stop_) turn();
    } catch (const Failure& failure) {
      end(failure.error());
    } catch (const std::exception& e) {
      end({ErrorKind::kInternal, std::string("reading the stream: ") + e.what(), ""});
    }
  }

  void turn() {
    std::array<pollfd, 2> entries{
        {{wake_.fd(), POLLIN, 0},
         {link_.fd(), static_cast<short>(link_.backed_up() ? POLLIN | POLLOUT : POLLIN), 0}}};
    ::poll(entries.data(), entries.size(), static_cast<int>(kKeepAlive.count()));
    wake_.clear();
    now_ = Clock::now();
    link_.read([this](const nats::Delivery& delivery) { take(delivery); });
    hand_over();
    requests_.on_time(now_);
    ask();
    const auto silent = requests_.silent_since();
    silent_since_ = silent ? nanoseconds(silent->time_since_epoch()).count() : 0;
    if (!std::exchange(came_, false)) return;
    if (now_ - std::exchange(newest_, now_) < 2 * kMoment)
      ::poll(nullptr, 0, static_cast<int>(kMoment.count()));
  }

  void take(const nats::Delivery& delivery) {
    if (delivery.sid == kNotices) {
      burst_.notices.emplace_back(delivery.payload);
      keep_few(burst_.notices);
      note_size(delivery.payload.size());
      return;
    }
    came_ = true;
    if (delivery.subject.starts_with(reply_prefix_)) {
      end_request(delivery);
      return;
    }
    requests_.on_message(now_);
    burst_.events.push_back(value_or_throw(read_event(delivery, expected_)));
    note_size(burst_.events.back().size());
  }

  void note_size(std::size_t bytes) {
    burst_bytes_ += bytes;
    if (burst_bytes_ >= kBurstBytes) hand_over();
  }

  // A request ends with its last message, or with a status.
  void end_request(const nats::Delivery& delivery) {
    const auto status = pull_status(delivery);
    const auto how = end_of_request(status);
    if (how == RequestEnd::kGone || how == RequestEnd::kRefused)
      throw Failure(ErrorKind::kBrokerUnavailable,
                    (how == RequestEnd::kGone ? "the consumer is gone: "
                                              : "the server refuses to send messages: ") +
                        std::string(status.code) + " " + std::string(status.text));
    if (delivery.subject == sign_of_life_) return;  // it says nothing about the others
    const auto digits = delivery.subject.substr(reply_prefix_.size());
    std::uint64_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    requests_.on_end(number, how, status.pending, now_);
  }

  void hand_over() {
    if (burst_.events.empty() && burst_.notices.empty()) return;
    // Events are bounded by what is asked for; a caller that takes nothing for now, because its
    // read model is stopped or a statement is long, finds one burst with few notices.
    inbox_->put(std::exchange(burst_, {}), [](Burst& waiting, Burst& burst) {
      if (!burst.events.empty()) return false;
      std::ranges::move(burst.notices, std::back_inserter(waiting.notices));
      keep_few(waiting.notices);
      return true;
    });
    burst_bytes_ = 0;
  }

  void ask() {
    const std::lock_guard lock(mutex_);
    if (request_subject_.empty()) return;
    if (wanted_ && requests_.under_way() <= batch_ / 2) {
      wanted_ = false;
      const bool alone = requests_.next_is_large();
      requests_.on_sent(alone ? 1 : batch_, now_);
      send(reply_prefix_ + std::to_string(requests_.newest()),
           alone ? kOneOfAnySize : request_body_);
    } else if (now_ - asked_ > kSignOfLife) {
      send(sign_of_life_, kNothing);
    }
  }

  void send(const std::string& reply, const std::string& body) {
    asked_ = now_;
    nats::append_publish(link_.out(), request_subject_, reply, body);
    link_.flush();
  }

  // What came before the error goes before it, if there is memory for it.
  void end(Error error) {
    try {
      hand_over();
    } catch (const std::bad_alloc&) {
    }
    inbox_->put(std::move(error));
  }

  Inbox inbox_;
  nats::Link link_;
  std::string reply_prefix_;
  std::string sign_of_life_;  // its reply subject
  PullRequests requests_;
  Clock::time_point now_ = Clock::now();  // of this turn
  Clock::time_point asked_;
  Burst burst_;
  std::size_t burst_bytes_ = 0;
  bool came_ = false;         // something of the stream, in this turn
  Clock::time_point newest_;  // when it last heard something

  std::mutex mutex_;
  std::string request_subject_;
  std::string request_body_;
  std::uint64_t batch_ = 0;
  ExpectedMessages expected_;  // read without the mutex once messages come

  Wake wake_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> wanted_{false};
  std::atomic<std::int64_t> silent_since_{0};
  std::thread thread_;
};

StreamFeed::StreamFeed(const NatsOptions& options, const std::string& client_name,
                       std::chrono::milliseconds timeout, const std::string& notice_subject)
    : StreamFeed(options, client_name, timeout, notice_subject, Mailbox<Burst>::open()) {}

StreamFeed::StreamFeed(const NatsOptions& options, const std::string& client_name,
                       std::chrono::milliseconds timeout, const std::string& notice_subject,
                       Inbox inbox)
    : NatsConnection(options, client_name, timeout, inbox),
      inbox_(std::move(inbox)),
      reader_(std::make_unique<Reader>(options, client_name, timeout, server_url(), notice_subject,
                                       inbox_)) {}

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
  const auto since = reader_->silent_since();
  return since.count() != 0 && Clock::now().time_since_epoch() - since > time;
}

void StreamFeed::open(const std::string& stream, const std::string& source, std::uint64_t seq) {
  stream_ = stream;
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
  const auto batch = most_at_once(json);
  const Json body = {{"batch", batch},
                     {"max_bytes", std::max(kBatchBytes, max_payload() + max_payload() / 4)},
                     {"expires", nanoseconds(PullRequests::kExpires).count()}};
  reader_->begin("$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer_, body.dump(), batch,
                 {stream, source + ".", keep_foreign_});
}

void StreamFeed::ask_for_more() {
  reader_->want();
}

void StreamFeed::take(std::vector<ReceivedEvent>& events, std::vector<std::string>& notices) {
  events.clear();
  notices.clear();
  std::vector<Burst> bursts;
  inbox_->take(bursts);
  for (auto& burst : bursts) {
    if (events.empty())
      events.swap(burst.events);
    else
      std::ranges::move(burst.events, std::back_inserter(events));
    std::ranges::move(burst.notices, std::back_inserter(notices));
  }
}

}  // namespace postrider
