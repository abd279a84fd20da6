// A service that keeps a read model with a C++ handler: the total of each customer's orders.
// Counting is not idempotent, and need not be: the cursor is in the same transaction.
//   keep_totals SOURCE TARGET_CONNINFO [--until-caught-up]
#include <postrider/consumer.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string_view>

namespace {

postrider::Consumer* running = nullptr;

void on_signal(int) {
  running->request_stop();
}

void add_orders(pqxx::dbtransaction& tx, std::span<const postrider::ReceivedEvent> events) {
  for (const auto& event : events) {
    if (event.type != "OrderPlaced" || !event.key) continue;
    tx.exec("INSERT INTO customer_total AS t (customer, orders, cents) VALUES (" +
            tx.quote(*event.key) + ", 1, (" + tx.quote(event.payload) +
            "::jsonb ->> 'cents')::bigint) ON CONFLICT (customer) DO UPDATE SET "
            "orders = t.orders + 1, cents = t.cents + excluded.cents");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "keep_totals SOURCE TARGET_CONNINFO [--until-caught-up]\n";
    return 64;
  }
  postrider::ConsumerOptions options;
  options.name = "customer_totals";
  options.source = argv[1];
  options.target_conninfo = argv[2];
  options.until_caught_up = argc > 3 && std::string_view(argv[3]) == "--until-caught-up";
  if (const char* url = std::getenv("NATS_URL")) options.nats_url = url;
  try {
    {
      pqxx::connection target(options.target_conninfo);
      pqxx::work tx(target);
      tx.exec(
          "CREATE TABLE IF NOT EXISTS customer_total (customer text PRIMARY KEY, "
          "orders bigint NOT NULL, cents bigint NOT NULL)");
      tx.commit();
    }
    postrider::Consumer consumer(options, add_orders);
    running = &consumer;
    std::signal(SIGTERM, on_signal);
    std::signal(SIGINT, on_signal);
    consumer.run();
    std::cout << "applied up to ordinal " << consumer.status().ordinal << '\n';
    return 0;
  } catch (const std::exception& e) {
    std::cerr << "keep_totals: " << e.what() << '\n';
    return 1;
  }
}
