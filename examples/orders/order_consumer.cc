// An example consumer with a plain NATS client: reads the stream from its beginning, live, until it
// meets demo.finished; then compares what it read with what the service committed, and prints
//
//   committed, in stream, lost, duplicated, out of order
//
//   order_consumer               reads NATS_URL, POSTRIDER_STREAM and libpq's PG* variables
//
// Exits 0 only when the last three are 0.
#include <nats/nats.h>

#include <chrono>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <pqxx/pqxx>
#include <set>
#include <stdexcept>
#include <string>

namespace {

constexpr int kNextTimeoutMs = 1000;
constexpr auto kPatience = std::chrono::seconds(60);  // without any event

void check(natsStatus status, const char* what) {
  if (status != NATS_OK)
    throw std::runtime_error(std::string(what) + ": " + natsStatus_GetText(status));
}

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) throw std::runtime_error(std::string(name) + " is not set");
  return value;
}

template <class T, void (*Destroy)(T*)>
struct Deleter {
  void operator()(T* object) const { Destroy(object); }
};
using Connection = std::unique_ptr<natsConnection, Deleter<natsConnection, natsConnection_Destroy>>;
using JetStream = std::unique_ptr<jsCtx, Deleter<jsCtx, jsCtx_Destroy>>;
using Subscription =
    std::unique_ptr<natsSubscription, Deleter<natsSubscription, natsSubscription_Destroy>>;
using Message = std::unique_ptr<natsMsg, Deleter<natsMsg, natsMsg_Destroy>>;

// What the stream showed.
struct Seen {
  std::set<std::string> ids;
  std::map<int, long> version;  // newest of each account
  long messages = 0;
  long duplicated = 0;
  long out_of_order = 0;
  std::string position;  // of the newest; fixed width, so that text sorts as the history does

  // True for the event that ends the demo.
  bool take(natsMsg* message) {
    const char* id = nullptr;
    const char* header = nullptr;
    check(natsMsgHeader_Get(message, "Postrider-Id", &id), "Postrider-Id");
    check(natsMsgHeader_Get(message, "Postrider-Position", &header), "Postrider-Position");
    const std::string text(header);  // v1 ordinal position xid ...
    const auto ordinal_end = text.find(' ', 3);
    const auto place =
        text.substr(ordinal_end + 1, text.find(' ', ordinal_end + 1) - ordinal_end - 1);
    if (place <= position) ++out_of_order;
    position = place;
    const std::string subject = natsMsg_GetSubject(message);
    if (subject.ends_with(".demo.finished")) return true;
    ++messages;
    if (!ids.insert(id).second) {
      ++duplicated;
      return false;
    }
    const std::string body(natsMsg_GetData(message),
                           static_cast<std::size_t>(natsMsg_GetDataLength(message)));
    long& newest = version[static_cast<int>(number(body, "\"account\": "))];
    if (number(body, "\"version\": ") != newest + 1) ++out_of_order;
    newest = number(body, "\"version\": ");
    return false;
  }

 private:
  static long number(const std::string& json, const std::string& name) {
    const auto at = json.find(name);
    if (at == std::string::npos) throw std::runtime_error("no " + name + " in " + json);
    return std::strtol(json.c_str() + at + name.size(), nullptr, 10);
  }
};

Seen read_stream() {
  natsConnection* raw_connection = nullptr;
  check(natsConnection_ConnectTo(&raw_connection, environment("NATS_URL")), "connect");
  const Connection connection(raw_connection);
  jsCtx* raw_jetstream = nullptr;
  check(natsConnection_JetStream(&raw_jetstream, connection.get(), nullptr), "JetStream");
  const JetStream jetstream(raw_jetstream);
  jsSubOptions options;
  check(jsSubOptions_Init(&options), "options");
  options.Stream = environment("POSTRIDER_STREAM");
  options.Ordered = true;
  natsSubscription* raw_subscription = nullptr;
  auto last_news = std::chrono::steady_clock::now();
  const auto impatient = [&] { return std::chrono::steady_clock::now() - last_news > kPatience; };
  // The relay makes the stream when it starts: until then there is nothing to subscribe to.
  while (true) {
    const auto status =
        js_SubscribeSync(&raw_subscription, jetstream.get(), ">", nullptr, &options, nullptr);
    if (status == NATS_OK) break;
    if (impatient()) check(status, "subscribe");
    nats_Sleep(100);
  }
  const Subscription subscription(raw_subscription);
  Seen seen;
  auto next_report = last_news + std::chrono::seconds(1);
  while (true) {
    natsMsg* raw_message = nullptr;
    const auto status = natsSubscription_NextMsg(&raw_message, subscription.get(), kNextTimeoutMs);
    const Message message(raw_message);
    const auto now = std::chrono::steady_clock::now();
    if (status == NATS_OK) {
      last_news = now;
      if (seen.take(message.get())) return seen;
    } else if (status != NATS_TIMEOUT || impatient()) {
      check(status, "next message");
    }
    if (now < next_report) continue;
    next_report = now + std::chrono::seconds(1);
    std::cout << "consumer  read " << seen.messages << " events" << std::endl;
  }
}

}  // namespace

int main() try {
  const Seen seen = read_stream();
  pqxx::connection connection("");
  pqxx::work tx(connection);
  long committed = 0;
  long lost = 0;
  for (const auto& row : tx.exec("SELECT event_id::text FROM purchase")) {
    ++committed;
    if (!seen.ids.contains(row[0].as<std::string>())) ++lost;
  }
  const long unknown = static_cast<long>(seen.ids.size()) - (committed - lost);
  const auto line = [](const char* name, long value) {
    std::cout << "  " << std::left << std::setw(14) << name << std::right << std::setw(8) << value
              << '\n';
  };
  std::cout << '\n';
  line("committed", committed);
  line("in stream", seen.messages);
  line("lost", lost);
  line("duplicated", seen.duplicated);
  line("out of order", seen.out_of_order);
  if (unknown != 0) line("never committed", unknown);
  const bool good =
      committed > 0 && lost == 0 && seen.duplicated == 0 && seen.out_of_order == 0 && unknown == 0;
  std::cout << (good ? "\nEvery committed event is in the stream exactly once, in commit order.\n"
                     : "\nThe promise is broken.\n");
  return good ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "order_consumer: " << error.what() << '\n';
  return 1;
}
