#include "tests/faults/campaign/watcher.h"

#include <memory>

#include "dev/process.h"
#include "tests/faults/campaign/world.h"
#include "tests/support/nats_client.h"

namespace postrider::campaign {
namespace {

constexpr std::chrono::milliseconds kPause{40};

}  // namespace

Watcher::Watcher(std::uint16_t broker_port) : port_(broker_port), thread_([this] { run(); }) {}

Watcher::~Watcher() {
  stop();
}

void Watcher::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void Watcher::run() {
  std::unique_ptr<test::NatsClient> client;
  const auto info = std::string("STREAM.INFO.") + kStream;
  while (!stop_) {
    try {
      if (!client) client = std::make_unique<test::NatsClient>(port_);
      const auto last = client->api(info)["state"]["last_seq"].get<std::uint64_t>();
      if (last < seen_seq_) {
        destroyed_ += seen_seq_ - last;
        seen_seq_ = last;
      }
      published_ = last;
      if (last > seen_seq_)
        client->for_each_message(
            kStream,
            [this](const test::StreamMessage& message) {
              note(message);
              seen_seq_ = message.seq;
            },
            seen_seq_ + 1);
    } catch (const std::exception&) {
      client.reset();  // the broker is away; what was not read is read later
    }
    (void)dev::wait_until([this] { return stop_.load(); }, kPause);
  }
}

}  // namespace postrider::campaign
