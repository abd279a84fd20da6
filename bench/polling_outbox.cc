// The outbox that most teams write themselves, written well: claims the 500 oldest rows, publishes
// them asynchronously, waits for all answers, deletes the rows with one statement, commits. After a
// crash it publishes a batch twice; two of them at once keep no order. bench/drain runs it.
//   polling_outbox SOURCE_CONNINFO NATS_URL EVENTS
// Reads polled(id bigint PRIMARY KEY, event_id uuid, subject text, key text, payload jsonb). Prints
// the seconds from the first claim to the commit that leaves the table empty.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <pqxx/pqxx>

#include "bench/nats.h"

namespace postrider::bench {
namespace {

constexpr const char* kStream = "POLL";
constexpr std::int64_t kAnswersMs = 30'000;

void publish(jsCtx& jet_stream, const pqxx::row& row) {
  natsMsg* raw = nullptr;
  const auto payload = std::string_view(row["payload"].c_str(), row["payload"].size());
  check(natsMsg_Create(&raw, row["subject"].c_str(), nullptr, payload.data(), int(payload.size())),
        "message");
  Owned<natsMsg> message(raw);
  check(natsMsgHeader_Set(raw, "Nats-Msg-Id", row["event_id"].c_str()), "header");
  check(natsMsgHeader_Set(raw, "Event-Key", row["key"].c_str()), "header");
  check(natsMsgHeader_Set(raw, "Content-Type", "application/json"), "header");
  check(js_PublishMsgAsync(&jet_stream, &raw, nullptr), "publish");
  (void)message.release();  // nats.c's now
}

int run(const std::string& conninfo, const std::string& url, std::uint64_t events) {
  const auto connection = connect(url);
  const auto jet_stream = make_stream(*connection, kStream, "poll.>");
  pqxx::connection source(conninfo);
  source.prepare("claim",
                 "SELECT id, event_id, subject, key, payload FROM polled ORDER BY id LIMIT 500 "
                 "FOR UPDATE SKIP LOCKED");
  // Not by a range: an older id between them may have been committed since, unpublished.
  source.prepare("delete", "DELETE FROM polled WHERE id = ANY ($1::bigint[])");
  jsPubOptions wait;
  check(jsPubOptions_Init(&wait), "options");
  wait.MaxWait = kAnswersMs;

  const auto start = std::chrono::steady_clock::now();
  while (true) {
    pqxx::work transaction(source);
    const auto rows = transaction.exec_prepared("claim");
    if (rows.empty()) break;
    for (const auto& row : rows) publish(*jet_stream, row);
    check(js_PublishAsyncComplete(jet_stream.get(), &wait), "answers");
    std::string claimed;
    for (const auto& row : rows) claimed += (claimed.empty() ? "{" : ",") + row["id"].as<std::string>();
    transaction.exec_prepared("delete", claimed + "}");
    transaction.commit();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (last_sequence(*jet_stream, kStream) != events) {
    std::cerr << "polling_outbox: the stream does not hold every event\n";
    return 1;
  }
  std::printf("%.3f\n", took.count());
  return 0;
}

}  // namespace
}  // namespace postrider::bench

int main(int argc, char** argv) try {
  if (argc != 4) return 64;
  return postrider::bench::run(argv[1], argv[2], std::strtoull(argv[3], nullptr, 10));
} catch (const std::exception& error) {
  std::cerr << "polling_outbox: " << error.what() << '\n';
  return 1;
}
