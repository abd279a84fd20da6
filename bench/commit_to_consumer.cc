// How long an event takes from its COMMIT to a consumer, at a given rate, and the least that it
// could take: the COMMIT itself and a synchronous publish of the same bytes to a stream of the same
// server until a consumer has it, measured in the same run. bench/latency runs it.
//   commit_to_consumer SOURCE_CONNINFO NATS_URL STREAM EVENTS_PER_SECOND EVENTS WRITERS PAYLOAD_BYTES
// A relay must carry source "shop" into STREAM. Prints a JSON object of microseconds.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <pqxx/pqxx>
#include <thread>
#include <vector>

#include "bench/nats.h"

namespace postrider::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr std::chrono::seconds kPatience{60};
constexpr const char* kFloorStream = "FLOR";

// When the event of each number arrived; written by nats.c's thread.
class Arrivals {
 public:
  Arrivals(natsConnection& connection, const char* stream, const char* subject, std::size_t events)
      : at_(events), stream_(stream) {
    jsCtx* raw = nullptr;
    check(natsConnection_JetStream(&raw, &connection, nullptr), "JetStream");
    jet_stream_.reset(raw);
    jsSubOptions options;
    check(jsSubOptions_Init(&options), "options");
    options.Stream = stream_.c_str();
    options.Ordered = true;
    options.Config.DeliverPolicy = js_DeliverNew;
    natsSubscription* subscription = nullptr;
    jsErrCode code{};
    check(js_Subscribe(&subscription, raw, subject, &on_message, this, nullptr, &options, &code),
          "subscribe to " + stream_);
    subscription_.reset(subscription);
    check(natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
  }

  [[nodiscard]] Clock::time_point at(std::size_t number) const {
    return Clock::time_point(nanoseconds(at_[number].load()));
  }
  void await(std::uint64_t count) const {
    const auto deadline = Clock::now() + kPatience;
    while (count_ < count) {
      if (Clock::now() > deadline) throw std::runtime_error("events do not arrive");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  void await_next(std::uint64_t count) const {
    for (auto have = count_.load(); have < count; have = count_.load()) count_.wait(have);
  }

 private:
  static void on_message(natsConnection*, natsSubscription*, natsMsg* raw, void* self) {
    const auto now = Clock::now().time_since_epoch();
    const Owned<natsMsg> message(raw);
    auto& arrivals = *static_cast<Arrivals*>(self);
    const std::string text(natsMsg_GetData(raw), std::size_t(natsMsg_GetDataLength(raw)));
    const auto number = std::strtoull(text.c_str() + text.find(':') + 1, nullptr, 10);
    if (number < arrivals.at_.size())
      arrivals.at_[number] = std::chrono::duration_cast<nanoseconds>(now).count();
    arrivals.count_.fetch_add(1);
    arrivals.count_.notify_one();
  }

  std::vector<std::atomic<std::int64_t>> at_;
  std::string stream_;
  std::atomic<std::uint64_t> count_{0};
  Owned<jsCtx> jet_stream_;
  Owned<natsSubscription> subscription_;
};

std::string payload_of(std::size_t number, std::size_t bytes) {
  std::string start = "{\"n\":" + std::to_string(number) + ",\"text\":\"";
  return start + std::string(bytes - std::min(bytes, start.size() + 2), 'x') + "\"}";
}

struct Commits {
  std::vector<Clock::time_point> begun;
  std::vector<Clock::time_point> ended;
};

// Writers share the numbers out; each event has its time, however late the one before was.
Commits write(const std::string& conninfo, double rate, std::size_t events, std::size_t writers,
              std::size_t bytes) {
  Commits commits{std::vector<Clock::time_point>(events), std::vector<Clock::time_point>(events)};
  std::atomic<bool> failed{false};
  const auto start = Clock::now() + std::chrono::milliseconds(200);
  std::vector<std::jthread> threads;
  for (std::size_t writer = 0; writer < writers; ++writer)
    threads.emplace_back([&, writer] {
      try {
        pqxx::connection connection(conninfo);
        connection.prepare("emit", "SELECT outbox.emit('item', $1::jsonb, 'k')");
        for (std::size_t number = writer; number < events; number += writers) {
          std::this_thread::sleep_until(
              start + nanoseconds(std::int64_t(1e9 * double(number) / rate)));
          pqxx::work transaction(connection);
          transaction.exec_prepared("emit", payload_of(number, bytes));
          commits.begun[number] = Clock::now();
          transaction.commit();
          commits.ended[number] = Clock::now();
        }
      } catch (const std::exception& error) {
        std::cerr << "commit_to_consumer: " << error.what() << '\n';
        failed = true;
      }
    });
  threads.clear();
  if (failed) throw std::runtime_error("a writer failed");
  return commits;
}

std::vector<double> between(std::size_t events, auto from, auto to) {
  std::vector<double> us;
  for (std::size_t number = 0; number < events; ++number)
    us.push_back(std::chrono::duration<double, std::micro>(to(number) - from(number)).count());
  std::ranges::sort(us);
  return us;
}

nlohmann::json percentiles(const std::vector<double>& sorted) {
  const auto at = [&](double p) {
    return std::int64_t(sorted[std::size_t(p * double(sorted.size() - 1))]);
  };
  return {{"p50", at(0.5)}, {"p99", at(0.99)}, {"p999", at(0.999)}, {"max", at(1)}};
}

// One at a time, each waited for by its publisher and its consumer.
std::vector<double> publish_one_by_one(natsConnection& connection, std::size_t events,
                                       std::size_t bytes) {
  const auto jet_stream = make_stream(connection, kFloorStream, "flor.>");
  const Arrivals arrivals(connection, kFloorStream, "flor.item", events);
  std::vector<Clock::time_point> begun(events);
  for (std::size_t number = 0; number < events; ++number) {
    const auto payload = payload_of(number, bytes);
    jsErrCode code{};
    begun[number] = Clock::now();
    check(js_Publish(nullptr, jet_stream.get(), "flor.item", payload.data(), int(payload.size()),
                     nullptr, &code),
          "publish");
    arrivals.await_next(number + 1);
  }
  return between(events, [&](auto n) { return begun[n]; }, [&](auto n) { return arrivals.at(n); });
}

int run(char** argument) {
  const std::string conninfo = argument[1];
  const double rate = std::strtod(argument[4], nullptr);
  const std::size_t events = std::strtoull(argument[5], nullptr, 10);
  const std::size_t writers = std::strtoull(argument[6], nullptr, 10);
  const std::size_t bytes = std::strtoull(argument[7], nullptr, 10);
  const auto connection = connect(argument[2]);
  const auto publishes = publish_one_by_one(*connection, std::min<std::size_t>(events, 2000), bytes);
  const Arrivals arrivals(*connection, argument[3], "shop.item", events);
  const auto commits = write(conninfo, rate, events, writers, bytes);
  arrivals.await(events);
  const auto begun = [&](auto n) { return commits.begun[n]; };
  const auto commit = between(events, begun, [&](auto n) { return commits.ended[n]; });
  const auto whole = between(events, begun, [&](auto n) { return arrivals.at(n); });
  const auto took = std::chrono::duration<double>(commits.ended.back() - commits.begun.front());
  std::cout << nlohmann::json{{"commit_us", percentiles(commit)},
                              {"publish_us", percentiles(publishes)},
                              {"whole_us", percentiles(whole)},
                              {"reached_per_second", std::int64_t(double(events) / took.count())}}
                   .dump()
            << '\n';
  return 0;
}

}  // namespace
}  // namespace postrider::bench

int main(int argc, char** argv) try {
  if (argc != 8) return 64;
  return postrider::bench::run(argv);
} catch (const std::exception& error) {
  std::cerr << "commit_to_consumer: " << error.what() << '\n';
  return 1;
}
