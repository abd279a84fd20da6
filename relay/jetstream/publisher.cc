#include "relay/jetstream/publisher.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "base/nats/link.h"
#include "base/nats/protocol.h"

namespace postrider {
namespace {

// Handed to the socket when so much has come together: less costs more calls, more lets the broker
// wait.
constexpr std::size_t kBurstBytes = 64UL * 1024;

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

  nats::Link link;
  std::string reply_subject;
  std::optional<Error> error;  // that ended the connection; told behind the last answers
};

Publisher::Publisher(const NatsOptions& options, const std::string& client_name,
                     std::chrono::milliseconds timeout)
    : impl_(std::make_unique<Impl>(options, client_name, timeout)) {}

Publisher::~Publisher() = default;

void Publisher::publish(const Message& message, const std::string& stream,
                        std::uint64_t expected_last) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), expected_last).ptr;
  const std::array<std::pair<std::string_view, std::string_view>, 2> fence{
      {{"Nats-Expected-Stream", stream},
       {"Nats-Expected-Last-Sequence", std::string_view(digits.data(), end)}}};
  auto& out = impl_->link.out();
  nats::append_publish(out, message.subject, impl_->reply_subject, fence, message.headers,
                       message.payload);
  if (impl_->link.unsent() >= kBurstBytes) flush();
}

void Publisher::announce(std::string_view subject, std::string_view body) {
  nats::append_publish(impl_->link.out(), subject, body);
}

// take_answers() tells what broke the connection: it may find more than that, such as answers.
void Publisher::flush() {
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
  auto& error = impl_->error;
  try {
    impl_->link.read([&](const nats::Delivery& delivery) {
      if (delivery.subject == impl_->reply_subject) answers.push_back(answer_of(delivery));
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
