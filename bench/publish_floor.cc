// The least that publishing can cost here: a program that does nothing else sends as many messages,
// with the subject, headers and sizes of the relay's, and the fence, in a window as large as the
// relay's, and counts the answers. bench/drain runs it.
//   publish_floor NATS_URL EVENTS PAYLOAD_BYTES EVENTS_PER_TRANSACTION MESSAGE_ID(0|1) REPLICAS
// Prints the seconds from the first message to the last answer.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "bench/nats.h"

namespace postrider::bench {
namespace {

constexpr std::uint64_t kWindow = 4096;
constexpr const char* kStream = "FLOR";
constexpr const char* kSubject = "flor.item";

struct Answers {
  std::atomic<std::uint64_t> count{0};
  std::atomic<bool> refused{false};
};

void on_answer(natsConnection*, natsSubscription*, natsMsg* raw, void* to) {
  const Owned<natsMsg> answer(raw);
  auto& answers = *static_cast<Answers*>(to);
  if (std::strstr(natsMsg_GetData(raw), "\"error\"") != nullptr) answers.refused = true;
  answers.count.fetch_add(1, std::memory_order_release);
  answers.count.notify_one();
}

void await(Answers& answers, std::uint64_t least) {
  for (auto have = answers.count.load(std::memory_order_acquire); have < least;
       have = answers.count.load(std::memory_order_acquire))
    answers.count.wait(have, std::memory_order_acquire);
}

void publish(natsConnection& connection, const std::string& reply, const std::string& payload,
             std::uint64_t number, std::uint64_t per_transaction, bool message_id) {
  natsMsg* raw = nullptr;
  check(natsMsg_Create(&raw, kSubject, reply.c_str(), payload.data(), int(payload.size())), "");
  const Owned<natsMsg> message(raw);
  const auto transaction = number / per_transaction;
  const auto index = number % per_transaction;
  char position[64];
  std::snprintf(position, sizeof position, "00000001/%016llX/%08llX",
                0x1000000ULL + transaction * 300, static_cast<unsigned long long>(index));
  char place[128];
  std::snprintf(place, sizeof place, "v1 %llu %s %llu 1767225600000000 1%s",
                static_cast<unsigned long long>(number + 1), position,
                static_cast<unsigned long long>(transaction + 700),
                index + 1 == per_transaction ? " last" : "");
  char id[56];
  std::snprintf(id, sizeof id, "12345678-0000-4000-8000-%012llx",
                static_cast<unsigned long long>(number));
  const std::string before = std::to_string(number);
  check(natsMsgHeader_Set(raw, "Postrider-Position", place), "header");
  if (message_id) check(natsMsgHeader_Set(raw, "Nats-Msg-Id", position), "header");
  check(natsMsgHeader_Set(raw, "Postrider-Id", id), "header");
  check(natsMsgHeader_Set(raw, "Postrider-Key", "k"), "header");
  check(natsMsgHeader_Set(raw, "Content-Type", "application/json"), "header");
  check(natsMsgHeader_Set(raw, "Nats-Expected-Stream", kStream), "header");
  check(natsMsgHeader_Set(raw, "Nats-Expected-Last-Sequence", before.c_str()), "header");
  check(natsConnection_PublishMsg(&connection, raw), "publish");
}

int run(const std::string& url, std::uint64_t events, std::size_t bytes,
        std::uint64_t per_transaction, bool message_id, int replicas) {
  const auto connection = connect(url);
  const auto jet_stream = make_stream(*connection, kStream, "flor.>", replicas);
  Answers answers;
  const std::string reply = "_INBOX.floor";
  natsSubscription* raw = nullptr;
  check(natsConnection_Subscribe(&raw, connection.get(), reply.c_str(), &on_answer, &answers),
        "subscribe");
  const Owned<natsSubscription> subscription(raw);
  check(natsSubscription_SetPendingLimits(raw, -1, -1), "limits");
  const std::string payload = "{\"text\": \"" + std::string(bytes - 12, 'x') + "\"}";

  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t number = 0; number < events; ++number) {
    if (number >= kWindow) await(answers, number - kWindow + 1);
    publish(*connection, reply, payload, number, per_transaction, message_id);
  }
  await(answers, events);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (answers.refused || last_sequence(*jet_stream, kStream) != events) {
    std::cerr << "publish_floor: the broker refused messages\n";
    return 1;
  }
  std::printf("%.3f\n", took.count());
  return 0;
}

}  // namespace
}  // namespace postrider::bench

int main(int argc, char** argv) try {
  if (argc != 7) return 64;
  return postrider::bench::run(argv[1], std::strtoull(argv[2], nullptr, 10),
                               std::strtoull(argv[3], nullptr, 10),
                               std::strtoull(argv[4], nullptr, 10), argv[5][0] == '1',
                               std::atoi(argv[6]));
} catch (const std::exception& error) {
  std::cerr << "publish_floor: " << error.what() << '\n';
  return 1;
}
