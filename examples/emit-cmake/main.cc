// A service that writes an order and the event that says so in one transaction.
//
//   place_order CUSTOMER CENTS     connects as libpq's PG* variables say
//
// An order of nothing is refused after its row and its event are written; both are rolled back.
#include <postrider/outbox.h>

#include <cstdlib>
#include <iostream>
#include <pqxx/pqxx>
#include <stdexcept>
#include <string>

namespace {

void make_table(pqxx::connection& connection) {
  pqxx::work tx(connection);
  tx.exec(
      "CREATE TABLE IF NOT EXISTS placed_order (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
      " customer text NOT NULL, cents bigint NOT NULL, event_id uuid NOT NULL)");
  tx.commit();
}

std::string place_order(pqxx::connection& connection, const std::string& customer, long cents) {
  pqxx::work tx(connection);
  const std::string amount = std::to_string(cents);
  const std::string id =
      postrider::emit(tx, {
                              .subject = "order.placed",
                              .payload = postrider::Json{"{\"cents\": " + amount + "}"},
                              .key = customer,
                              .type = "OrderPlaced",
                          });
  tx.exec("INSERT INTO placed_order (customer, cents, event_id) VALUES (" + tx.quote(customer) +
          ", " + amount + ", " + tx.quote(id) + ")");
  if (cents <= 0) throw std::invalid_argument("an order of nothing");  // rolls back both
  tx.commit();
  return id;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: place_order CUSTOMER CENTS\n";
    return 64;
  }
  pqxx::connection connection("");
  make_table(connection);
  std::cout << place_order(connection, argv[1], std::atol(argv[2])) << '\n';
  return 0;
} catch (const std::exception& error) {
  std::cerr << "place_order: " << error.what() << '\n';
  return 1;
}
