#include "relay/jetstream/publisher.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "base/nats/link.h"
#include "base/nats/protocol.h"
#include "relay/wire/fast_batch.h"

namespace postrider {
namespace {

// Handed to the socket when so much has come together: less costs more calls, more lets the broker
// wait.
constexpr std::size_t kBurstBytes = 64UL * 1024;
constexpr std::size_t kSent = std::string::npos;

wire::PubAck answer_of(const nats::Delivery& delivery) {
  if (!delivery.no_responders()) return wire::parse_pub_ack(delivery.payload);
  wire::PubAck ack;
  ack.outcome = wire::PubAck::Outcome::kNoResponder;
  return ack;
}

}  // namespace

struct Publisher::Impl {
  Impl(const NatsOptions& options, const std::string& client_name,
       std::chrono::milliseconds timeout)
      : link(options, client_name, timeout), reply_subject(link.new_inbox()) {
    link.out() += "SUB " + reply_subject + " 1\r\n";
  }
  // Returns where in out() the reply subject ends.
  std::size_t append(std::string_view subject, std::string_view reply, std::string_view stream,
                     std::uint64_t expected_last, nats::Headers headers, std::string_view payload) {
    std::array<char, 20> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), expected_last).ptr;
    const std::array<std::pair<std::string_view, std::string_view>, 2> fence{
        {{"Nats-Expected-Stream", stream},
         {"Nats-Expected-Last-Sequence", std::string_view(digits.data(), end)}}};
    return nats::append_publish(link.out(), subject, reply, fence, headers, payload);
  }
  // What came of the stream; nothing for what tells nothing new.
  std::optional<wire::PubAck> read(const nats::Delivery& delivery) {
    if (batch && batch->is_own(delivery.subject))
      return delivery.no_responders() ? answer_of(delivery)
                                      : batch->accept(delivery.subject, delivery.payload);
    if (delivery.subject == reply_subject) return answer_of(delivery);
    return std::nullopt;
  }

  nats::Link link;
  std::string reply_subject;
  std::optional<wire::FastBatch> batch;
  std::string batch_subject;      // of the newest message of the open batch,
  std::string batch_stream;       // and what it is for
  std::size_t operation = kSent;  // where in out() the newest message's operation stands
  std::optional<Error> error;     // that ended the connection; told behind the last answers
};

Publisher::Publisher(const NatsOptions& options, const std::string& client_name,
                     std::chrono::milliseconds timeout)
    : impl_(std::make_unique<Impl>(options, client_name, timeout)) {}

Publisher::~Publisher() = default;

void Publisher::publish(const Message& message, const std::string& stream,
                        std::uint64_t expected_last) {
  // Before and not behind it: what is newest can still be made the last of its batch. Where the
  // socket takes no more, this one message joins what waits.
  if (impl_->link.unsent() >= kBurstBytes) flush();
  if (!impl_->batch) {
    impl_->append(message.subject, impl_->reply_subject, stream, expected_last, message.headers,
                  message.payload);
    return;
  }
  const auto reply = impl_->batch->next(expected_last);
  impl_->operation = impl_->append(message.subject, reply, stream, expected_last, message.headers,
                                   message.payload) -
                     wire::FastBatch::kOperationFromEnd;
  impl_->batch_subject = message.subject;
  impl_->batch_stream = stream;
}

void Publisher::use_batches(std::uint16_t flow) {
  const auto inbox = impl_->link.new_inbox();
  impl_->batch.emplace(inbox, flow);
  impl_->link.out() += "SUB " + inbox + ".> 2\r\n";
}

bool Publisher::in_batch() const {
  return impl_->batch && impl_->batch->open();
}

bool Publisher::awaits_batch() const {
  return impl_->batch && impl_->batch->ending();
}

bool Publisher::answer_due() const {
  return impl_->batch && impl_->batch->answer_due();
}

void Publisher::end_batch() {
  if (!in_batch()) return;
  if (impl_->operation != kSent) {
    impl_->link.out()[impl_->operation] = wire::FastBatch::kCommit;
    impl_->batch->end();
  } else {
    // With the fence: whoever takes it for a message of its own must not store it.
    const auto last_seq = impl_->batch->last_seq();
    impl_->append(impl_->batch_subject, impl_->batch->end_of_batch(), impl_->batch_stream, last_seq,
                  {}, "");
  }
}

void Publisher::announce(std::string_view subject, std::string_view body) {
  nats::append_publish(impl_->link.out(), subject, "", body);
}

// take_answers() tells what broke the connection: it may find more than that, such as answers.
void Publisher::flush() {
  impl_->operation = kSent;
  if (impl_->error) return;
  try {
    impl_->link.flush();
  } catch (const Failure& failure) {
    impl_->error = failure.error();
  }
}

bool Publisher::backed_up() const {
  return impl_->link.backed_up();
}

int Publisher::fd() const {
  return impl_->link.fd();
}

void Publisher::take_answers(std::vector<wire::PubAck>& answers) {
  answers.clear();
  impl_->operation = kSent;  // reading sends, too
  auto& error = impl_->error;
  try {
    impl_->link.read([&](const nats::Delivery& delivery) {
      if (auto answer = impl_->read(delivery)) answers.push_back(*std::move(answer));
    });
  } catch (const Failure& failure) {
    // What the server said counts for more than that it hung up.
    if (!error || failure.error().kind != ErrorKind::kBrokerUnavailable) error = failure.error();
  }
  if (error && answers.empty()) throw Failure(*error);
}

void Publisher::await_answers(std::vector<wire::PubAck>& answers,
                              std::chrono::steady_clock::time_point deadline) {
  flush();
  while (true) {
    take_answers(answers);
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (!answers.empty() || left.count() <= 0) return;
    pollfd entry{fd(), static_cast<short>(POLLIN | (backed_up() ? POLLOUT : 0)), 0};
    ::poll(&entry, 1, static_cast<int>(left.count()));
  }
}

}  // namespace postrider
