#include "tests/faults/campaign/watcher.h"

#include <memory>

#include "dev/process.h"
#include "tests/faults/campaign/stream_checker.h"
#include "tests/faults/campaign/witness.h"
#include "tests/faults/campaign/world.h"

namespace postrider::campaign {
namespace {

constexpr std::chrono::milliseconds kPause{40};
constexpr std::size_t kProblemsKept = 10;

}  // namespace

Watcher::Watcher(std::uint16_t broker_port) : port_(broker_port), thread_([this] { run(); }) {}

Watcher::~Watcher() {
  stop();
}

void Watcher::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void Watcher::note(const test::StreamMessage& message) {
  const auto header = parse_header(message.header("Postrider-Position").value_or(""));
  if (!header) return;  // the stream's checker names it
  const auto hash = hash_of_message(message);
  if (contents_.size() <= header->ordinal) contents_.resize(header->ordinal + 1);
  auto& known = contents_[header->ordinal];
  if (known != 0 && known != hash) {
    ++altered_;
    if (problems_.size() < kProblemsKept)
      problems_.push_back("ordinal " + std::to_string(header->ordinal) +
                          " was read with two contents, at last at sequence " +
                          std::to_string(message.seq));
  }
  known = hash;
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
