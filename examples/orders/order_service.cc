// An example service: concurrent transactions that each change business rows and emit the events
// that say so, in one local PostgreSQL transaction. Some change their mind and roll back.
//
//   order_service SECONDS        connects as libpq's PG* variables say
//
// Its last event is demo.finished: since events arrive in commit order, whoever has read that one
// has read all.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <pqxx/pqxx>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWriters = 4;
constexpr int kAccounts = 20;

std::atomic<long> committed{0};
std::atomic<long> rolled_back{0};

void make_tables(pqxx::connection& connection) {
  pqxx::work tx(connection);
  tx.exec(
      "CREATE TABLE IF NOT EXISTS account (id int PRIMARY KEY, version bigint NOT NULL DEFAULT 0)");
  tx.exec("INSERT INTO account SELECT generate_series(1, " + std::to_string(kAccounts) +
          ") ON CONFLICT DO NOTHING");
  tx.exec(
      "CREATE TABLE IF NOT EXISTS purchase (event_id uuid PRIMARY KEY, account int NOT NULL, "
      "version bigint NOT NULL, cents bigint NOT NULL)");
  tx.commit();
}

// One order: takes the account's next version, writes the row, and says so. The row lock on the
// account makes its versions commit in order, so a reader can tell whether events came in order.
void place_order(pqxx::connection& connection, std::mt19937& random) {
  pqxx::work tx(connection);
  const int lines = 1 + static_cast<int>(random() % 3);
  const auto account = std::to_string(1 + random() % kAccounts);
  for (int line = 0; line < lines; ++line) {
    const auto version = tx.exec("UPDATE account SET version = version + 1 WHERE id = " + account +
                                 " RETURNING version")[0][0]
                             .as<std::string>();
    const auto cents = std::to_string(100 + random() % 9900);
    tx.exec("INSERT INTO purchase SELECT outbox.emit('order." + account +
            ".placed', jsonb_build_object('account', " + account + ", 'version', " + version +
            ", 'cents', " + cents + "), key => '" + account + "', type => 'OrderPlaced'), " +
            account + ", " + version + ", " + cents);
  }
  if (random() % 5 == 0) {  // the customer changed their mind; no event may ever be seen
    tx.abort();
    ++rolled_back;
    return;
  }
  tx.commit();
  committed += lines;
}

void write_until(Clock::time_point end, unsigned seed) {
  pqxx::connection connection("");
  std::mt19937 random(seed);
  while (Clock::now() < end) place_order(connection, random);
}

}  // namespace

int main(int argc, char** argv) try {
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 10;
  pqxx::connection connection("");
  make_tables(connection);
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  std::vector<std::thread> writers;
  for (unsigned i = 0; i < kWriters; ++i) writers.emplace_back(write_until, end, i);
  for (auto tick = Clock::now() + std::chrono::seconds(1); tick <= end;
       tick += std::chrono::seconds(1)) {
    std::this_thread::sleep_until(tick);
    std::cout << "service   committed " << committed << " events; rolled back " << rolled_back
              << " transactions" << std::endl;
  }
  for (auto& writer : writers) writer.join();
  pqxx::work tx(connection);
  tx.exec("SELECT outbox.emit('demo.finished', '{}')");
  tx.commit();
  return 0;
} catch (const std::exception& error) {
  std::cerr << "order_service: " << error.what() << '\n';
  return 1;
}
